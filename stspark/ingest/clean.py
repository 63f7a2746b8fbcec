"""Raw text rows to typed rows, each with the reason for which it is not used, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stspark.ingest.files import SQL
from stspark.ingest.read import CORRUPT, FILE, ROW_HASH
from stspark.settings import Rule

REASON, AT_FAULT, DUPLICATE = "_reason", "_column", "_duplicate"
"""Reason code and our column at fault (null = the row is used); true for an exact repeat."""


def map_columns(raw: DataFrame, columns: Mapping[str, str]) -> DataFrame:
    """Add our columns as trimmed text, empty as null; `sql:` entries are expressions over theirs."""
    def value(theirs: str) -> Column:
        found = F.expr(theirs[len(SQL):]) if theirs.startswith(SQL) else F.col(f"`{theirs}`")
        return F.nullif(F.trim(found.cast("string")), F.lit(""))

    travelling = [c for c in raw.columns if c.startswith("_")]
    return raw.select(*travelling, *(value(theirs).alias(ours) for ours, theirs in columns.items()))


def start_reasons(frame: DataFrame) -> DataFrame:
    """Add REASON and AT_FAULT: `malformed_row` where a line had too few or too many fields."""
    return frame.withColumns(
        {REASON: F.when(F.col(CORRUPT).isNotNull(), "malformed_row"), AT_FAULT: F.lit(None).cast("string")}
    )


def reject(frame: DataFrame, column: str, reason: str, bad: Column) -> DataFrame:
    """Give the rows where `bad` holds this reason, unless they have one already."""
    now = F.col(REASON).isNull() & F.coalesce(bad, F.lit(False))
    return frame.withColumns(
        {REASON: F.when(now, reason).otherwise(F.col(REASON)), AT_FAULT: F.when(now, column).otherwise(F.col(AT_FAULT))}
    )


def require(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Reject rows without a value in one of these columns as `missing_value`."""
    for column in columns:
        frame = reject(frame, column, "missing_value", F.col(column).isNull())
    return frame


def parse_numbers(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Cast to double; text, NaN and infinity are `bad_number`."""
    for column in columns:
        text = F.col(column)
        number = text.try_cast("double")
        bad = text.isNotNull() & (number.isNull() | F.isnan(number) | (F.abs(number) == float("inf")))
        frame = reject(frame, column, "bad_number", bad).withColumn(column, number)
    return frame


def parse_times(frame: DataFrame, column: str, timezone: str) -> DataFrame:
    """Parse instants: with an offset of their own, else in `timezone`; anything else is `bad_time`."""
    text = F.col(column)
    instant = text.try_cast("timestamp")
    has_offset = text.rlike(r"(?i)(z|utc|[+-]\d{2}:?\d{2})$") & text.rlike(":")
    utc = instant if timezone == "UTC" else F.when(has_offset, instant).otherwise(F.to_utc_timestamp(instant, timezone))
    whole = text.rlike(r"^\d{4}-\d{1,2}-\d{1,2}")
    return reject(frame, column, "bad_time", text.isNotNull() & (instant.isNull() | ~whole)).withColumn(column, utc)


def parse_dates(frame: DataFrame, column: str) -> DataFrame:
    """Parse days written YYYY-MM-DD; anything else is `bad_time`."""
    text = F.col(column)
    day = F.when(text.rlike(r"^\d{4}-\d{1,2}-\d{1,2}"), text.try_cast("date"))
    return reject(frame, column, "bad_time", text.isNotNull() & day.isNull()).withColumn(column, day)


def apply_rules(frame: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """Reject rows for which a rule's condition is not true; a rule that is null for a row fails it."""
    for rule in rules:
        frame = reject(frame, rule.column, rule.name, ~F.coalesce(F.expr(rule.keep).cast("boolean"), F.lit(False)))
    return frame


def mark_duplicates(frame: DataFrame, keys: Sequence[str], reason: str) -> DataFrame:
    """Among usable rows of equal key keep the first (by file): exact repeats are duplicates, others rejected."""
    order = Window.partitionBy(F.col(REASON).isNull(), *keys).orderBy(FILE, ROW_HASH)
    first_hash, place = F.first(ROW_HASH).over(order), F.row_number().over(order)
    marked = frame.withColumns({"_place": place, "_first": first_hash})
    repeat = F.col(REASON).isNull() & (F.col("_place") > 1)
    same = F.col(ROW_HASH) == F.col("_first")
    marked = marked.withColumn(DUPLICATE, repeat & same)
    return reject(marked, keys[0], reason, repeat & ~same).drop("_place", "_first")
