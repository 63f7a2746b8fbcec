"""Events or panel rows to a gapless region-by-day frame with target, status and target_clean."""

from __future__ import annotations

import functools
from datetime import date

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from stspark.columns import schema_of
from stspark.features import distinct
from stspark.features.clean import Rules, clean
from stspark.names import CLOSED, MISSING, OBSERVED
from stspark.session import slots
from stspark.settings import Target

EXCEPTED = "_excepted"


def daily_totals(events: DataFrame, target: Target) -> DataFrame:
    """region, date, target, orders, users, views, units, price from events.

    Units and amount count only the configured event types; users count every event.
    Orders are distinct order ids of type `order`, and rows of it without one. Sums are rounded to millionths, so
    that the order in which tasks add up does not show.
    """
    counted = F.col("event_type").isin(list(target.event_types))
    bought = F.col("event_type") == "order"
    paid = F.when(bought, F.col("amount"))
    ids = {"named_orders": F.when(bought, F.col("order_id")), "users": F.col("user_id")}
    counts = distinct.count_distinct_ids(events, ("region", "date"), ids)
    sums = events.groupBy("region", "date").agg(
        F.count_if(F.col("event_type") == "view").alias("views"),
        F.round(F.coalesce(F.sum(F.when(counted, F.col("quantity"))), F.lit(0.0)), 6).alias("units"),
        F.round(F.coalesce(F.sum(F.when(counted, F.col("amount"))), F.lit(0.0)), 6).alias("amount"),
        F.count_if(counted).alias("events"),
        F.count_if(bought & F.col("order_id").isNull()).alias("nameless_orders"),
        F.round(F.try_divide(F.sum(paid), F.sum(F.when(paid.isNotNull(), F.col("quantity")))), 6).alias("price"),
    )
    daily = sums.withColumn(distinct.GROUP, distinct.group_of(("region", "date"))).join(counts, distinct.GROUP)
    orders = F.col("named_orders") + F.col("nameless_orders")
    return daily.withColumn("orders", orders).select(
        "region", "date", "orders", "users", "views", "units", "price",
        F.col(target.measure).cast("double").alias("target"),
    )  # fmt: skip


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

    Each region's days go through one task as a whole, and lie together in one partition afterwards.
    """
    tasks = slots(days.sparkSession)  # few bytes, much work: one task is not enough
    events = [F.col(c) > 0 for c in days.columns if c == "holiday" or c.startswith("event_")]
    excepted = functools.reduce(Column.__or__, events) if events else F.lit(False)
    marked = days.withColumn(EXCEPTED, F.coalesce(excepted, F.lit(False))).repartition(tasks, "region")
    schema = StructType([*days.schema, *schema_of([("target_clean", "double"), ("is_outlier", "boolean")])])
    chosen = rules or Rules()
    cleaned = marked.groupBy("region").applyInArrow(lambda days: _clean_region(days, chosen), schema)
    return cleaned.repartition(tasks, "region")


def _clean_region(days: pa.Table, rules: Rules) -> pa.Table:
    rows = days.sort_by("date")
    target = rows["target"].to_numpy().astype(float)
    status, excepted = rows["status"].to_numpy().astype(object), rows[EXCEPTED].to_numpy()
    found = clean(target, status, excepted, rules)
    rows = rows.set_column(rows.column_names.index("status"), "status", pa.array(found.status, pa.string()))
    rows = rows.append_column("target_clean", pa.array(found.target_clean, from_pandas=True))
    return rows.append_column("is_outlier", pa.array(found.is_outlier)).drop_columns([EXCEPTED])
