"""Cleaned rows to the region-by-day table, with regions, neighbours and the calendar beside it.

spark-submit jobs/features.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark.features import build, covariates, edge
from stspark.features.panel import daily_totals
from stspark.job import Job, run_job
from stspark.tables import REGIONS


def main(job: Job) -> None:
    settings, store, spark = job.settings, job.store, job.spark
    with job.step("features"):
        if settings.source.kind == "events":
            panel, daily = None, daily_totals(store.read("events"), settings.target).persist()
        else:
            panel = store.read("panel")
            daily = panel.select("region", "date", "target")
        spans = build.region_spans(daily, settings)
        span, regions = build.data_span(spans, settings), build.build_regions(spans, settings)
        store.replace("regions", spark.createDataFrame(regions, REGIONS.schema()))
        as_of = min(job.asked_as_of or span[1], span[1])
        store.replace("region_edges", build.build_edges(spark, regions, daily, as_of, settings))
        store.replace("calendar", build.build_calendar(spark, store.read("regions"), panel, span, settings))
        places = build.Places(store.read("region_edges"), store.read("regions"))
        days = build.build_region_day(daily, store.read("calendar"), places, span, settings)
        store.replace("region_day", covariates.add_past_only(days, panel, settings))
        doubtful = edge.doubtful_edge(edge.daily_sums(daily, span[1]))
    job.summary["regions"] = f"{len(regions):,}, {span[0]} to {span[1]}"
    job.summary |= {"edge": str(doubtful)} if doubtful else {}


if __name__ == "__main__":
    sys.exit(run_job("features", main))
