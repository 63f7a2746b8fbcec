"""What became of every input row: the rejected ones, the counts by file, and whether they add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from stspark.errors import InputError
from stspark.ingest.clean import AT_FAULT, DUPLICATE, REASON
from stspark.ingest.files import InputFile
from stspark.ingest.read import CORRUPT, FILE, RAW


@dataclass(frozen=True)
class Account:
    """Rows of an ingest: read = kept + rejected + duplicate."""

    read: int
    kept: int
    rejected: int
    duplicate: int


def to_rejected(classified: DataFrame, ingest_id: str) -> DataFrame:
    """One row per rejected input row: reason, column, raw text, file."""
    return classified.where(F.col(REASON).isNotNull()).select(
        F.col(REASON).alias("reason"),
        F.col(AT_FAULT).alias("column"),
        raw_text().alias("raw_text"),
        F.col(FILE).alias("source_file"),
        F.lit(ingest_id).alias("ingest_id"),
    )


def raw_text() -> Column:
    """The row as it was read: a malformed line itself, else JSON of the source's columns."""
    return F.coalesce(F.col(CORRUPT), F.to_json(RAW, {"ignoreNullFields": "false"}))


def count_by_file(classified: DataFrame) -> DataFrame:
    """source_file and the rows_kept, rows_rejected, rows_duplicate that were classified."""
    rejected, repeated = F.col(REASON).isNotNull(), F.col(REASON).isNull() & F.col(DUPLICATE)
    return classified.groupBy(F.col(FILE).alias("source_file")).agg(
        F.count_if(~rejected & ~repeated).alias("rows_kept"),
        F.count_if(rejected).alias("rows_rejected"),
        F.count_if(repeated).alias("rows_duplicate"),
    )


def file_rows(
    spark: SparkSession, files: Sequence[InputFile], lines: DataFrame, counts: DataFrame, ingest_id: str
) -> DataFrame:
    """One row per file for `ingested_files`, files without rows included; a row of no listed file has no hash."""
    listed = spark.createDataFrame(
        [(f.name, f.content_hash, ingest_id) for f in files],
        "source_file string, content_hash string, ingest_id string",
    )
    joined = listed.join(lines, "source_file", "full").join(counts, "source_file", "full")
    return joined.fillna(0, ["rows_read", "rows_kept", "rows_rejected", "rows_duplicate"])


def check(file_counts: DataFrame, classified: DataFrame, max_rejected_share: float) -> Account:
    """Add up all files; raise where rows are lost, or where a file's rejected share is over the limit."""
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
        raise _too_many_rejected(over.asDict(), classified, max_rejected_share)
    total = file_counts.agg(*(F.sum(c) for c in ("rows_read", "rows_kept", "rows_rejected", "rows_duplicate"))).first()
    assert total is not None
    return Account(*(int(n or 0) for n in total))


def _too_many_rejected(over: Mapping[str, object], classified: DataFrame, limit: float) -> InputError:
    """Name the file, the commonest reason, its column and an example."""
    bad = classified.where((F.col(FILE) == over["source_file"]) & F.col(REASON).isNotNull())
    worst = (
        bad.groupBy(REASON, AT_FAULT)
        .agg(F.count("*").alias("n"), F.min(raw_text()).alias("example"))
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
