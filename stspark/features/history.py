"""Adds the declared features: of a region's own past, of its neighbours' and of its parent's."""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stspark.features.declared import DIGITS, FEATURES, before
from stspark.session import slots

FROM_EVENTS = {"orders": "bigint", "users": "bigint", "views": "bigint", "units": "double", "price": "double"}
"""What a day of events has beside its target; null for a panel."""
LONGEST = timedelta(days=max(feature.window for feature in FEATURES))
"""How far back any feature reads."""


def add_features(days: DataFrame, edges: DataFrame, parents: DataFrame | None = None) -> DataFrame:
    """Add every declared feature. Precondition: no missing days.

    days: region, date, target, target_clean, columns of FROM_EVENTS where known; edges: region, neighbour, weight;
    parents: region, parent; None where no region has one.
    """
    absent = {c: F.lit(None).cast(kind) for c, kind in FROM_EVENTS.items() if c not in days.columns}
    own = {f.name: f.make() for f in FEATURES if f.make is not None}
    return add_parent_share(add_spatial_lags(days.withColumns(absent).withColumns(own), edges), parents)


def add_spatial_lags(days: DataFrame, edges: DataFrame) -> DataFrame:
    """Add spatial_lag_1 and spatial_mean_7: W times the neighbours' lag_1 and mean_7.

    Weights are scaled up where a neighbour has no value that day; an island has null. Where a region's days lie
    together, as `add_target_clean` leaves them, they are not moved again: only the neighbours' values come to them.
    """
    there = days.select(F.col("region").alias("neighbour"), "date", "lag_1", "mean_7")
    weighted = F.broadcast(edges.select("region", "neighbour", "weight")).join(there, "neighbour")

    def mean(column: str) -> Column:
        weight = F.when(F.col(column).isNotNull(), F.col("weight"))
        return F.round(F.try_divide(F.sum(F.col(column) * F.col("weight")), F.sum(weight)), DIGITS)

    together = weighted.repartition(slots(days.sparkSession), "region")
    spatial = together.groupBy("region", "date").agg(
        mean("lag_1").alias("spatial_lag_1"), mean("mean_7").alias("spatial_mean_7")
    )
    return days.join(spatial, ["region", "date"], "left")


def add_parent_share(days: DataFrame, parents: DataFrame | None) -> DataFrame:
    """Add parent_share_28: the region's part of its parent's target_clean; null without a parent or a positive sum."""
    name = "parent_share_28"
    if parents is None:
        return days.withColumn(name, F.lit(None).cast("double"))
    own = F.round(F.sum("target_clean").over(before(28)), DIGITS)
    known = F.broadcast(parents.select("region", F.col("parent").alias("_parent")))
    joined = days.join(known, "region", "left").withColumn("_own", own)
    total = F.sum("_own").over(Window.partitionBy("_parent", "date"))
    share = F.when(F.col("_parent").isNotNull() & (total > 0), F.round(F.col("_own") / total, DIGITS))
    return joined.withColumn(name, share).drop("_own", "_parent")
