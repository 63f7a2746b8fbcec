"""Which days of region_day a change of some days' rows reaches, and the daily totals from which to build them anew."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.features.stray import GAP
from stspark.settings import Time

REACH: int | None = None
"""Days ahead on which a day's rows have influence through fills and features; None = on all."""


@dataclass(frozen=True)
class Window:
    """Days `first` to `last` are written; those from `context` on are needed for it. `end` is the panel's last day."""

    context: date
    first: date
    last: date
    end: date


@dataclass(frozen=True)
class Known:
    """region_day as it stands: each region's first day, the regions of `regions` that must have one, the last day."""

    starts: dict[str, date]
    regions: frozenset[str]
    last: date


def reached(
    touched: Sequence[date], rows: dict[str, set[date]], known: Known, time: Time, reach: int | None
) -> Window | None:
    """The days to build anew; None where only a full build can be right, for it would move where a region begins.

    touched: days whose rows changed; rows: for each region those of them on which it has rows now. reach: days ahead
    that a day's rows have influence on, None = all.
    """
    days = set(touched)
    inside = all((time.start or d) <= d <= (time.end or d) for d in days)
    known_regions = known.regions == set(known.starts) and set(rows) <= known.regions
    if not inside or not known_regions:
        return None
    for region, start in known.starts.items():
        there = rows.get(region, set())
        if (start in days and start not in there) or any(day < start for day in there):
            return None
    newest = max((day for there in rows.values() for day in there), default=date.min)
    if known.last in days and newest < known.last:
        return None
    if newest - known.last > GAP:
        return None  # perhaps astray: only all days together can tell
    end = max(known.last, newest)
    grown = [known.last + timedelta(days=1), end] if end > known.last else []
    changed = [day for day in days if day <= end] + grown
    if not changed:
        return None
    first, last = min(changed), max(changed)
    ahead = timedelta(days=reach) if reach is not None else end - min(known.starts.values())
    return Window(first - ahead, first, min(end, last + ahead), end)


def daily_around(window: Window, region_day: DataFrame, touched: Sequence[date], anew: DataFrame) -> DataFrame:
    """Daily totals of the window and its context: `anew` on the touched days, elsewhere those of region_day itself.

    A region that has no row on the first day has one without values there: it begins no later.
    """
    past = region_day.where((F.col("date") >= F.lit(window.context)) & (F.col("date") <= F.lit(window.last)))
    kept = past.where(~F.col("date").isin(list(touched)) & F.col("target").isNotNull())
    daily = kept.select(anew.columns).unionByName(anew.where(F.col("date") <= F.lit(window.last)))
    starts = past.groupBy("region").agg(F.min("date").alias("date"))
    return daily.unionByName(starts.join(daily, ["region", "date"], "left_anti"), allowMissingColumns=True)


def as_it_stands(region_day: DataFrame, regions: Collection[str], opening: Sequence[str] = ()) -> Known:
    """What region_day holds now, and the names of all regions; opening: regions that need no day yet."""
    spans = region_day.groupBy("region").agg(F.min("date").alias("first"), F.max("date").alias("last")).collect()
    starts = {row["region"]: row["first"] for row in spans}
    return Known(starts, frozenset(regions) - (set(opening) - set(starts)), max(row["last"] for row in spans))


def days_by_region(daily: DataFrame) -> dict[str, set[date]]:
    """Region -> its days."""
    found = daily.groupBy("region").agg(F.collect_set("date").alias("days")).collect()
    return {row["region"]: set(row["days"]) for row in found}
