"""The trial's boosted trees (shared/ANCHORS.md) in a task's windows: python -m bench.fev.trial [--config TASK]

One model of gradient-boosted trees per quantile for all regions, direct for every day ahead: 350 trees of 15 leaves at
rate 0.03; target log(y / mean of the last 28 days); rows from an origin every week, half as heavy after each year.
Trees by scikit-learn's histogram boosting, which grows them as LightGBM does, the trial's library. It is the bar for
networks, also in earlier windows than those in which it was set (docs/fev-bench.md).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from bench.fev.__main__ import table
from bench.fev.panel import Panel, read_panel
from bench.fev.run import forecast_windows, scored
from bench.fev.task import Task, read_task
from stspark.errors import UserError

Floats = NDArray[np.float64]

LEVELS = (7, 28, 84)
"""Days of the means whose ratios are features; the second is the level that demand is divided by."""
SHORTEST, EVERY, HALF_LIFE = 56, 7, 365.0
"""Days before the first origin, days from one to the next, days after which a row weighs half."""
YEAR, AROUND = 364, 10
"""Days back to the same weekday of last year, and days around it that its mean is of."""
FLAG_DAYS = range(-3, 4)
REGION = 5
"""The column that numbers the region."""


def main() -> int:
    """Print the recipe's row of the task's table."""
    parser = argparse.ArgumentParser(prog="python -m bench.fev.trial", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="bench/fev/rohlik_orders_1D.yaml")
    try:
        task = read_task(parser.parse_args().config)
        panel = read_panel(task)
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        return 2
    warnings.simplefilter("ignore", RuntimeWarning)  # means of days that nobody knows are unknown
    made = forecast_windows(task, lambda cutoff: forecast(task, panel, cutoff))
    print("\n".join(table(task, [scored("the trial's trees", task, panel, made)])))
    return 0


def forecast(task: Task, panel: Panel, cutoff: date) -> Floats:
    """[R, H, 1 + Q] of the days after `cutoff`; the point is the median."""
    last = panel.snapshot.manifest.days_until(cutoff) - 1
    truth = np.array(panel.truth)
    truth[last + 1 :] = np.nan
    x, z, weight = [], [], []
    for origin in range(last - EVERY, SHORTEST, -EVERY):
        features, level = origin_rows(task, panel, truth, origin)
        ahead = np.log(truth[origin + 1 : origin + 1 + task.horizon] / level)
        known = np.isfinite(ahead)
        x.append(features[known])
        z.append(ahead[known])
        weight.append(np.full(known.sum(), 0.5 ** ((last - origin) / HALF_LIFE)))
    learned, targets, weights = (np.concatenate(parts) for parts in (x, z, weight))
    coming, level = origin_rows(task, panel, truth, last)
    flat = coming.reshape(-1, coming.shape[-1])
    made = []
    for q in task.quantiles:
        model = HistGradientBoostingRegressor(
            loss="quantile", quantile=q, max_iter=350, max_leaf_nodes=15, learning_rate=0.03,
            categorical_features=[REGION], early_stopping=False, random_state=task.seed,
        )  # fmt: skip
        model.fit(learned, targets, sample_weight=weights)
        made.append(np.exp(model.predict(flat)).reshape(coming.shape[:2]) * level)
    quantiles = np.sort(np.stack(made, axis=-1), axis=-1)  # [H, R, Q]
    point = quantiles[..., [task.quantiles.index(0.5)]]
    return np.concatenate([point, quantiles], axis=-1).transpose(1, 0, 2)


def origin_rows(task: Task, panel: Panel, truth: Floats, origin: int) -> tuple[Floats, Floats]:
    """Features [H, R, F] of the days after day number `origin`, and the level [R] that demand is divided by."""
    past, flags = truth[: origin + 1], panel.snapshot.covariates
    regions, end = past.shape[1], origin + task.horizon
    means = [np.nanmean(past[-days:], axis=0) for days in LEVELS]
    ratios = [means[0] / means[1], means[1] / means[2], means[0] / means[2]]
    profiles = [weekday_profile(past, weeks) for weeks in (8, 4)]
    before = origin - YEAR
    last_year = np.nanmean(past[max(0, before - 27) : before + 1], axis=0) if before >= 0 else np.full(regions, np.nan)
    rows = []
    for ahead in range(1, task.horizon + 1):
        t = origin + ahead
        day = pd.Timestamp(panel.snapshot.manifest.day(t))
        calendar = [ahead, day.dayofweek, day.dayofyear, day.month, day.day]
        near = range(max(0, t - YEAR - AROUND), min(origin, t - YEAR + AROUND) + 1)
        same = past[t - YEAR] if 0 <= t - YEAR <= origin else np.full(regions, np.nan)
        around = np.nanmean(past[near], axis=0) if near else np.full(regions, np.nan)
        columns = [np.full(regions, value) for value in calendar] + [np.arange(regions), *ratios]
        columns += [profile[(t - origin - 1) % 7] for profile in profiles] + [same / last_year, around / last_year]
        columns += [flags[t + s, :, k] if t + s <= end else np.full(regions, np.nan)
                    for s in FLAG_DAYS for k in range(flags.shape[2])]  # fmt: skip
        rows.append(np.stack(columns, axis=-1))
    return np.stack(rows).astype(float), means[1]


def weekday_profile(past: Floats, weeks: int) -> Floats:
    """[7, R] means of the last weeks by weekday, over that of all their days; row 0 is the weekday after the past."""
    days = past[-7 * weeks :]
    return np.asarray(np.nanmean(days.reshape(-1, 7, past.shape[1]), axis=0) / np.nanmean(days, axis=0))


if __name__ == "__main__":
    sys.exit(main())
