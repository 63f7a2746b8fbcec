"""A CSV of region, date, target and covariates as a panel without gaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.fev.task import Task
from stspark.errors import InputError
from stspark.snapshot import Manifest, Snapshot

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """truth: [T, R], NaN where a region has no row that day; snapshot: the same for models, holes filled."""

    truth: Floats
    snapshot: Snapshot

    def window(self, cutoff: date) -> tuple[Floats, Floats]:
        """The truth up to and including `cutoff`, and that of the horizon behind it."""
        days = self.snapshot.manifest.days_until(cutoff)
        return self.truth[:days], self.truth[days : days + self.snapshot.manifest.horizon]


def read_panel(task: Task) -> Panel:
    """Read the task's rows; raise InputError where file, column or days are missing."""
    try:
        rows = pd.read_csv(task.path, parse_dates=[task.date])
    except FileNotFoundError as error:
        raise InputError(task.path, "is not there", "see the task's file for where it is published") from error
    for column in (task.region, task.date, task.target, *task.known_future):
        if column not in rows:
            raise InputError(task.path, f"has no column {column!r}", f"its columns are {', '.join(rows.columns)}")
    days = pd.date_range(rows[task.date].min(), rows[task.date].max(), freq="D")
    regions = sorted(rows[task.region].unique())
    last = task.cutoffs[-1] + pd.Timedelta(days=task.horizon)
    if pd.Timestamp(last) > days[-1]:
        raise InputError(task.path, f"ends on {days[-1].date()}", f"the last window needs {last}: take fewer windows")

    def dense(column: str) -> Floats:
        wide = rows.pivot(index=task.date, columns=task.region, values=column).reindex(index=days, columns=regions)
        return wide.to_numpy(dtype=float)

    truth = dense(task.target)
    covariates = [dense(column) for column in task.known_future]
    stacked = np.stack(covariates, axis=-1) if covariates else np.empty((*truth.shape, 0))
    return Panel(truth, _snapshot(task, truth, stacked, days[0].date(), regions))


def _snapshot(task: Task, truth: Floats, covariates: Floats, first: date, regions: list[str]) -> Snapshot:
    observed = ~np.isnan(truth)
    alive = np.logical_or.accumulate(observed, axis=0)
    manifest = Manifest(
        data_version=task.name,
        regions=tuple(regions),
        first_date=first,
        n_history=len(truth),
        n_total=len(truth),
        covariates=task.known_future,
        edges=tuple((i, j, 1.0) for i in range(len(regions)) for j in range(len(regions)) if i != j),
        season=task.season,
        horizon=task.horizon,
        quantiles=task.quantiles,
        seed=task.seed,
    )
    n = len(regions)
    weights = (np.ones((n, n)) - np.eye(n)) / max(n - 1, 1)
    return Snapshot(manifest, filled(truth, task.season), observed, alive, covariates, weights)


def filled(truth: Floats, season: int) -> Floats:
    """Truth [T, R] with each hole filled by the same weekday before it, else the last day; 0 before the first day."""
    out = np.array(truth)
    for t in range(len(out)):
        for source in (t - season, t - 1):
            if source >= 0:
                out[t] = np.where(np.isnan(out[t]), out[source], out[t])
    return np.nan_to_num(out, nan=0.0)
