"""Covariates: from files by region and date, joined to the calendar (known ahead) or to the days (past only)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.errors import InputError
from stspark.ingest.files import read_header, require_columns
from stspark.settings import Covariate, Settings


def read_covariate(days: DataFrame, covariate: Covariate, settings: Settings) -> DataFrame:
    """region, date and the covariate (double) from its file, to be joined to `days`.

    Of two values for a region and day the larger. InputError for a text value, a bad date, or where `days` has none of
    the file's regions.
    """
    spark = days.sparkSession
    if covariate.file is None:
        raise InputError(
            f"covariates: '{covariate.name}'",
            "is not in the table panel, which was ingested without it",
            f"remove {settings.home} and run again, or give the covariate a file",
        )
    path = Path(covariate.file)
    source = settings.source
    header = read_header(path, source.encoding, source.separator)
    theirs = {ours: ours if ours in header else source.columns.get(ours, ours) for ours in ("region", "date")}
    theirs["value"] = covariate.column or covariate.name
    require_columns(path, header, theirs.values())
    raw = spark.read.csv(path.absolute().as_uri(), header=True, encoding=source.encoding, sep=source.separator)
    text = raw.select(*(F.trim(F.col(f"`{c}`")).alias(ours) for ours, c in theirs.items()))
    typed = text.select(
        "region",
        F.col("date").try_cast("date").alias("date"),
        F.col("value").try_cast("double").alias(covariate.name),
        F.struct("region", "date", "value").cast("string").alias("_shown"),
        (F.nullif("value", F.lit("")).isNotNull()).alias("_given"),
    )
    bad = typed.where(f"date is null or (_given and (`{covariate.name}` is null or isnan(`{covariate.name}`)))").first()
    if bad is not None:
        raise InputError(
            f"{path}: {theirs['value']}", f"row {bad['_shown']} does not hold a date and a number", "mend the row"
        )
    values = typed.where("_given").groupBy("region", "date").agg(F.max(covariate.name).alias(covariate.name))
    any_row = values.first()
    if any_row is not None and values.join(days.select("region").distinct(), "region", "left_semi").first() is None:
        what = f"'{any_row['region']}' is no region of the data, nor is any other here"
        raise InputError(f"{path}: {theirs['region']}", what, "write the regions as the data do")
    return values


def from_panel(panel: DataFrame, covariates: Sequence[Covariate]) -> DataFrame:
    """region, date and those covariates that the panel itself brings."""
    return panel.select("region", "date", *(c.name for c in covariates if c.name in panel.columns))


def add_known_future(calendar: DataFrame, panel: DataFrame | None, settings: Settings) -> DataFrame:
    """Add each known-future covariate to the calendar: the panel's value, else the file's, else its fill."""
    wanted = settings.known_future
    if panel is not None:
        given = from_panel(panel, wanted)
        calendar = calendar.join(given, ["region", "date"], "left")
    for covariate in wanted:
        parts = [F.col(covariate.name)] if covariate.name in calendar.columns else []
        if covariate.file is not None or not parts:
            file = read_covariate(calendar, covariate, settings).withColumnRenamed(covariate.name, "_file_value")
            calendar = calendar.join(F.broadcast(file), ["region", "date"], "left")
            parts.append(F.col("_file_value"))
        fill = F.lit(covariate.fill).cast("double")
        calendar = calendar.withColumn(covariate.name, F.coalesce(*parts, fill)).drop("_file_value")
    needed = [c.name for c in wanted if c.fill is None]
    require_values(calendar, needed, settings.time.horizon, settings.regions.opening)
    return calendar


def require_values(calendar: DataFrame, names: Sequence[str], horizon: int, opening: Sequence[str] = ()) -> None:
    """InputError where one of these covariates lacks a value up to a horizon before the calendar's end.

    The calendar goes on for two horizons after the data; the second one matters to late as-of days only. Regions that
    are `opening` need values for the first of the two only: they may have no past.
    """
    if not names:
        return
    end = calendar.agg(F.date_sub(F.max("date"), horizon).alias("_end"))
    asked = ~F.col("region").isin(list(opening)) | (F.col("date") > F.date_sub("_end", horizon))
    gaps = calendar.join(F.broadcast(end)).where((F.col("date") <= F.col("_end")) & asked)
    for name in names:
        gap = gaps.where(F.col(name).isNull()).orderBy("date", "region").first()
        if gap is not None:
            raise InputError(
                f"covariates: '{name}'",
                f"has no value for region {gap['region']} on {gap['date']}",
                "give it in the panel or the covariate's file, or set `fill` to the value that stands for none",
            )


def add_past_only(days: DataFrame, panel: DataFrame | None, settings: Settings) -> DataFrame:
    """Add each past-only covariate to the days: null where it was not known."""
    wanted = settings.past_only
    if panel is not None:
        days = days.join(from_panel(panel, wanted), ["region", "date"], "left")
    for covariate in wanted:
        if covariate.name not in days.columns:
            days = days.join(read_covariate(days, covariate, settings), ["region", "date"], "left")
    return days
