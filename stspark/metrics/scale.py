"""The yardstick of scaled errors: the seasonal naive's error on the days before a cutoff."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def naive_scale(region_day: DataFrame, cutoffs: DataFrame, season: int) -> DataFrame:
    """region, cutoff, scale, scale_squared: means of |y_t − y_(t−season)| and of its square up to each cutoff.

    Only pairs of observed days count. cutoffs: one column `cutoff`, one row per cutoff. (Hyndman & Koehler 2006)
    """
    observed = region_day.where("status = 'observed'").select("region", "date", "target")
    before = observed.select("region", F.date_add("date", season).alias("date"), F.col("target").alias("before"))
    changes = observed.join(before, ["region", "date"]).withColumn("change", F.abs(F.col("target") - F.col("before")))
    known = changes.join(F.broadcast(cutoffs), F.col("date") <= F.col("cutoff"))
    return known.groupBy("region", "cutoff").agg(
        F.avg("change").alias("scale"), F.avg(F.col("change") * F.col("change")).alias("scale_squared")
    )
