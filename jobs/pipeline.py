"""All steps in one application: raw files in, forecasts, metrics and report out.

spark-submit jobs/pipeline.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

import evaluate
import explain
import features
import forecast
import ingest
import reconcile
import train

from stspark.job import Job, run_job
from stspark.watch.reuse import carry_over


def main(job: Job) -> None:
    ingest.main(job)
    features.main(job)
    if not carry_over(job, job.open_run()):
        train.main(job)
    forecast.main(job)
    reconcile.main(job)
    if job.settings.explain:
        explain.main(job)
    evaluate.main(job)


if __name__ == "__main__":
    sys.exit(run_job("pipeline", main))
