"""Files to one raw frame: every column text, every row with its file and its own text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from stspark.errors import InputError
from stspark.ingest.files import InputFile, read_header, require_columns
from stspark.settings import Lookup, Source

FILE, RAW, CORRUPT, ROW_HASH = "_file", "_raw", "_corrupt", "_row_hash"
"""Columns that travel with each raw row."""


def read_raw(spark: SparkSession, source: Source, files: Sequence[InputFile]) -> DataFrame:
    """Read CSV files as text columns plus FILE, RAW (a struct of the texts), CORRUPT (null, or the line), ROW_HASH.

    Files may differ in their columns and their order: each group of equal headers is read by itself.
    """
    by_header = groupby(sorted(files, key=lambda f: f.header), key=lambda f: f.header)
    parts = [_read_group(spark, source, header, list(group)) for header, group in by_header]
    frame = parts[0]
    for part in parts[1:]:
        frame = frame.unionByName(part, allowMissingColumns=True)
    return frame


def _read_group(spark: SparkSession, source: Source, header: tuple[str, ...], files: list[InputFile]) -> DataFrame:
    names = {f.path.resolve().as_posix(): f.name for f in files}
    frame = _csv(spark, [f.path for f in files], header, source.encoding, source.separator)
    columns = [F.col(f"`{c}`") for c in header]
    return frame.withColumns(
        {
            FILE: _file_name(names),
            RAW: F.struct(*columns),
            ROW_HASH: F.md5(F.concat_ws("\x1f", *(F.coalesce(c, F.lit("\x00")) for c in (*columns, F.col(CORRUPT))))),
        }
    )


def _csv(spark: SparkSession, paths: Sequence[Path], header: Sequence[str], encoding: str, separator: str) -> DataFrame:
    schema = StructType([StructField(c, StringType()) for c in (*header, CORRUPT)])
    return spark.read.csv(
        [location(p) for p in paths],
        schema=schema,
        header=True,
        sep=separator,
        encoding=encoding,
        escape='"',
        mode="PERMISSIVE",
        columnNameOfCorruptRecord=CORRUPT,
        enforceSchema=True,
        ignoreLeadingWhiteSpace=False,
        ignoreTrailingWhiteSpace=False,
        maxCharsPerColumn=1_000_000,
    )


def location(path: Path) -> str:
    """The file's place as Spark takes it: not percent-encoded, and with the signs of a pattern escaped."""
    return "file://" + re.sub(r"([\[\]{}*?\\])", r"\\\1", path.resolve().as_posix())


def _file_name(names: dict[str, str]) -> Column:
    """The file's name relative to the source's folder."""
    prefix = min(len(path) - len(name) for path, name in names.items())
    decoded = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    return F.substring(F.regexp_replace(decoded, "^file:/+", "/"), prefix + 1, 10_000)


def count_lines(spark: SparkSession, source: Source, files: Sequence[InputFile]) -> DataFrame:
    """source_file, rows_read: lines that are not blank, less the header; an independent count of rows."""
    names = {f.path.resolve().as_posix(): f.name for f in files}
    lines = spark.read.text([location(f.path) for f in files]).where(F.col("value").rlike(r"[^\x00-\x20]"))
    return lines.groupBy(_file_name(names).alias("source_file")).agg((F.count("*") - 1).alias("rows_read"))


def add_lookup(spark: SparkSession, frame: DataFrame, lookup: Lookup, source: Source) -> DataFrame:
    """Add the lookup's columns by its key. Raises InputError where the key repeats: rows would multiply."""
    path = Path(lookup.path)
    header = read_header(path, source.encoding, source.separator)
    require_columns(path, header, (lookup.key, *lookup.columns))
    rows = _csv(spark, [path], header, source.encoding, source.separator)
    wanted = [lookup.key, *(c for c in lookup.columns if c != lookup.key)]
    rows = rows.select(*(F.col(f"`{c}`") for c in wanted)).distinct()
    if lookup.many == "median":
        numbers = [F.median(F.col(f"`{c}`").try_cast("double")).cast("string").alias(c) for c in wanted[1:]]
        rows = rows.groupBy(wanted[0]).agg(*numbers) if numbers else rows
    repeated = rows.groupBy(lookup.key).count().where("count > 1").first()
    if repeated is not None:
        raise InputError(
            f"{path}: {lookup.key}",
            f"value '{repeated[0]}' has several different rows",
            "a lookup needs one row per key",
        )
    side = rows.withColumnRenamed(lookup.key, "_key")
    if lookup.key in lookup.columns:
        side = side.withColumn(lookup.key, F.col("_key"))
    return frame.join(side, frame[f"`{lookup.on or lookup.key}`"] == side["_key"], "left").drop("_key")
