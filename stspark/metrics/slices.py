"""Kinds of days and regions that errors are told apart by: weekday, event day, demand class, parent."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stspark.calendar import WEEKDAYS

EVENT, ORDINARY = "event", "ordinary"
"""Types of days: public holidays and the days of shopping events (more than half of the event's effect); all others."""
INTERVAL, SPREAD = 1.32, 0.49
"""Where demand turns intermittent (mean days between demands) and erratic (squared coefficient of variation):
Syntetos, Boylan & Croston 2005, JORS 56."""


def day_types(calendar: DataFrame) -> DataFrame:
    """region, date, day_type of every day that the calendar knows."""
    flags = [F.col("holiday_name").isNotNull()] if "holiday_name" in calendar.columns else []
    flags += [F.col(f"`{c}`") > 0.5 for c in calendar.columns if c.startswith("event_") and not c.endswith("_after")]
    special: Column = reduce(lambda a, b: a | b, flags, F.lit(False))
    return calendar.select("region", "date", F.when(special, EVENT).otherwise(ORDINARY).alias("day_type"))


def weekday(date: Column) -> Column:
    """mon … sun."""
    return F.element_at(F.array(*map(F.lit, WEEKDAYS)), F.weekday(date) + 1)


def demand_classes(region_day: DataFrame) -> DataFrame:
    """region, demand: smooth, erratic, intermittent or lumpy, of the observed days; none = no demand at all.

    By the mean interval between days with demand and the squared coefficient of variation of their demand
    (Syntetos, Boylan & Croston 2005).
    """
    days = region_day.where("status = 'observed'").groupBy("region")
    demand = F.when(F.col("target") != 0, F.col("target"))
    facts = days.agg(
        F.try_divide(F.count("*"), F.count(demand)).alias("interval"),
        F.try_divide(F.var_pop(demand), F.avg(demand) * F.avg(demand)).alias("spread"),
    )
    rare, wild = F.col("interval") >= INTERVAL, F.col("spread") >= SPREAD
    named = (
        F.when(F.col("interval").isNull(), "none")
        .when(rare & wild, "lumpy")
        .when(rare, "intermittent")
        .when(wild, "erratic")
        .otherwise("smooth")
    )
    return facts.select("region", named.alias("demand"))
