"""Scores the stored models on the as-of day, combines and calibrates them, and marks each region's champion: forecasts.

spark-submit jobs/forecast.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark.ensemble import spread as ensemble
from stspark.features import learning
from stspark.fleet import results, spread
from stspark.fleet.retry import staged_fleet
from stspark.global_model import score_globals
from stspark.job import Job, run_job
from stspark.names import BORROWED, NAIVE
from stspark.staging import staged


def main(job: Job) -> None:
    settings, store = job.settings, job.store
    run = job.open_run()
    with job.step("forecast"):
        known = ensemble.Known(store.read("region_day"), store.read("calendar"))
        models = results.require_run(store.read("models"), run.run_id)
        opening = settings.regions.opening
        frame = learning.learning_frame(known.region_day, known.calendar, run.as_of, settings.time.horizon, opening)
        task = spread.fleet_task(settings, learning.known_ahead(known.calendar), [run.as_of], run.as_of)
        scores = staged_fleet(job, "scores", lambda packs: spread.score_fleet(frame, models, task, packs))
        rows = scores.where("kind = 'forecast'").drop("status")
        naive = rows.where(f"model = '{NAIVE}'")
        for scored in score_globals(job, run, models, naive):
            rows = rows.unionByName(scored, allowMissingColumns=True)
        past = store.read("backtest_windows").where(f"run_id = '{run.run_id}'").drop("run_id")
        both = ensemble.prepare(past.unionByName(rows.select(past.columns)), known, run.as_of)
        names = [model.name for model in settings.models]
        finished = ensemble.finish_regions(staged(job, "beside", both), settings, names, run.as_of)
        forecasts = results.to_forecasts(finished.where("kind = 'forecast'"), run.as_of, run.run_id)
        store.replace("forecasts", forecasts, f"run_id = '{run.run_id}'")
    job.summary["forecasts"] = results.describe_forecasts(store.read("forecasts"), run.run_id)
    young = any(model.name == BORROWED for model in settings.models)
    if young and (borrowed := results.describe_borrowed(store.read("forecasts"), run.run_id)):
        job.summary["borrowed"] = borrowed
    if opening and (missing := results.unforecast(frame, store.read("forecasts"), run.run_id)):
        job.summary["no forecast"] = missing


if __name__ == "__main__":
    sys.exit(run_job("forecast", main))
