"""Learned features of each region's recent weeks, and groups of regions that behave alike: region_groups.

spark-submit jobs/group.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark.job import Job, run_job
from stspark.region_groups import group_regions


def main(job: Job) -> None:
    run = job.open_run()
    own = f"run_id = '{run.run_id}'"
    with job.step("group"):
        job.store.replace("region_groups", group_regions(job, run), own)
    sizes = job.store.read("region_groups").where(own).groupBy("group_number").count().orderBy("group_number").collect()
    job.summary["groups"] = f"{len(sizes)}, of {', '.join(str(row['count']) for row in sizes)} regions"


if __name__ == "__main__":
    sys.exit(run_job("group", main))
