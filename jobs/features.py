"""Cleaned rows to the region-by-day table, with regions, neighbours and the calendar beside it.

spark-submit jobs/features.py --config conf/DATASET.yaml [--full] [--as-of YYYY-MM-DD] [--set dotted.key=value …]

Builds the days whose rows have changed and those that depend on them; all days where config, code or the regions
changed, or with --full.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stspark import changes, recipe
from stspark.at_once import at_once
from stspark.columns import tuples
from stspark.features import build, covariates, edge, history, incremental, stray
from stspark.job import Job, run_job
from stspark.kept import Kept
from stspark.tables import REGIONS

log = logging.getLogger("stspark")


def main(job: Job) -> None:
    store, settings = job.store, job.settings
    table = "events" if settings.source.kind == "events" else "panel"
    with job.step("features"), Kept() as keep:
        rows = store.read(table)
        basis = changes.present(store, table, recipe.features(settings))
        whole = job.full or settings.regions.weights.kind == "correlation"  # such weights change with every day
        before = None if whole else changes.of_tables(store)
        touched = None
        if before is not None and before.recipe == basis.recipe:
            touched = changes.touched_days(store, table, before, basis)
        known = None if touched is None else update(job, rows, touched, basis, keep)
        if known is None:
            build_all(job, rows, basis, keep)
            known = as_it_stands(job)
        recent = store.rows("region_day", ("date", "target"), since=known.last - edge.COMPARED)
        doubtful = edge.doubtful_edge(edge.daily_sums(recent))
    job.summary["regions"] = f"{len(known.regions):,}, {min(known.starts.values())} to {known.last}"
    job.summary |= {"edge": str(doubtful)} if doubtful else {}


def build_all(job: Job, rows: DataFrame, basis: changes.Basis, keep: Kept) -> None:
    """All tables from the first day on."""
    settings, store, spark = job.settings, job.store, job.spark
    panel = rows if settings.source.kind == "panel" else None
    daily = keep(build.totals(rows, settings))
    span, astray = build.data_span(daily, settings)
    job.summary |= {"stray days": stray.explain(astray, span)} if astray else {}
    daily = daily.where(F.col("date").between(*span))
    regions = build.build_regions(daily, settings)
    listed, note = spark.createDataFrame(regions, REGIONS.schema()), basis.note()
    as_of = min(job.asked_as_of or span[1], span[1])
    at_once(
        spark,
        lambda: store.replace("regions", listed, note=note),
        lambda: store.replace("region_edges", build.build_edges(spark, regions, daily, as_of, settings), note=note),
        lambda: store.replace("calendar", build.build_calendar(spark, regions, panel, span, settings), note=note),
    )
    days = keep(build.clean_days(daily, store.read("calendar"), span, settings))
    days = history.add_features(days, store.read("region_edges"), parents(spark, regions))
    store.replace("region_day", covariates.add_past_only(days, panel, settings), note=note)


def parents(spark: SparkSession, regions: pd.DataFrame) -> DataFrame | None:
    """region and parent; None where no region has one."""
    have = regions.loc[regions["parent"].notna(), ["region", "parent"]]
    return None if have.empty else spark.createDataFrame(tuples(have), "region string, parent string")


def as_it_stands(job: Job) -> incremental.Known:
    """What region_day holds now."""
    regions = job.store.rows("regions", ["region"])["region"].to_pylist()
    return incremental.as_it_stands(job.store.read("region_day"), regions, job.settings.regions.opening)


def update(
    job: Job, rows: DataFrame, touched: Sequence[date], basis: changes.Basis, keep: Kept
) -> incremental.Known | None:
    """Only what the touched days reach: what region_day holds then; None where all has to be built."""
    if not touched:
        return as_it_stands(job)
    settings, store, spark = job.settings, job.store, job.spark
    panel = rows if settings.source.kind == "panel" else None
    anew = keep(build.totals(rows.where(F.col("date").isin(list(touched))), settings))
    known, there = at_once(spark, lambda: as_it_stands(job), lambda: incremental.days_by_region(anew))
    window = incremental.reached(touched, there, known, settings.time, incremental.REACH)
    if window is None:
        return None
    log.info("features: %d days changed, %s to %s are built anew", len(touched), window.first, window.last)
    span = (min(known.starts.values()), window.end)
    regions = store.rows("regions", ("region", "country", "subdivision", "parent")).to_pandas()
    new = F.col("date") >= F.lit(window.first)
    ahead = store.tables["calendar"].select(build.build_calendar(spark, regions, panel, span, settings)).where(new)
    around = store.read("calendar").where(~new & (F.col("date") >= F.lit(window.context))).unionByName(ahead)
    daily = incremental.daily_around(window, store.read("region_day"), touched, anew)
    days = keep(build.clean_days(daily, around, (window.context, window.last), settings))
    days = days.where(F.col("date") >= F.lit(window.first - history.LONGEST))
    days = history.add_features(days, store.read("region_edges"), parents(spark, regions))
    days = keep(covariates.add_past_only(days.where(new), panel, settings))
    note = basis.note()
    at_once(spark, days.count, lambda: store.replace("calendar", ahead, f"date >= '{window.first}'", note))
    store.replace("region_day", days, f"date between '{window.first}' and '{window.last}'", note)
    return replace(known, last=window.end)


if __name__ == "__main__":
    sys.exit(run_job("features", main))
