"""What the networks' forecasts come from, by region, lag and covariate; the learned adjacency beside W: attributions.

spark-submit jobs/attribute.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark.attribution_rows import attribute_networks
from stspark.job import Job, run_job
from stspark.report.build import write_networks


def main(job: Job) -> None:
    run = job.open_run()
    with job.step("attribute"):
        job.store.replace("attributions", attribute_networks(job, run), f"run_id = '{run.run_id}'")
    job.report = write_networks(job, run)


if __name__ == "__main__":
    sys.exit(run_job("attribute", main))
