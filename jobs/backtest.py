"""Back-tests the models window by window, without publishing anything: backtest_windows, backtests, metrics.

spark-submit jobs/backtest.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set backtest.windows=26 …]

Started again after a crash it goes on with the windows that are not there yet. What it needs: the tables of
jobs/features.py.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from datetime import date

from evaluate import back_test_metrics
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark import backtest
from stspark.ensemble.spread import Known
from stspark.features import learning
from stspark.fleet import results
from stspark.global_model import train_globals
from stspark.job import Job, run_job
from stspark.models.panel.registry import partial_models
from stspark.names import NAIVE
from stspark.runs import Run

AT_ONCE = 4
"""Windows of one pass where models are fitted once; a crash costs at most so many."""


def main(job: Job) -> None:
    store, run = job.store, job.open_run()
    with job.step("backtest"):
        known = Known(store.read("region_day"), store.read("calendar"))
        windows = backtest.schedule(job, run, known.region_day)
        frame = backtest.learning_frame(job, run, known)
        done = _there(job, run).where(f"model = '{NAIVE}'")
        new = _fleet(job, run, frame, (windows.cutoffs, _cutoffs(done), learning.known_ahead(known.calendar)))
        _globals(job, run, frame, windows.cutoffs)
        made = backtest.finished(job, run, known, _there(job, run).drop("run_id"))
        backtest.write_backtests(job, run, made.forecasts, windows.judged[0])
        measured = back_test_metrics(job)
        store.replace("metrics", measured, f"run_id = '{run.run_id}' and source in ('backtest', 'raw')")
    job.summary["windows"] = f"{len(windows.judged)} judged, {len(windows.warm_up)} before them, {new} computed now"
    job.summary["error"] = results.describe_errors(store.read("metrics"), run.run_id)


def _fleet(job: Job, run: Run, frame: DataFrame, windows: tuple[Sequence[date], Sequence[date], Sequence[str]]) -> int:
    """Write the regional models' windows that are not there, pass by pass; return how many. windows: wanted, there,
    known-ahead columns."""
    wanted, there, names = windows
    refit = job.settings.backtest.refit
    size, new = refit or AT_ONCE, 0
    for start in range(0, len(wanted), size):
        chunk = list(wanted[start : start + size])
        if set(chunk) <= set(there):
            continue
        fitted_at = [] if refit or start == 0 else [wanted[0]]
        rows = backtest.fleet_says(job, frame, names, [*fitted_at, *chunk]).forecasts
        days = ", ".join(f"'{day}'" for day in chunk)
        backtest.write_windows(job, run, rows.where(f"cutoff in ({days})"), f"cutoff in ({days})")
        new += len(chunk)
    return new


def _globals(job: Job, run: Run, frame: DataFrame, wanted: Sequence[date]) -> None:
    """Write the global models' windows where any is not there; a restarted training goes on from its checkpoints."""
    names = [model.name for model in job.settings.global_models]
    there = _there(job, run)
    partial = partial_models(job.settings.panel_models)  # those need not have a row in every window
    whole = [name for name in names if name not in partial]
    if not names or (whole and all(set(wanted) <= set(_cutoffs(there.where(F.col("model") == n))) for n in whole)):
        return
    listed = ", ".join(f"'{name}'" for name in names)
    rows = [said.forecasts for said in train_globals(job, run, frame, there.where(f"model = '{NAIVE}'"))]
    together = functools.reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), rows)
    backtest.write_windows(job, run, together, f"model in ({listed})")


def _there(job: Job, run: Run) -> DataFrame:
    """The run's windows so far."""
    job.store.create("backtest_windows")
    return job.store.read("backtest_windows").where(f"run_id = '{run.run_id}'")


def _cutoffs(rows: DataFrame) -> list[date]:
    return [row[0] for row in rows.select("cutoff").distinct().collect()]


if __name__ == "__main__":
    sys.exit(run_job("backtest", main))
