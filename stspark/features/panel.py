"""Events or panel rows to a gapless region-by-day frame with target, status and target_clean."""

from __future__ import annotations

import functools
from datetime import date

import pandas as pd
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stspark.columns import schema_of
from stspark.features.clean import Rules, clean
from stspark.names import CLOSED, MISSING, OBSERVED
from stspark.settings import Target


def daily_totals(events: DataFrame, target: Target) -> DataFrame:
    """region, date, target, orders, users, views, units, price from events.

    Units and amount count only the configured event types; users count every event.
    Orders are distinct order ids of type `order` (rows, where there are no ids). Sums are rounded to millionths, so
    that the order in which tasks add up does not show.
    """
    counted = F.col("event_type").isin(list(target.event_types))
    bought = F.col("event_type") == "order"
    order_id, paid = F.coalesce("order_id", "event_id"), F.when(bought, F.col("amount"))
    daily = events.groupBy("region", "date").agg(
        F.count_distinct(F.when(bought, order_id)).alias("orders"),
        F.count_distinct("user_id").alias("users"),
        F.count_if(F.col("event_type") == "view").alias("views"),
        F.round(F.coalesce(F.sum(F.when(counted, F.col("quantity"))), F.lit(0.0)), 6).alias("units"),
        F.round(F.coalesce(F.sum(F.when(counted, F.col("amount"))), F.lit(0.0)), 6).alias("amount"),
        F.count_if(counted).alias("events"),
        F.round(F.try_divide(F.sum(paid), F.sum(F.when(paid.isNotNull(), F.col("quantity")))), 6).alias("price"),
    )
    return daily.withColumn("target", F.col(target.measure).cast("double")).drop("amount", "events")


def first_days(daily: DataFrame, last: date) -> DataFrame:
    """region and its first day; every region is followed up to `last`."""
    return daily.where(F.col("date") <= F.lit(last)).groupBy("region").agg(F.min("date").alias("first_date"))


def complete_days(daily: DataFrame, calendar: DataFrame, first: date, last: date) -> DataFrame:
    """Every region and day from the region's first to `last`, with the calendar's columns; absent days are null."""
    spans = first_days(daily.where(F.col("date") >= F.lit(first)), last)
    grid = calendar.where(F.col("date") <= F.lit(last)).join(F.broadcast(spans), "region")
    grid = grid.where(F.col("date") >= F.col("first_date")).drop("first_date")
    return grid.join(daily, ["region", "date"], "left")


def add_status(days: DataFrame, *, absent_is_zero: bool, days_without_events_closed: bool) -> DataFrame:
    """Add status, and put the target right where it follows from the status.

    absent_is_zero: no rows on an open day means zero demand (events), else not known (panel).
    days_without_events_closed: a day on which no region has rows was closed. Closed and missing days have no target;
    a day that was to be closed but has a target was open after all.
    """
    nobody = F.lit(False)
    if days_without_events_closed:
        nobody = F.count("target").over(Window.partitionBy("date")) == 0
    absent = F.col("target").isNull()
    status: Column = (
        F.when(~absent, OBSERVED)
        .when(F.col("is_closed") | nobody, CLOSED)
        .otherwise(OBSERVED if absent_is_zero else MISSING)
    )
    days = days.withColumn("status", status)
    observed = F.col("status") == OBSERVED
    zero_when_absent = {
        c: F.when(observed, F.coalesce(F.col(c), F.lit(0))) for c in ("orders", "users", "views", "units")
    }
    filled = {"target": F.when(observed, F.coalesce("target", F.lit(0.0)))}
    return days.withColumns(filled | (zero_when_absent if absent_is_zero else {}))


def add_target_clean(days: DataFrame, rules: Rules | None = None) -> DataFrame:
    """Add target_clean and is_outlier, and mark missing days that could be filled as imputed (see features.clean).

    Each region's days go through one task as a whole; of the columns only those that are needed travel.
    """
    events = [F.col(c) > 0 for c in days.columns if c == "holiday" or c.startswith("event_")]
    excepted = functools.reduce(Column.__or__, events) if events else F.lit(False)
    slim = days.select("region", "date", "target", "status", excepted.alias("excepted"))
    schema = schema_of([("region", "string"), ("date", "date"), ("status", "string"), ("target_clean", "double"),
                        ("is_outlier", "boolean")])  # fmt: skip
    chosen = rules or Rules()
    made = slim.groupBy("region").applyInPandas(lambda days: _clean_region(days, chosen), schema)
    return days.drop("status").join(made, ["region", "date"])


def _clean_region(rows: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    rows = rows.sort_values("date", ignore_index=True)
    target, excepted = rows["target"].to_numpy(dtype=float), rows["excepted"].to_numpy(dtype=bool)
    found = clean(target, rows["status"].to_numpy(dtype=object), excepted, rules)
    return rows[["region", "date"]].assign(
        status=found.status, target_clean=found.target_clean, is_outlier=found.is_outlier
    )
