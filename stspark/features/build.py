"""The features job's tables in the order in which they depend on each other."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stspark import calendar as days_known
from stspark import cells, edges
from stspark.columns import tuples
from stspark.errors import InputError
from stspark.features import covariates, learning, panel, stray
from stspark.features.clean import Rules
from stspark.ingest.files import read_header
from stspark.settings import Settings
from stspark.space import complete, read_regions, require_announced


def totals(rows: DataFrame, settings: Settings) -> DataFrame:
    """Daily totals of cleaned rows: those of events, or the panel's own target."""
    if settings.source.kind == "events":
        return panel.daily_totals(rows, settings.target)
    return rows.select("region", "date", "target")


def data_span(daily: DataFrame, settings: Settings) -> tuple[tuple[date, date], list[date]]:
    """First and last day of the panel, and the days with data that stand astray before or after it.

    The edges are those that `time.start` and `time.end` say; where one is not set, that of the data without stray days.
    """
    days = daily.groupBy("date").agg(F.count("region").alias("regions")).toPandas().sort_values("date")
    if days.empty:
        raise InputError(
            settings.source.path,
            "no usable row is left after cleaning",
            "see the table events_rejected for the reasons",
        )
    inner = stray.without(days, at_start=settings.time.start is None, at_end=settings.time.end is None)
    first, last = inner["date"].iloc[0], inner["date"].iloc[-1]
    astray = [day for day in days["date"] if not first <= day <= last]
    first, last = max(settings.time.start or first, first), min(settings.time.end or last, last)
    if first > last:
        raise InputError("time.start, time.end", f"leave no day ({first} to {last})", "set them within the data")
    return (first, last), astray


def build_regions(daily: DataFrame, settings: Settings) -> pd.DataFrame:
    """The regions that have data or are announced, with their places, in spatial order."""
    found = daily.select("region").distinct().toPandas()
    configured = read_regions(settings.regions)
    require_announced(configured, settings.regions)
    if configured is None and settings.regions.cells is not None:
        return complete(cells.table(found["region"].sort_values()), settings.regions)
    if configured is None:
        return complete(found.sort_values("region"), settings.regions)
    wanted = configured["region"].isin({*found["region"], *settings.regions.opening})
    table = configured[wanted].sort_values("position", ignore_index=True)
    return table.assign(position=range(len(table)))


def build_edges(
    spark: SparkSession, regions: pd.DataFrame, daily: DataFrame, as_of: date, settings: Settings
) -> DataFrame:
    """The table region_edges; like histories are judged up to the first cutoff of a back-test from `as_of`."""
    like = None
    if settings.regions.weights.kind == "correlation":
        plan = settings.backtest
        judged = learning.cutoffs(as_of, plan, settings.time.horizon)[0]
        until = judged - timedelta(days=plan.step * plan.warm_up)
        like = edges.correlations(daily, settings.time.season, until).toPandas()
    made = edges.build_edges(regions, settings.regions, like)
    return spark.createDataFrame(
        tuples(made), "region string, neighbour string, distance_km double, hops int, weight double"
    )


def build_calendar(
    spark: SparkSession,
    regions: pd.DataFrame,
    panel_rows: DataFrame | None,
    span: tuple[date, date],
    settings: Settings,
) -> DataFrame:
    """region x date from the first day to two horizons after the last, with all that is known ahead."""
    first, last = span[0], span[1] + timedelta(days=2 * settings.time.horizon)
    placed = days_known.placed(regions)
    grid = days_known.region_dates(spark, placed, first, last)
    years = range(first.year, last.year + 2)  # a coming year's first holiday may be observed on this year's last day
    places = sorted(placed["place"].dropna().unique())
    rows = days_known.holiday_rows(places, years) if settings.calendar.holidays else []
    grid = days_known.add_holidays(grid, rows, on="place")
    columns = list(days_known.event_columns(settings.calendar))
    grid = days_known.add_shopping_events(grid, days_known.event_rows(settings.calendar, first, last), columns)
    grid = days_known.add_closures(grid, settings.closed, listed_closures(spark, settings))
    return covariates.add_known_future(grid, panel_rows, settings)


def listed_closures(spark: SparkSession, settings: Settings) -> DataFrame | None:
    """region (null = all), date from the configured file."""
    if settings.closed.file is None:
        return None
    read_header(Path(settings.closed.file), "UTF-8", ",")  # refuses an empty file
    raw = pd.read_csv(settings.closed.file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if missing := [c for c in ("region", "date") if c not in raw.columns]:
        raise InputError(settings.closed.file, f"has no column '{missing[0]}'", "its columns are region and date")
    day = pd.to_datetime(raw["date"], errors="coerce", format="%Y-%m-%d")
    if day.isna().any():
        raise InputError(
            f"{settings.closed.file}: date", f"'{raw['date'][day.isna()].iloc[0]}' is no day", "write YYYY-MM-DD"
        )
    rows = [(r if isinstance(r, str) and r else None, d.date()) for r, d in zip(raw["region"], day, strict=True)]
    return spark.createDataFrame(rows, "region string, date date")


def clean_days(daily: DataFrame, calendar: DataFrame, span: tuple[date, date], settings: Settings) -> DataFrame:
    """Every region's days with status, target and target_clean.

    daily has region, date, target and, for events, orders, users, views, units and price.
    """
    events = settings.source.kind == "events"
    closed_without = settings.closed.days_without_events
    days = panel.complete_days(daily, calendar, *span)
    days = panel.add_status(days, absent_is_zero=events, days_without_events_closed=closed_without)
    rules = Rules(
        settings.panel,
        settings.time.season,
        settings.target.non_negative,
        settings.closed.learned_weekdays and not events,
    )
    return panel.add_target_clean(days, rules)
