"""Forecasts of parents and of the total, and sums over the horizon, made to add up: forecast_levels, backtest_levels.

spark-submit jobs/reconcile.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark.at_once import at_once
from stspark.fleet import results
from stspark.hierarchy import levels
from stspark.job import Job, run_job
from stspark.staging import staged


def main(job: Job) -> None:
    settings, store = job.settings, job.store
    if settings.hierarchy.method == "off":
        job.summary["sums"] = "off (hierarchy.method)"
        return
    run = job.open_run()
    mine = f"run_id = '{run.run_id}'"
    with job.step("reconcile"):
        forecasts = results.require_run(store.read("forecasts"), run.run_id)
        tree = levels.read_tree(store.read("regions"), forecasts, settings.hierarchy.parents)
        cutoffs = levels.cutoffs_of(store.read("backtests"), run.run_id)
        upper = levels.upper_forecasts(job, run, tree, cutoffs)
        made = levels.reconcile(levels.base_rows(job, run, upper), settings, tree, run.as_of)
        made = staged(job, "reconciled", levels.of_run(made, run))
        at_once(
            job.spark,
            lambda: store.replace("backtest_levels", made.where("kind = 'backtest'"), mine),
            lambda: store.replace("forecast_levels", made.where("kind = 'forecast'"), mine),
        )
    job.summary["sums"] = levels.describe(store.read("forecast_levels"), store.read("backtest_levels"), run.run_id)


if __name__ == "__main__":
    sys.exit(run_job("reconcile", main))
