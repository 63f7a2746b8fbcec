"""Fits every model, regional and global, back-tests, combines and calibrates: backtest_windows, backtests, models.

spark-submit jobs/train.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark import backtest
from stspark.at_once import at_once
from stspark.ensemble.spread import Known
from stspark.errors import ConfigError
from stspark.fleet import results
from stspark.job import Job, run_job


def main(job: Job) -> None:
    store = job.store
    if job.settings.backtest.scheme == "blocked":
        fix = "what is published is judged by a rolling origin: run jobs/backtest.py, or leave the key out"
        raise ConfigError("backtest.scheme", "'blocked' lets fits see later days", fix)
    run = job.open_run()
    with job.step("train"):
        known = Known(store.read("region_day"), store.read("calendar"))
        windows = backtest.schedule(job, run, known.region_day)
        said = backtest.all_say(job, run, known, [*windows.cutoffs, run.as_of])
        _, made = at_once(
            job.spark,
            lambda: backtest.write_windows(job, run, said.forecasts),
            lambda: backtest.finished(job, run, known, said.forecasts),
        )
        models = said.models.unionByName(made.models, allowMissingColumns=True)
        at_once(
            job.spark,
            lambda: backtest.write_backtests(job, run, made.forecasts, windows.judged[0]),
            lambda: store.replace("models", results.of_run(models, run.run_id), f"run_id = '{run.run_id}'"),
        )
    job.summary["models"] = results.describe_models(store.read("models"), run.run_id)


if __name__ == "__main__":
    sys.exit(run_job("train", main))
