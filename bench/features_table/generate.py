"""Generated events as Parquet, a file a month: the same rows for every engine, whatever the memory."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

REGIONS = 100
USERS = 200_000
BATCH_DAYS = 30
LAST = date(2025, 6, 30)


def generate(folder: Path, rows: int, days: int, seed: int = 1) -> None:
    """Write `rows` events of the `days` days up to LAST, as cleaned events are, about as many a day."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    first = LAST - timedelta(days=days - 1)
    edges = np.linspace(0, rows, days + 1).astype(int)
    for start in range(0, days, BATCH_DAYS):
        stop = min(start + BATCH_DAYS, days)
        counts = np.diff(edges[start : stop + 1])
        table = _batch(rng, first + timedelta(days=start), counts, int(edges[start]))
        pq.write_table(table, folder / f"{first + timedelta(days=start)}.parquet", compression="snappy")


def one_day(folder: Path, rows: int) -> None:
    """Write the events of the day after LAST."""
    folder.mkdir(parents=True, exist_ok=True)
    table = _batch(np.random.default_rng(99), LAST + timedelta(days=1), np.array([rows]), 10**9)
    pq.write_table(table, folder / "next.parquet", compression="snappy")


def _batch(rng: np.random.Generator, first: date, counts: np.ndarray, number: int) -> pa.Table:
    n = int(counts.sum())
    day = np.repeat(np.arange(len(counts)), counts)
    dates = np.datetime64(first, "D") + day
    seconds = rng.integers(0, 86_400, n)
    region = (rng.random(n) ** 2 * REGIONS).astype(int)  # a few large, many small
    kind = rng.choice(["view", "order", "return"], n, p=[0.7, 0.28, 0.02])
    quantity = np.where(kind == "view", np.nan, rng.integers(1, 4, n) * np.where(kind == "return", -1.0, 1.0))
    price = np.round(rng.gamma(4, 5, n), 2)
    ids = np.arange(number, number + n)
    return pa.table({
        "event_id": pa.array([f"e{k}" for k in ids]),
        "event_time": pa.array((dates.astype("datetime64[s]") + seconds).astype("datetime64[us]")).cast(
            pa.timestamp("us", tz="UTC")
        ),
        "date": pa.array(dates), "region": pa.array([f"r{k:03d}" for k in region]), "event_type": pa.array(kind),
        "user_id": pa.array([f"{k:032x}" for k in rng.integers(0, USERS, n)]),
        "order_id": pa.array([f"o{k // 2}" for k in ids]),
        "item": pa.array([f"i{k}" for k in rng.integers(0, 500, n)]), "category": pa.array(["c"] * n),
        "quantity": pa.array(quantity, from_pandas=True), "price": pa.array(price),
        "amount": pa.array(quantity * price, from_pandas=True),
    })  # fmt: skip
