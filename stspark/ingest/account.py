"""What became of every input row: the rejected ones, the counts by file, and whether they add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stspark.errors import InputError
from stspark.ingest.clean import AT_FAULT, DUPLICATE, FIRST_IN, INGEST, REASON
from stspark.ingest.events import keyed_hash
from stspark.ingest.formats import BETWEEN, CORRUPT, FILE, RAW


@dataclass(frozen=True)
class Account:
    """Rows of an ingest: read = kept + rejected + duplicate."""

    read: int
    kept: int
    rejected: int
    duplicate: int


def to_rejected(classified: DataFrame, user_columns: Sequence[str], user_key: str) -> DataFrame:
    """One row per rejected input row: reason, column, raw text, file.

    The raw text shows the user's keyed hash in the columns that the user's id is made of; a line that does not fall
    into columns stays as it is, and a forgotten person's row has no text.
    """
    user = keyed_hash(F.col("user_id"), user_key) if "user_id" in classified.columns else F.lit(None).cast("string")
    return classified.where(F.col(REASON).isNotNull()).select(
        F.col(REASON).alias("reason"),
        F.col(AT_FAULT).alias("column"),
        F.when(F.col(REASON) != "forgotten", raw_text(user_columns, user)).alias("raw_text"),
        F.col(FILE).alias("source_file"),
        F.col(INGEST).alias("ingest_id"),
    )


def raw_text(hidden: Sequence[str] = (), shown: Column | None = None) -> Column:
    """The row as it was read: a malformed line itself, else JSON of its columns, with `shown` in the hidden ones."""
    row = F.map_from_arrays(F.split(F.col(RAW)["names"], BETWEEN), F.col(RAW)["texts"])
    if hidden and shown is not None:
        row = F.transform_values(row, lambda k, v: F.when(k.isin(list(hidden)) & v.isNotNull(), shown).otherwise(v))
    return F.coalesce(F.col(CORRUPT), F.to_json(row, {"ignoreNullFields": "false"}))


def count_by_file(classified: DataFrame) -> DataFrame:
    """source_file, the rows_kept, rows_rejected and rows_duplicate that were classified, and whose rows they repeat."""
    rejected, repeated = F.col(REASON).isNotNull(), F.col(REASON).isNull() & F.col(DUPLICATE)
    return classified.groupBy(F.col(FILE).alias("source_file")).agg(
        F.count_if(~rejected & ~repeated).alias("rows_kept"),
        F.count_if(rejected).alias("rows_rejected"),
        F.count_if(repeated).alias("rows_duplicate"),
        F.array_join(F.sort_array(F.collect_set(F.when(F.col(FIRST_IN) != F.col(FILE), F.col(FIRST_IN)))), "\n").alias(
            "repeats"
        ),
    )


def file_rows(listed: DataFrame, lines: DataFrame, counts: DataFrame) -> DataFrame:
    """One row per file for `ingested_files`, files without rows included; a row of no listed file has no hash."""
    joined = listed.join(lines, "source_file", "full").join(counts, "source_file", "full")
    return joined.fillna(0, ["rows_read", "rows_kept", "rows_rejected", "rows_duplicate"]).fillna("", ["repeats"])


def check(
    file_counts: DataFrame, classified: DataFrame, max_rejected_share: float, hidden: Sequence[str] = ()
) -> Account:
    """Add up all files; raise where rows are lost, or where a file's rejected share is over the limit.

    hidden: columns whose values no message shows.
    """
    parts = F.col("rows_kept") + F.col("rows_rejected") + F.col("rows_duplicate")
    wrong = file_counts.where((F.col("rows_read") != parts) | F.col("content_hash").isNull()).first()
    if wrong is not None:
        raise InputError(
            wrong["source_file"],
            f"{wrong['rows_read']} lines but {wrong['rows_kept']} kept, {wrong['rows_rejected']} rejected and "
            f"{wrong['rows_duplicate']} duplicates",
            "check its quotes and line ends (a quoted field must not hold a line break)",
        )
    over = (
        file_counts.where(F.col("rows_rejected") > max_rejected_share * F.col("rows_read"))
        .orderBy("source_file")
        .first()
    )
    if over is not None:
        raise _too_many_rejected(over.asDict(), classified, max_rejected_share, hidden)
    total = file_counts.agg(*(F.sum(c) for c in ("rows_read", "rows_kept", "rows_rejected", "rows_duplicate"))).first()
    assert total is not None
    return Account(*(int(n or 0) for n in total))


def _too_many_rejected(
    over: Mapping[str, object], classified: DataFrame, limit: float, hidden: Sequence[str]
) -> InputError:
    """Name the file, the commonest reason, its column and an example."""
    bad = classified.where((F.col(FILE) == over["source_file"]) & F.col(REASON).isNotNull())
    worst = (
        bad.groupBy(REASON, AT_FAULT)
        .agg(F.count("*").alias("n"), F.min(raw_text(hidden, F.lit("…"))).alias("example"))
        .orderBy(F.desc("n"))
        .first()
    )
    assert worst is not None
    return InputError(
        str(over["source_file"]),
        f"{over['rows_rejected']} of {over['rows_read']} rows are rejected (limit {limit:.0%}), most as "
        f"{worst[REASON]} in column {worst[AT_FAULT]}, for example {worst['example'][:200]}",
        "mend the file or source.columns, or raise source.max_rejected_share",
    )
