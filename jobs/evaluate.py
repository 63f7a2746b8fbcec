"""Errors and coverage of every model, verdicts on days that have come: metrics, monitoring, report, MLflow.

spark-submit jobs/evaluate.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from pyspark.sql import DataFrame

from stspark.at_once import at_once
from stspark.fleet import results
from stspark.job import Job, run_job
from stspark.metrics.measure import measure, measure_sums, with_champion, with_slices
from stspark.metrics.scale import naive_scale
from stspark.metrics.slices import day_types, demand_classes
from stspark.report.build import write_report
from stspark.tracking import log_run
from stspark.watch import spread as watch
from stspark.watch.challenge import challenge


def main(job: Job) -> None:
    settings, store = job.settings, job.store
    run = job.open_run()
    with job.step("evaluate"):
        mine = f"run_id = '{run.run_id}'"
        region_day = store.read("region_day")
        backtests = results.require_run(store.read("backtests"), run.run_id)
        scale = naive_scale(region_day, backtests.select("cutoff").distinct(), settings.time.season)
        came = results.with_actuals(store.read("forecasts").where(mine), region_day, scale)
        at_once(
            job.spark,
            lambda: store.replace("metrics", back_test_metrics(job).unionByName(_measured(job, came, "actuals")), mine),
            lambda: store.replace("monitoring", watch.monitor(job, run), mine),
        )
    job.summary["watch"] = watch.describe(store.read("monitoring"), run.run_id)
    job.summary["error"] = results.describe_errors(store.read("metrics"), run.run_id)
    job.report = write_report(job, run)
    job.mlflow_run = log_run(job, run)
    job.summary["registry"] = challenge(job, run)


def back_test_metrics(job: Job) -> DataFrame:
    """Metrics of the judged windows: of what would have been published, and over all of what the models said."""
    store, run = job.store, job.open_run()
    backtests = store.read("backtests").where(f"run_id = '{run.run_id}' and not warm_up")
    cutoffs = backtests.select("cutoff").distinct()
    scale = naive_scale(store.read("region_day"), cutoffs, job.settings.time.season)
    judged = with_champion(backtests).join(scale, ["region", "cutoff"], "left")
    return _measured(job, judged, "backtest").unionByName(_uncalibrated(job, judged))


def _uncalibrated(job: Job, judged: DataFrame) -> DataFrame:
    """Metrics over all regions of what the models themselves said: source `raw`, so that calibration can be judged."""
    run, keys = job.open_run(), ["cutoff", "region", "date", "model"]
    said = job.store.read("backtest_windows").where(f"run_id = '{run.run_id}'")
    beside = said.join(judged.select(*keys, "y", "scale", "scale_squared"), keys)
    return measure(beside, job.settings.quantiles, run.run_id, "raw").where("level = 'all' and horizon = 0")


def _measured(job: Job, rows: DataFrame, source: str) -> DataFrame:
    """All metrics of rows with actuals: by region, horizon, kind of day and demand, and of the sums over regions."""
    store, run = job.store, job.open_run()
    demand = demand_classes(store.read("region_day").where(f"date <= '{run.as_of}'"))
    sliced = with_slices(rows, day_types(store.read("calendar")), demand)
    alone = measure(sliced, job.settings.quantiles, run.run_id, source)
    return alone.unionByName(measure_sums(rows, store.read("regions").select("region", "parent"), run.run_id, source))


if __name__ == "__main__":
    sys.exit(run_job("evaluate", main))
