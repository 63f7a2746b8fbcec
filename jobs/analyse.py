"""Tests of every region's series and of the map of regions: diagnostics, and a page that explains them.

spark-submit jobs/analyse.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from pyspark.sql import functions as F

from stspark.diagnostics.spread import analyse_map, analyse_regions
from stspark.fleet import spread
from stspark.job import Job, run_job
from stspark.report.diagnosis import write_page
from stspark.runs import resolve_as_of


def main(job: Job) -> None:
    settings, store = job.settings, job.store
    as_of = resolve_as_of(store, job.asked_as_of, settings)
    with job.step("analyse"):
        region_day, season = store.read("region_day"), settings.time.season
        packs = spread.packs_of(settings, job.spark)
        found = analyse_regions(region_day, as_of, season, packs)
        of_map = analyse_map(region_day, store.read("region_edges"), as_of, season, settings.seed)
        store.replace("diagnostics", found.unionByName(of_map).withColumn("as_of", F.lit(as_of)))
    job.report = write_page(store.read("diagnostics"), store.read("regions"), settings, as_of)
    job.summary["as of"] = str(as_of)


if __name__ == "__main__":
    sys.exit(run_job("analyse", main))
