"""Error and coverage of forecasts, textbook definitions, as Spark aggregates over long rows.

Sources: Hyndman & Koehler 2006 (MAE, MASE), Kolassa & Schütz 2007 (WAPE, as MAD/mean), Gneiting & Raftery 2007
(pinball loss, coverage). Only days that were observed count.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stspark.names import ALL_REGIONS, CHAMPION, quantile_column


def metric_columns(quantiles: Sequence[float]) -> dict[str, Column]:
    """Metric name -> aggregate over rows with y, y_hat, scale and quantile columns.

    scale: the seasonal naive's mean absolute error on the training days of the row's region and cutoff (for MASE).
    """
    y, y_hat = F.col("y"), F.col("y_hat")
    error = F.abs(y - y_hat)
    losses = [pinball(y, F.col(quantile_column(q)), q) for q in quantiles]
    metrics = {
        "mae": F.avg(error),
        "rmse": F.sqrt(F.avg((y - y_hat) * (y - y_hat))),
        "wape": F.try_divide(F.sum(error), F.sum(F.abs(y))),
        "bias": F.try_divide(F.sum(y_hat - y), F.sum(F.abs(y))),
        "mase": F.avg(F.try_divide(error, F.when(F.col("scale") > 0, F.col("scale")))),
        "pinball": F.avg(reduce(lambda a, b: a + b, losses) / F.lit(float(len(losses)))),
    }
    for low, high in central_intervals(quantiles):
        lower, upper = F.col(quantile_column(low)), F.col(quantile_column(high))
        level = round(100 * (high - low))
        metrics[f"coverage_{level}"] = F.avg(((y >= lower) & (y <= upper)).cast("double"))
        metrics[f"width_{level}"] = F.avg(upper - lower)
    return metrics


def central_intervals(quantiles: Sequence[float]) -> list[tuple[float, float]]:
    """Pairs of quantiles that enclose a central interval: (0.1, 0.9), (0.2, 0.8) …"""
    return [(q, p) for q in quantiles for p in quantiles if q < 0.5 and abs(q + p - 1) < 1e-9]


def pinball(y: Column, quantile: Column, q: float) -> Column:
    """Pinball loss of one quantile: q·(y − z) where y is above z, (1 − q)·(z − y) below (not doubled)."""
    return F.greatest(q * (y - quantile), (q - 1) * (y - quantile))


def naive_scale(region_day: DataFrame, cutoffs: DataFrame, season: int) -> DataFrame:
    """region, cutoff, scale: mean |y_t − y_(t−season)| over observed training days up to each cutoff.

    cutoffs: one column `cutoff`, one row per cutoff.
    """
    observed = region_day.where("status = 'observed'").select("region", "date", "target")
    before = observed.select("region", F.date_add("date", season).alias("date"), F.col("target").alias("before"))
    changes = observed.join(before, ["region", "date"]).withColumn("change", F.abs(F.col("target") - F.col("before")))
    known = changes.join(F.broadcast(cutoffs), F.col("date") <= F.col("cutoff"))
    return known.groupBy("region", "cutoff").agg(F.avg("change").alias("scale"))


def measure(rows: DataFrame, quantiles: Sequence[float], run_id: str, source: str) -> DataFrame:
    """Long metrics by level (region, all), model and horizon (0 = the whole) of rows with actuals.

    rows: region, model, horizon, y, y_hat, quantile columns, scale.
    """
    known = rows.where("y is not null")
    metrics = metric_columns(quantiles)
    sets = known.groupingSets(
        [["region", "model", "horizon"], ["region", "model"], ["model", "horizon"], ["model"]],
        "region",
        "model",
        "horizon",
    )
    wide = sets.agg(
        F.grouping("region").alias("_all"), F.count("*").alias("n"), *(m.alias(k) for k, m in metrics.items())
    )
    long = wide.unpivot(["region", "model", "horizon", "_all", "n"], list(metrics), "metric", "value")
    return long.where("value is not null").select(
        F.lit(run_id).alias("run_id"),
        F.lit(source).alias("source"),
        F.when(F.col("_all") == 1, "all").otherwise("region").alias("level"),
        F.coalesce("region", F.lit(ALL_REGIONS)).alias("region"),
        "model",
        F.coalesce("horizon", F.lit(0)).alias("horizon"),
        "metric",
        "value",
        "n",
    )


def with_champion(rows: DataFrame, champions: DataFrame) -> DataFrame:
    """The rows, and again those of the champions (their columns are the keys) under the model name `champion`."""
    chosen = rows.join(F.broadcast(champions), champions.columns, "left_semi")
    return rows.unionByName(chosen.withColumn("model", F.lit(CHAMPION)))
