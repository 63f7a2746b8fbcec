"""What each champion's forecast is made of (level, trend, season, holiday, covariates …), adding up: explanations.

spark-submit jobs/explain.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark.explain.spread import describe, explain
from stspark.fleet import results
from stspark.job import Job, run_job


def main(job: Job) -> None:
    run = job.open_run()
    with job.step("explain"):
        results.require_run(job.store.read("forecasts"), run.run_id)
        job.store.replace("explanations", explain(job, run), f"run_id = '{run.run_id}'")
    job.summary["explanations"] = describe(job.store.read("explanations"), run.run_id)


if __name__ == "__main__":
    sys.exit(run_job("explain", main))
