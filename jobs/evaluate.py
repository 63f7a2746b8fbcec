"""Errors and coverage of every model, from back-tests and from forecasts whose days have come: metrics, report, MLflow.

spark-submit jobs/evaluate.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark import metrics
from stspark.fleet import results
from stspark.job import Job, run_job
from stspark.report.build import write_report
from stspark.tracking import log_run


def main(job: Job) -> None:
    settings, store = job.settings, job.store
    run = job.open_run()
    with job.step("evaluate"):
        region_day = store.read("region_day")
        backtests = results.require_run(store.read("backtests"), run.run_id)
        scale = metrics.naive_scale(region_day, backtests.select("cutoff").distinct(), settings.time.season)
        tested = metrics.with_champion(backtests, results.champions_by_cutoff(backtests)).join(
            scale, ["region", "cutoff"], "left"
        )
        measured = metrics.measure(tested, settings.quantiles, run.run_id, "backtest")
        came = results.with_actuals(store.read("forecasts").where(f"run_id = '{run.run_id}'"), region_day, scale)
        measured = measured.unionByName(metrics.measure(came, settings.quantiles, run.run_id, "actuals"))
        store.replace("metrics", measured, f"run_id = '{run.run_id}'")
    job.summary["error"] = results.describe_errors(store.read("metrics"), run.run_id)
    job.report = write_report(job, run)
    job.mlflow_run = log_run(job, run)


if __name__ == "__main__":
    sys.exit(run_job("evaluate", main))
