"""The published data sets as wide panels, built in a few lines of pandas: a row a day, a column a region."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd


def panel_olist(data: Path) -> tuple[pd.DataFrame, str]:
    read = lambda name, columns: pd.read_csv(data / f"olist/olist_{name}_dataset.csv.gz", usecols=columns)  # noqa: E731
    orders = read("orders", ["order_id", "customer_id", "order_status", "order_purchase_timestamp"])
    orders = orders[~orders["order_status"].isin(["canceled", "unavailable"])]
    rows = read("order_items", ["order_id", "price"]).merge(orders, on="order_id")
    rows = rows.merge(read("customers", ["customer_id", "customer_state"]), on="customer_id")
    rows["date"] = pd.to_datetime(rows["order_purchase_timestamp"]).dt.normalize()
    wide = rows.pivot_table(index="date", columns="customer_state", values="price", aggfunc="sum")
    return wide.reindex(pd.date_range("2017-01-05", "2018-08-22")).fillna(0.0), "BR"


def panel_online_retail(data: Path) -> tuple[pd.DataFrame, str]:
    files = sorted((data / "online_retail").glob("20*.csv.gz"))
    rows = pd.concat(
        [pd.read_csv(f, usecols=["StockCode", "Quantity", "InvoiceDate", "UnitPrice", "Country"]) for f in files]
    )
    rows = rows[(rows["UnitPrice"] > 0) & rows["StockCode"].astype(str).str.match(r"^\d")]
    rows["date"] = pd.to_datetime(rows["InvoiceDate"]).dt.normalize()
    rows["amount"] = rows["Quantity"] * rows["UnitPrice"]
    wide = rows.pivot_table(index="date", columns="Country", values="amount", aggfunc="sum")
    shop = pd.date_range("2010-12-01", "2011-12-08")
    open_days = shop.intersection(wide.index)
    return wide.reindex(open_days).fillna(0.0).reindex(shop), "GB"


def panel_rohlik(data: Path) -> tuple[pd.DataFrame, str]:
    rows = pd.read_csv(data / "rohlik_orders/train.csv", parse_dates=["date"])
    return rows.pivot(index="date", columns="warehouse", values="orders").asfreq("D"), "CZ"


PANELS = {"olist": panel_olist, "online_retail": panel_online_retail, "rohlik_orders": panel_rohlik}


def histories(wide: pd.DataFrame, season: int) -> Iterator[tuple[str, pd.Series, np.ndarray]]:
    """Regions with 120 days or more: name, days from the first known one, and those with unknown ones filled.

    A day without a figure (closed, missing) repeats the season before.
    """
    for name in wide.columns:
        y = wide[name].loc[wide[name].first_valid_index() :]
        if len(y) < 120:
            continue
        filled = y.to_numpy(copy=True)
        for t in np.flatnonzero(np.isnan(filled)):
            filled[t] = filled[t - season] if t >= season else 0.0
        yield str(name), y, filled
