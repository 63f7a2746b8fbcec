"""WAPE, pinball loss and seconds of every per-region model on the real data sets, without Spark.

python -m bench.fleet.accuracy [--data ../shared/data] [--models a,b] [--only olist] [--windows 4]

Four weekly cutoffs, horizon 7, as in the configs. The panels are rebuilt here in a few lines of pandas, so figures
differ a little from a run of the pipeline (no closures but those of the data, holidays of one country).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import holidays
import numpy as np
import pandas as pd

from bench.panels import PANELS, histories
from stspark.fleet.attempt import Plan, Region
from stspark.fleet.isolation import Child
from stspark.fleet.region import Outcome, run_model
from stspark.models.base import Future, Series
from stspark.models.regional.registry import build, known

HORIZON, SEASON, QUANTILES = 7, 7, tuple(np.round(np.arange(0.1, 1.0, 0.1), 1))


def regions(wide: pd.DataFrame, country: str) -> list[tuple[Region, np.ndarray]]:
    """Each region from its first known day on, unknown days filled with the value a season earlier; and the truth."""
    found = []
    names = holidays.country_holidays(country, years=range(2010, 2026))
    for name, y, filled in histories(wide, SEASON):
        seen = y.notna().to_numpy()
        dates = y.index.to_numpy().astype("datetime64[D]")
        ahead = np.concatenate([dates, dates[-1] + 1 + np.arange(HORIZON)])
        special = tuple(names.get(str(day)) or "" for day in ahead)
        series = Series(dates, filled, seen, np.zeros((len(dates), 0)), (), SEASON, special[: len(dates)])
        closed = np.concatenate([~seen if country == "GB" else np.zeros(len(dates), bool), np.zeros(HORIZON, bool)])
        future = Future(ahead, np.zeros((len(ahead), 0)), special)
        found.append((Region(name, series, future, closed), np.where(seen, filled, np.nan)))
    return found


def errors(outcome: Outcome, region: Region, truth: np.ndarray) -> tuple[float, float]:
    """Summed absolute error and summed pinball loss over the back-test's known days."""
    absolute = loss = 0.0
    for cutoff, made in outcome.forecasts.items():
        start = int(np.searchsorted(region.series.dates, cutoff, side="right"))
        y = truth[start : start + HORIZON]
        known_days = ~np.isnan(y)
        gap = y[known_days, None] - made.quantiles[: len(y)][known_days]
        q = np.array(QUANTILES)
        absolute += float(np.abs(y - made.mean[: len(y)])[known_days].sum())
        loss += float(np.maximum(q * gap, (q - 1) * gap).mean(axis=1).sum())
    return absolute, loss


def measure(name: str, data: Path, models: list[str], windows: int) -> list[dict[str, object]]:
    wide, country = PANELS[name](data)
    last = wide.index[-1].to_datetime64().astype("datetime64[D]")
    cutoffs = tuple(last - HORIZON * (k + 1) for k in reversed(range(windows)))
    plan = Plan(cutoffs, HORIZON, QUANTILES, name != "online_retail", 60)
    shops = regions(wide, country)
    naive = build("seasonal_naive", {})
    table, best = [], np.full(len(shops), np.inf)
    actual = sum(
        float(np.nansum(np.abs(truth[np.searchsorted(shop.series.dates, cutoffs[0], side="right") :])))
        for shop, truth in shops
    )
    for model_name in models:
        model = naive if model_name == "seasonal_naive" else build(model_name, {})
        begun = time.perf_counter()
        with Child([model], plan) as child:
            outcomes = [run_model(model, shop, naive, plan, child.attempt) for shop, _ in shops]
        seconds = time.perf_counter() - begun
        scores = np.array([errors(o, shop, truth) for o, (shop, truth) in zip(outcomes, shops, strict=True)])
        won = int((scores[:, 0] < best - 1e-9).sum())
        best = np.minimum(best, scores[:, 0])
        row = {
            "data": name, "model": model_name, "wape": scores[:, 0].sum() / actual,
            "pinball": scores[:, 1].sum() / actual,
            "seconds_per_region": seconds / len(shops), "fallbacks": sum(bool(o.fallbacks) for o in outcomes),
            "better_than_all_before": won, "best_so_far_wape": best.sum() / actual, "regions": len(shops),
        }  # fmt: skip
        print(json.dumps(row), flush=True)
        table.append(row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--models", default=",".join(known()))
    parser.add_argument("--only", default=",".join(PANELS))
    parser.add_argument("--windows", type=int, default=4)
    asked = parser.parse_args()
    rows = [
        row
        for name in asked.only.split(",")
        for row in measure(name, Path(asked.data), asked.models.split(","), asked.windows)
    ]
    results = Path(__file__).parents[1] / "results"
    results.mkdir(exist_ok=True)
    (results / "fleet_accuracy.json").write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        figures = " ".join(f"{row[key]:.4f}" for key in ("wape", "pinball", "seconds_per_region"))
        print(f"{row['data']:<14} {row['model']:<15} {figures}")


if __name__ == "__main__":
    main()
