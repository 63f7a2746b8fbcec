"""Raw text rows to typed rows, each with the reason for which it is not used, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stspark.columns import quoted
from stspark.ingest.files import SQL
from stspark.ingest.formats import CORRUPT, FILE, RAW, ROW_HASH
from stspark.settings import Rule

REASON, AT_FAULT, DUPLICATE = "_reason", "_column", "_duplicate"
"""Reason code and our column at fault (null = the row is used); true for an exact repeat."""

INGEST = "_ingest"
"""The ingest of the row's file: its content under these rules."""

USABLE, FIRST_IN = "_usable", "_first_in"
"""Whether the row passed all checks of its own; for such a row the file of the row of its key that is kept."""

TRAVELLING = (FILE, RAW, CORRUPT, ROW_HASH)
UNDECODED = "\ufffd"
"""What bytes that are not of the source's encoding become."""


@dataclass(frozen=True)
class Check:
    """A row for which `bad` is true is rejected with this reason, `column` being at fault."""

    column: str
    reason: str
    bad: Column


def text_of(column: str) -> str:
    """Name of the column that keeps a parsed column's text."""
    return f"_text_{column}"


def map_columns(raw: DataFrame, columns: Mapping[str, str]) -> DataFrame:
    """Our columns as trimmed text, empty as null; `sql:` entries are expressions over theirs."""

    def value(theirs: str) -> Column:
        found = F.expr(theirs[len(SQL) :]) if theirs.startswith(SQL) else F.col(quoted(theirs))
        return F.nullif(F.trim(found.cast("string")), F.lit(""))

    return raw.select(*TRAVELLING, *(value(theirs).alias(ours) for ours, theirs in columns.items()))


def malformed() -> Check:
    """A line with too few or too many fields."""
    return Check("", "malformed_row", F.col(CORRUPT).isNotNull())


def undecoded(columns: Sequence[str]) -> list[Check]:
    """Text in another encoding than the source's is not guessed at."""
    return [Check(c, "bad_encoding", F.contains(F.col(c), F.lit(UNDECODED))) for c in columns]


def required(columns: Sequence[str]) -> list[Check]:
    """A value is needed in each of these text columns."""
    return [Check(c.removeprefix(text_of("")), "missing_value", F.col(c).isNull()) for c in columns]


def parse_numbers(frame: DataFrame, columns: Sequence[str]) -> tuple[DataFrame, list[Check]]:
    """Cast to double; text, NaN, infinity and what only Java takes for a number (1d, 2F, 0x1p3) are `bad_number`."""
    checks = []
    for column in columns:
        number, text = F.col(column), F.col(text_of(column))
        unusable = number.isNull() | F.isnan(number) | (F.abs(number) == float("inf"))
        checks.append(Check(column, "bad_number", text.isNotNull() & (unusable | text.rlike("[dDfFxX]"))))
    parsed = {text_of(c): F.col(c) for c in columns} | {c: F.col(c).try_cast("double") for c in columns}
    return frame.withColumns(parsed), checks


def parse_times(frame: DataFrame, column: str, timezone: str) -> tuple[DataFrame, list[Check]]:
    """Parse instants: with an offset or zone of their own, else in `timezone`; anything else is `bad_time`."""
    text = F.col(column)
    instant = text.try_cast("timestamp")
    has_offset = text.rlike(r"(?i):\d{2}.*([a-z]|[+-]\d)")  # Z, +01:00, EST, Europe/London: what the cast has used
    utc = F.when(has_offset, instant).otherwise(F.to_utc_timestamp(instant, timezone))
    whole = F.when(text.rlike(r"^\d{4}-\d{1,2}-\d{1,2}"), instant if timezone == "UTC" else utc)
    bad = F.col(text_of(column)).isNotNull() & F.col(column).isNull()
    return frame.withColumns({text_of(column): text, column: whole}), [Check(column, "bad_time", bad)]


def parse_dates(frame: DataFrame, column: str) -> tuple[DataFrame, list[Check]]:
    """Parse days written YYYY-MM-DD; anything else is `bad_time`."""
    text = F.col(column)
    day = F.when(text.rlike(r"^\d{4}-\d{1,2}-\d{1,2}"), text.try_cast("date"))
    bad = F.col(text_of(column)).isNotNull() & F.col(column).isNull()
    return frame.withColumns({text_of(column): text, column: day}), [Check(column, "bad_time", bad)]


def rule_checks(rules: Sequence[Rule]) -> list[Check]:
    """A rule's condition must be true; one that is null for a row fails it."""
    return [Check(r.column, r.name, ~F.coalesce(F.expr(r.keep).cast("boolean"), F.lit(False))) for r in rules]


def apply_checks(frame: DataFrame, checks: Sequence[Check]) -> DataFrame:
    """Add REASON and AT_FAULT of the first check that a row fails."""
    failed = F.coalesce(
        *(F.when(c.bad, F.struct(F.lit(c.reason).alias("reason"), F.lit(c.column).alias("column"))) for c in checks)
    )
    found = frame.withColumn("_failed", failed)
    return found.withColumns(
        {REASON: F.col("_failed.reason"), AT_FAULT: F.nullif(F.col("_failed.column"), F.lit(""))}
    ).drop("_failed")


def mark_known(frame: DataFrame, earlier: DataFrame, keys: Sequence[str], reason: str) -> DataFrame:
    """Treat usable rows whose key an earlier ingest kept: equal content is a duplicate, other content is rejected.

    earlier: the keys, row_hash and source_file of the rows that are kept already.
    """
    before = earlier.select(*keys, F.col("row_hash").alias("_before"), F.col("source_file").alias("_before_file"))
    joined = frame.join(before, list(keys), "left")
    repeat = F.col(USABLE) & F.col("_before").isNotNull()
    same = fingerprint() == F.col("_before")
    return joined.withColumns(
        {
            DUPLICATE: F.when(repeat, same).otherwise(F.col(DUPLICATE)),
            REASON: F.when(repeat, F.when(~same, reason)).otherwise(F.col(REASON)),
            AT_FAULT: F.when(repeat, F.when(~same, keys[0])).otherwise(F.col(AT_FAULT)),
            FIRST_IN: F.when(repeat, F.col("_before_file")).otherwise(F.col(FIRST_IN)),
        }
    ).drop("_before", "_before_file")


def fingerprint() -> Column:
    """The row's hash as the tables keep it, in eight bytes."""
    return F.xxhash64(ROW_HASH)


def mark_duplicates(frame: DataFrame, keys: Sequence[str], reason: str) -> DataFrame:
    """Among usable rows of equal key keep the first (by file): exact repeats are duplicates, others rejected."""
    usable = F.col(REASON).isNull()
    group: list[Column | str] = [F.when(usable, F.col(keys[0]).cast("string")).otherwise(F.col(ROW_HASH)), *keys[1:]]
    order = Window.partitionBy(usable, *group).orderBy(FILE, ROW_HASH)
    marked = frame.withColumns(
        {
            USABLE: usable,
            "_place": F.row_number().over(order),
            "_first": F.first(ROW_HASH).over(order),
            FIRST_IN: F.when(usable, F.first(FILE).over(order)),
        }
    )
    repeat, same = F.col(USABLE) & (F.col("_place") > 1), F.col(ROW_HASH) == F.col("_first")
    return marked.withColumns(
        {
            DUPLICATE: repeat & same,
            REASON: F.when(repeat & ~same, reason).otherwise(F.col(REASON)),
            AT_FAULT: F.when(repeat & ~same, keys[0]).otherwise(F.col(AT_FAULT)),
        }
    ).drop("_place", "_first")
