"""Panels to measure with: simulated shops and the published data sets, as statsforecast and as the fleet read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from bench.panels import PANELS, histories

HORIZON, SEASON = 7, 7
LONGEST = 1500
"""Days that are drawn for every region, of which the first are used."""
START = np.datetime64("2023-01-01", "D")


def shop(regions: int, days: int) -> pd.DataFrame:
    """unique_id, ds, y: counts with a weekly profile, a year's wave, a random walk of the level; more days add on."""
    parts = []
    for seed in range(regions):
        rng = np.random.default_rng(seed)
        t = np.arange(LONGEST)
        level = np.exp(rng.normal(3, 1) + np.cumsum(rng.normal(0, 0.01, LONGEST)) + 0.2 * np.sin(2 * np.pi * t / 365))
        week = np.exp(rng.normal(0, 0.2, SEASON))[t % SEASON]
        y, t = rng.poisson(level * week).astype(float)[:days], t[:days]
        parts.append(pd.DataFrame({"unique_id": f"r{seed:05d}", "ds": (START + t).astype("datetime64[ns]"), "y": y}))
    return pd.concat(parts, ignore_index=True)


def published(name: str, data: Path) -> pd.DataFrame:
    """unique_id, ds, y, observed of a published panel's regions with 120 days or more, each from its first known day.

    Days without a figure (closed, missing) repeat the season before, as the fleet's learning frame has them.
    """
    wide, _ = PANELS[name](data)
    parts = []
    for region, y, filled in histories(wide, SEASON):
        rows = {"unique_id": region, "ds": y.index.astype("datetime64[ns]"), "y": filled, "observed": y.notna()}
        parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True)


def learning_frame(spark: SparkSession, data: pd.DataFrame, folder: str) -> DataFrame:
    """The learning frame of the same rows, from Parquet, with the horizon's days."""
    tails = []
    for name, rows in data.groupby("unique_id"):
        last = rows["ds"].iloc[-1]
        ahead = pd.date_range(last + pd.Timedelta(days=1), periods=HORIZON)
        tails.append(pd.DataFrame({"unique_id": name, "ds": ahead, "y": np.nan}))
    seen = data if "observed" in data else data.assign(observed=True)
    rows = pd.concat([seen, *(t.assign(observed=False) for t in tails)])
    rows = rows.rename(columns={"unique_id": "region", "ds": "date"})
    rows = rows.assign(date=rows["date"].dt.date, is_closed=False, holiday_name="")
    path = f"{folder}/learning-{len(data)}.parquet"
    rows.to_parquet(path, index=False)
    return spark.read.parquet(path)
