"""Fits every model, regional and global, and back-tests it: backtests and models.

spark-submit jobs/train.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark.features import learning
from stspark.fleet import earlier, results, spread
from stspark.global_model import train_globals
from stspark.job import Job, run_job
from stspark.names import NAIVE
from stspark.session import slots
from stspark.staging import staged


def main(job: Job) -> None:
    settings, store = job.settings, job.store
    run = job.open_run()
    with job.step("train"):
        region_day, calendar = store.read("region_day"), store.read("calendar")
        cutoffs = learning.cutoffs(run.as_of, settings.time.horizon, settings.backtest.windows, settings.backtest.step)
        learning.require_enough(region_day, cutoffs[0], settings.time.season)
        frame = staged(job, "learning", learning.learning_frame(region_day, calendar, run.as_of, settings.time.horizon))
        task = spread.fleet_task(settings, learning.known_ahead(calendar), [*cutoffs, run.as_of])
        packs = settings.fleet.packs or spread.PACKS_PER_SLOT * slots(job.spark)
        known = spread.Earlier(
            earlier.predicted_seconds(frame, [name for name, _ in task.models], store, run),
            earlier.earlier_models(store, settings, run),
        )
        fleet = staged(job, "fleet", spread.run_fleet(frame, task, packs, known))
        rows, models = fleet.where("kind = 'forecast'"), fleet.where("kind = 'model'")
        naive = rows.where(f"model = '{NAIVE}'")
        for trained in train_globals(job, run, frame, naive):
            rows = rows.unionByName(trained.forecasts, allowMissingColumns=True)
            models = models.unionByName(trained.models, allowMissingColumns=True)
        backtests = results.to_backtests(rows, region_day, run.as_of, run.run_id)
        store.replace("backtests", backtests, f"run_id = '{run.run_id}'")
        store.replace("models", results.of_run(models, run.run_id), f"run_id = '{run.run_id}'")
    job.summary["models"] = results.describe_models(store.read("models"), run.run_id)


if __name__ == "__main__":
    sys.exit(run_job("train", main))
