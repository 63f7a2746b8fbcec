"""What is known ahead of every region's day: public holidays, shopping events, closures."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import holidays
import pandas as pd
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from stspark import lunar
from stspark.columns import schema_of, tuples
from stspark.errors import ConfigError, InputError, nearest
from stspark.settings import Calendar, Closed

log = logging.getLogger("stspark")

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class ShoppingEvent:
    """One occurrence of a shopping event; no countries means everywhere."""

    slug: str
    name: str
    day: date
    days_before: int
    days_after: int
    countries: tuple[str, ...]


def shopping_events(calendar: Calendar) -> list[ShoppingEvent]:
    """The configured file's events and the lunar festivals; InputError or ConfigError naming row and column."""
    path = calendar.shopping_events
    if path is None:
        return lunar_events(calendar)
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"event", "date"} - set(reader.fieldnames or ())
        if missing:
            raise InputError(
                path,
                f"has no column '{sorted(missing)[0]}'",
                "its columns are event, date, days_before, days_after, countries",
            )
        events = [_event(path, reader.line_num, row) for row in reader]
    known = {e.slug for e in events}
    for slug in calendar.events or ():
        if slug not in known:
            raise ConfigError(f"calendar.events: {slug}", f"is not in {path}", f"nearest is '{nearest(slug, known)}'")
    moving = lunar_events(calendar)
    computed = {e.slug for e in moving}  # a festival that is computed is not taken from the file as well
    wanted = [e for e in events if (calendar.events is None or e.slug in calendar.events) and e.slug not in computed]
    return wanted + moving


def lunar_events(calendar: Calendar) -> list[ShoppingEvent]:
    """The configured festivals of every year."""
    return [
        ShoppingEvent(
            chosen.festival,
            chosen.festival.replace("_", " "),
            day,
            chosen.days_before,
            chosen.days_after,
            chosen.countries,
        )
        for chosen in calendar.lunar
        for day in lunar.days(chosen.festival)
    ]


def _event(path: str, line: int, row: dict[str, str | None]) -> ShoppingEvent:
    name, day = (row.get("event") or "").strip(), (row.get("date") or "").strip()
    try:
        if not name:
            raise ValueError("the event has no name")
        return ShoppingEvent(
            slug=re.sub(r"\W+", "_", name.lower()).strip("_"),
            name=name,
            day=date.fromisoformat(day),
            days_before=int(row.get("days_before") or 0),
            days_after=int(row.get("days_after") or 0),
            countries=tuple((row.get("countries") or "").split()),
        )
    except ValueError as error:
        raise InputError(
            f"{path}: line {line}", str(error), "write a name, dates as YYYY-MM-DD and days as whole numbers"
        ) from error


def event_columns(calendar: Calendar) -> dict[str, str]:
    """Column name -> comment of each shopping event: its day with the run-up, and the days after."""
    columns: dict[str, str] = {}
    for event in shopping_events(calendar):
        columns[f"event_{event.slug}"] = f"{event.name}: 1 on the day, rising from 0 over the days before (known ahead)"
        if event.days_after:
            columns[f"event_{event.slug}_after"] = (
                f"{event.name}: falling from 1 to 0 over the days after (known ahead)"
            )
    return columns


def event_rows(calendar: Calendar, first: date, last: date) -> dict[tuple[str, date], dict[str, float]]:
    """(country or "", date) -> column -> value in 0..1, for days that events touch between `first` and `last`."""
    rows: dict[tuple[str, date], dict[str, float]] = {}
    for event in shopping_events(calendar):
        for offset in range(-event.days_before, event.days_after + 1):
            day = event.day + timedelta(days=offset)
            if not first <= day <= last:
                continue
            span = event.days_before + 1 if offset <= 0 else event.days_after + 1
            column = f"event_{event.slug}" + ("_after" if offset > 0 else "")
            for country in event.countries or ("",):
                values = rows.setdefault((country, day), {})
                values[column] = max(values.get(column, 0.0), 1.0 - abs(offset) / span)
    return rows


def holiday_rows(places: Sequence[str], years: Sequence[int]) -> list[tuple[str, date, str]]:
    """(place, date, name) of public holidays, from the `holidays` package (offline tables).

    place: a country (BR) or a country and its subdivision (BR-SP), whose own holidays are then among them.
    """
    supported, rows = holidays.list_supported_countries(), []
    for place in places:
        country, _, part = place.partition("-")
        if country not in supported:
            near = nearest(country, supported)
            hint = f"; nearest is '{near}'" if near else ""
            log.warning("calendar: no public holidays are known for country '%s'%s", country, hint)
            continue
        if part and part not in supported[country]:
            near = nearest(part, supported[country])
            fix = f"nearest is '{near}'" if near else f"known are {', '.join(supported[country][:8]) or 'none'}"
            raise InputError(f"regions: subdivision '{part}' of {country}", "has no holidays of its own", fix)
        found = holidays.country_holidays(country, subdiv=part or None, years=list(years))
        rows += [(place, day, name) for day, name in sorted(found.items())]
    return rows


def placed(regions: pd.DataFrame) -> pd.DataFrame:
    """region, country and place: country-subdivision, or the country alone; null where none is known."""
    whole = regions["country"].astype("object").str.cat(regions["subdivision"].astype("object"), sep="-")
    return regions[["region", "country"]].assign(place=whole.where(whole.notna(), regions["country"]))


def region_dates(spark: SparkSession, placed: pd.DataFrame, first: date, last: date) -> DataFrame:
    """region, country, place and date for every day from `first` to `last`."""
    days = spark.range((last - first).days + 1).select(F.date_add(F.lit(first), F.col("id").cast("int")).alias("date"))
    regions = spark.createDataFrame(tuples(placed), "region string, country string, place string")
    return regions.crossJoin(F.broadcast(days))


def add_holidays(grid: DataFrame, rows: Sequence[tuple[str, date, str]], on: str = "country") -> DataFrame:
    """Add holiday (1.0 or 0.0) and holiday_name by place (the column `on`) and date."""
    known = grid.sparkSession.createDataFrame(list(rows), f"`{on}` string, date date, holiday_name string")
    return grid.join(F.broadcast(known), [on, "date"], "left").withColumn(
        "holiday", F.col("holiday_name").isNotNull().cast("double")
    )


def add_shopping_events(
    grid: DataFrame, rows: dict[tuple[str, date], dict[str, float]], columns: Sequence[str]
) -> DataFrame:
    """Add one column per event: its value for the region's country or for all, the larger of both, else 0."""
    if not columns:
        return grid
    for everywhere, suffix in ((False, "__here"), (True, "__all")):
        named = [f"{c}{suffix}" for c in columns]
        found = [
            (*key, *(values.get(c) for c in columns)) for key, values in rows.items() if (key[0] == "") == everywhere
        ]
        schema = schema_of([("country", "string"), ("date", "date"), *((c, "double") for c in named)])
        side = grid.sparkSession.createDataFrame(found, schema)
        keys = ["date"] if everywhere else ["country", "date"]
        grid = grid.join(F.broadcast(side.select(*keys, *named)), keys, "left")
    largest = {c: F.coalesce(F.greatest(f"{c}__here", f"{c}__all"), F.lit(0.0)) for c in columns}
    return grid.withColumns(largest).drop(*(f"{c}{suffix}" for c in columns for suffix in ("__here", "__all")))


def add_closures(grid: DataFrame, closed: Closed, listed: DataFrame | None) -> DataFrame:
    """Add is_closed: by weekday, by date, or by a list of (region or null for all, date)."""
    rule: Column = F.lit(False)
    if closed.weekdays:
        rule = rule | F.weekday("date").isin([WEEKDAYS.index(d) for d in closed.weekdays])
    if closed.dates:
        rule = rule | F.col("date").isin(list(closed.dates))
    if listed is None:
        return grid.withColumn("is_closed", rule)
    one = listed.where("region is not null").select("region", "date", F.lit(True).alias("closed_here")).distinct()
    every = listed.where("region is null").select("date", F.lit(True).alias("closed_all")).distinct()
    flagged = grid.join(F.broadcast(one), ["region", "date"], "left").join(F.broadcast(every), ["date"], "left")
    found = F.coalesce("closed_here", F.lit(False)) | F.coalesce("closed_all", F.lit(False))
    return flagged.withColumn("is_closed", rule | found).drop("closed_here", "closed_all")
