"""Regions with their past taken away: how well do borrowed level and shape foresee their next week? No Spark.

python -m bench.fleet.cold_start [--warehouse warehouse] [--only olist,rohlik_orders] [--starts 200]

Reads region_day of the data sets that `make run` has built. A region and a day are drawn by lot, all but the region's
last n days are hidden, and the week after is forecast. Errors are in units of the seasonal naive's error over the
region's last eight weeks, which is the same for every column; `borrowed` is beside what the hidden region could do
alone, and its intervals beside what they promise.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from deltalake import DeltaTable

from stspark.config_file import load_settings
from stspark.models.base import Floats, Future, Series
from stspark.models.panel.borrowed.model import Borrowed
from stspark.models.regional.auto_ets import AutoEts
from stspark.models.regional.seasonal_naive import SeasonalNaive
from stspark.snapshot import Manifest, Snapshot

DATA = ("simulated", "olist", "online_retail", "rohlik_orders")
AGES = (0, 1, 3, 7, 14, 28, 50)
HORIZON, SEASON, LENT = 7, 7, 56
OLDEST = 120
"""Days that a region must have had before its past is hidden."""
QUANTILES = (0.025, 0.1, 0.9, 0.975)


def panel_of(warehouse: Path, name: str) -> Snapshot:
    """The whole history of a finished run's regions."""

    def read(table: str) -> pd.DataFrame:
        return DeltaTable(str(warehouse / name / table)).to_pandas()

    days, regions, edges = read("region_day"), read("regions"), read("region_edges")
    wide = days.pivot(index="date", columns="region", values="target_clean")
    seen = days.pivot(index="date", columns="region", values="status").eq("observed").to_numpy()
    y, names = wide.to_numpy(dtype=float), tuple(wide.columns)
    place = {region: k for k, region in enumerate(names)}
    weights = np.zeros((len(names), len(names)))
    for row in edges.itertuples():
        weights[place[row.region], place[row.neighbour]] = row.weight
    parents = regions.set_index("region")["parent"].dropna().to_dict()
    parents |= load_settings(f"conf/{name}.yaml", []).hierarchy.parents
    first = pd.Timestamp(wide.index[0]).date()
    manifest = Manifest(name, names, first, len(y), len(y), (), (), SEASON, HORIZON, QUANTILES, parents=parents)
    alive = np.isfinite(y)
    none = np.zeros((len(y), len(names), 0))
    return Snapshot(manifest, np.where(alive, y, 0.0), seen & alive, alive, none, weights)


def hidden(panel: Snapshot, end: int, region: int, age: int) -> Snapshot:
    """The panel's first `end` days, of which the region has only the last `age`; without any, it is announced."""
    alive = panel.alive[:end].copy()
    alive[: end - age, region] = False
    name = panel.manifest.regions[region]
    opening = () if age else (name,)
    manifest = dataclasses.replace(panel.manifest, n_history=end, n_total=end, opening=opening)
    y, observed = np.where(alive, panel.y[:end], 0.0), panel.observed[:end] & alive
    return Snapshot(manifest, y, observed, alive, panel.covariates[:end], panel.weights)


def alone(panel: Snapshot, end: int, region: int, age: int) -> dict[str, Floats]:
    """What the region's own days say: their mean, the seasonal naive, AutoETS from four weeks on; zeros without any."""
    if not age:
        return {"own mean": np.zeros(HORIZON), "naive": np.zeros(HORIZON), "auto_ets": np.full(HORIZON, np.nan)}
    days = np.datetime64(panel.manifest.first_date, "D") + np.arange(end - age, end + HORIZON)
    span, empty = slice(end - age, end), np.zeros((age + HORIZON, 0))
    series = Series(days[:age], panel.y[span, region], panel.observed[span, region], empty[:age], season=SEASON)
    future = Future(days[age:], empty[age:])
    found = {"own mean": np.full(HORIZON, series.y.mean()), "auto_ets": np.full(HORIZON, np.nan)}
    for name, model in {"naive": SeasonalNaive(), "auto_ets": AutoEts()}.items():
        if age >= max(model.min_length, 1 if name == "naive" else 28):
            found[name] = model.predict(model.fit(series), series, future, (0.5,)).mean
    return found


def measure(panel: Snapshot, age: int, starts: int, seed: int) -> dict[str, float]:
    """Mean errors and held shares over so many regions and days drawn by lot."""
    rng, rows = np.random.default_rng(seed), []
    model = Borrowed()
    for _ in range(3 * starts):
        if len(rows) == starts:
            break
        end = int(rng.integers(OLDEST + LENT, len(panel.y) - HORIZON))
        region = int(rng.choice(np.flatnonzero(panel.alive[end - OLDEST])))
        past, days = panel.y[end - LENT : end, region], slice(end, end + HORIZON)
        scale = np.abs(past[SEASON:] - past[:-SEASON]).mean()
        known = panel.observed[days, region]
        if not scale > 0 or not known.any():
            continue
        young = hidden(panel, end, region, age)
        made = model.predict(model.fit(young), young, QUANTILES)[region]
        if np.isnan(made).any():
            continue
        y = panel.y[days, region][known]
        ways = {"borrowed": made[:, 0]} | alone(panel, end, region, age)
        row = {name: float(np.abs(path[known] - y).mean() / scale) for name, path in ways.items()}
        held = {"80%": (2, 3), "95%": (1, 4)}
        within = {name: (y >= made[known, i]) & (y <= made[known, j]) for name, (i, j) in held.items()}
        rows.append(row | {name: float(days_in.mean()) for name, days_in in within.items()})
    return dict(pd.DataFrame(rows).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warehouse", default="warehouse")
    parser.add_argument("--only", default=",".join(DATA))
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    print("| data | days | borrowed | own mean | seasonal naive | auto_ets | 80% held | 95% held |")
    print("|---|---|---|---|---|---|---|---|")
    for name in asked.only.split(","):
        panel = panel_of(Path(asked.warehouse), name)
        for age in AGES:
            row = measure(panel, age, asked.starts, asked.seed)
            errors = (f"{row[way]:.2f}".replace("nan", "–") for way in ("borrowed", "own mean", "naive", "auto_ets"))
            held = (f"{100 * row[share]:.0f}" for share in ("80%", "95%"))
            print("|", " | ".join([name, str(age), *errors, *held]), "|", flush=True)


if __name__ == "__main__":
    main()
