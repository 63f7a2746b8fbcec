"""Features of a region's and its neighbours' past. Each is known at the end of the day before."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

LAGS = (1, 7, 14, 364)
"""Days back; 364 is the same weekday last year."""


def add_lags(days: DataFrame, lags: Sequence[int] = LAGS) -> DataFrame:
    """Add lag_k: target_clean k days earlier. Precondition: no missing days (a lag counts rows)."""
    past = Window.partitionBy("region").orderBy("date")
    return days.withColumns({f"lag_{k}": F.lag("target_clean", k).over(past) for k in lags})


def add_rolling(days: DataFrame) -> DataFrame:
    """Add mean_7, mean_28 and sd_28 of target_clean over the days before; null until there are 2 days."""

    def before(length: int) -> WindowSpec:
        return Window.partitionBy("region").orderBy("date").rowsBetween(-length, -1)

    return days.withColumns(
        {
            "mean_7": F.avg("target_clean").over(before(7)),
            "mean_28": F.avg("target_clean").over(before(28)),
            "sd_28": F.stddev_samp("target_clean").over(before(28)),
        }
    )


def add_spatial_lags(days: DataFrame, edges: DataFrame) -> DataFrame:
    """Add spatial_lag_1 and spatial_mean_7: W times the neighbours' lag_1 and mean_7.

    Weights are scaled up where a neighbour has no value that day; an island has null.
    """
    there = days.select(F.col("region").alias("neighbour"), "date", "lag_1", "mean_7")
    weighted = F.broadcast(edges.select("region", "neighbour", "weight")).join(there, "neighbour")

    def mean(column: str) -> Column:
        weight = F.when(F.col(column).isNotNull(), F.col("weight"))
        return F.round(F.try_divide(F.sum(F.col(column) * F.col("weight")), F.sum(weight)), 6)

    spatial = weighted.groupBy("region", "date").agg(
        mean("lag_1").alias("spatial_lag_1"), mean("mean_7").alias("spatial_mean_7")
    )
    return days.join(spatial, ["region", "date"], "left")
