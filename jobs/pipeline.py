"""All steps in one application: raw files in, forecasts, metrics and report out.

spark-submit jobs/pipeline.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

import evaluate
import features
import forecast
import ingest
import train

from stspark.job import Job, run_job


def main(job: Job) -> None:
    ingest.main(job)
    features.main(job)
    train.main(job)
    forecast.main(job)
    evaluate.main(job)


if __name__ == "__main__":
    sys.exit(run_job("pipeline", main))
