"""Long rows of metrics: by region, horizon, weekday, type of day, demand class, and of the sums over regions."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stspark.metrics.definitions import metric_columns, point_metrics
from stspark.metrics.slices import weekday
from stspark.names import ALL_REGIONS, CHAMPION

SLICES = ("weekday", "day_type", "demand")
"""Columns whose values are levels of their own, where the rows have them."""


def measure(rows: DataFrame, quantiles: Sequence[float], run_id: str, source: str) -> DataFrame:
    """Long metrics by level, model and horizon (0 = the whole) of rows with actuals.

    rows: region, model, horizon, y, y_hat, quantile columns, scale, scale_squared, and those of SLICES that are known.
    Level `region` and level `all` (region `*`) have every horizon; a slice is a level of that name, its value stands
    where the region does, and it has horizon 0 only. Where the rows say which model stood in (fallback_used), there is
    a metric `stood_in` beside the errors, which are then not the model's own: its share of the rows.
    """
    known = rows.where("y is not null")
    slices = [name for name in SLICES if name in rows.columns]
    by = [["region", "horizon"], ["region"], ["horizon"], [], *([name] for name in slices)]
    metrics = metric_columns(quantiles)
    if "fallback_used" in rows.columns:
        metrics["stood_in"] = F.avg(F.col("fallback_used").isNotNull().cast("double"))
    names = ["region", "horizon", *slices]
    sets = known.groupingSets([["model", *group] for group in by], "model", *names)
    marks = [F.grouping(name).alias(f"_no_{name}") for name in names]
    wide = sets.agg(*marks, F.count("*").alias("n"), *(m.alias(k) for k, m in metrics.items()))
    level, group = _named(["region", *slices])
    placed = wide.select("model", "n", *metrics, level.alias("level"), group.alias("region"), _horizon())
    return _long(placed, list(metrics), run_id, source)


def measure_sums(rows: DataFrame, parents: DataFrame, run_id: str, source: str) -> DataFrame:
    """Point metrics of the sums over all regions (level `total`) and over those of a parent (level `parent`).

    rows: as in `measure`, with cutoff and date; parents: region, parent. A sum counts the regions that were observed
    on the day, in forecast and actual alike.
    """
    known = rows.where("y is not null").join(F.broadcast(parents), "region", "left")
    keys = ["model", "cutoff", "date", "horizon"]
    summed = known.groupingSets([[*keys, "parent"], keys], *keys, "parent").agg(
        F.grouping("parent").alias("_no_parent"),
        F.sum("y").alias("y"),
        F.sum("y_hat").alias("y_hat"),
        F.lit(None).cast("double").alias("scale"),
        F.lit(None).cast("double").alias("scale_squared"),
    )
    of_level = F.when(F.col("_no_parent") == 1, "total").otherwise("parent")
    named = summed.where("_no_parent = 1 or parent is not null").select(
        "*", of_level.alias("level"), F.coalesce("parent", F.lit("total")).alias("region")
    )
    metrics = point_metrics()
    wide = named.groupBy("model", "level", "region").agg(
        F.count("*").alias("n"), *(m.alias(k) for k, m in metrics.items())
    )
    return _long(wide.withColumn("horizon", F.lit(0)), list(metrics), run_id, source)


def with_slices(rows: DataFrame, day_types: DataFrame, demand: DataFrame) -> DataFrame:
    """The rows with weekday, day_type and demand."""
    typed = rows.join(day_types, ["region", "date"], "left").join(F.broadcast(demand), "region", "left")
    return typed.withColumn("weekday", weekday(F.col("date")))


def with_champion(rows: DataFrame) -> DataFrame:
    """The rows, and again those of the champions under the model name `champion`."""
    return rows.unionByName(rows.where("is_champion").withColumn("model", F.lit(CHAMPION)))


def _named(names: Sequence[str]) -> tuple[Column, Column]:
    """Level and group of a row of the grouping sets: the one name that it is grouped by, and its value; else all."""
    level, group = F.lit("all"), F.lit(ALL_REGIONS)
    for name in names:
        here = F.col(f"_no_{name}") == 0
        level, group = F.when(here, name).otherwise(level), F.when(here, F.col(name)).otherwise(group)
    return level, group


def _horizon() -> Column:
    return F.coalesce("horizon", F.lit(0)).alias("horizon")


def _long(wide: DataFrame, metrics: Sequence[str], run_id: str, source: str) -> DataFrame:
    """One row per metric that could be computed."""
    keys = ["level", "region", "model", "horizon"]
    long = wide.where("region is not null").unpivot([*keys, "n"], list(metrics), "metric", "value")
    return long.where("value is not null").select(
        F.lit(run_id).alias("run_id"), F.lit(source).alias("source"), *keys, "metric", "value", "n"
    )
