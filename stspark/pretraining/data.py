"""Every series at hand, as snapshots to pretrain on: regions' targets and numbers, categories, most sold items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stspark.columns import quoted
from stspark.errors import InputError
from stspark.models.deep.pretraining import PretrainConfig
from stspark.names import OBSERVED
from stspark.settings import Settings
from stspark.snapshot import Manifest, write_snapshot
from stspark.store import Store

FACTS = ("orders", "users", "views", "units", "price")
"""Columns of region_day that are a day's own numbers, beside target and covariates; the others are made from earlier
days."""
ROWS = ("series", "date", "y", "observed")


def write_corpus(
    store: Store, settings: Settings, as_of: date, config: PretrainConfig, to: tuple[str, str]
) -> Manifest:
    """Write a data set's series up to `as_of` as a snapshot without covariates; to: its folder and data version."""
    path, version = to
    rows = region_series(store.read("region_day"), settings, as_of)
    if settings.source.kind == "events":
        rows = reduce(DataFrame.unionByName, (rows, *sold_series(store, as_of, config.items)))
    kept = rows.select("series").distinct().orderBy(F.xxhash64("series"), "series").limit(config.most)
    names = tuple(sorted(row[0] for row in kept.collect()))
    if not names:
        raise InputError(
            f"table region_day in {store.home}", f"has no observed day up to {as_of}", "choose a later --as-of"
        )
    place = store.spark.createDataFrame([(name, k) for k, name in enumerate(names)], "series string, region_index int")
    rows = rows.join(F.broadcast(place), "series")
    first, last = rows.agg(F.min("date"), F.max("date")).first() or (None, None)
    assert isinstance(first, date)
    assert isinstance(last, date)
    days = (last - first).days + 1
    manifest = Manifest(version, names, first, days, days, (), (), settings.time.season, 1, (0.5,), settings.seed)
    index = F.date_diff("date", F.lit(first))
    write_snapshot(rows.withColumn("date_index", index).drop("series", "date"), manifest, path)
    return manifest


def region_series(region_day: DataFrame, settings: Settings, as_of: date) -> DataFrame:
    """ROWS of every region's target, facts and covariates, from its first day on."""
    past = region_day.where(F.col("date") <= F.lit(as_of))
    there = set(region_day.columns)
    wanted = [name for name in (*FACTS, *(c.name for c in settings.covariates)) if name in there]
    seen = F.col("status") == OBSERVED
    target = past.select(_named("target"), "date", F.coalesce("target", "target_clean", F.lit(0.0)).alias("y"),
                         (seen & F.col("target").isNotNull()).alias("observed"))  # fmt: skip
    others = [
        past.select(
            _named(name),
            "date",
            F.coalesce(F.col(quoted(name)).cast("double"), F.lit(0.0)).alias("y"),
            (seen & F.col(quoted(name)).isNotNull()).alias("observed"),
        )
        for name in wanted
    ]
    return reduce(DataFrame.unionByName, others, target)


def _named(column: str) -> Column:
    return F.concat(F.lit(f"{column} of region "), F.col("region")).alias("series")


def sold_series(store: Store, as_of: date, items: int) -> Sequence[DataFrame]:
    """ROWS of the orders of every category and of the `items` most sold items, over all regions; a day without any is
    0 where some region was observed, and not observed where none was."""
    events = store.read("events").where((F.col("date") <= F.lit(as_of)) & (F.col("event_type") == "order"))
    region_day = store.read("region_day").where(F.col("date") <= F.lit(as_of))
    days = region_day.groupBy("date").agg(F.max(F.col("status") == OBSERVED).alias("observed"))
    return [_sold(events, days, "category", None), *([_sold(events, days, "item", items)] if items else [])]


def _sold(events: DataFrame, days: DataFrame, column: str, most: int | None) -> DataFrame:
    sold = events.where(F.col(column).isNotNull()).groupBy(column, "date").agg(
        F.sum(F.coalesce("quantity", F.lit(1.0))).alias("y")
    )  # fmt: skip
    by_series = sold.groupBy(column).agg(F.min("date").alias("first"), F.sum("y").alias("total"))
    if most is not None:
        place = F.row_number().over(Window.orderBy(F.desc("total"), column))
        by_series = by_series.withColumn("place", place).where(F.col("place") <= most)
    every = days.join(F.broadcast(by_series.select(column, "first")), F.col("date") >= F.col("first"))
    whole = every.join(sold, [column, "date"], "left").withColumn("y", F.coalesce("y", F.lit(0.0)))
    return whole.select(F.concat(F.lit(f"{column} "), F.col(column)).alias("series"), "date", "y", "observed")
