"""Files to one raw frame: every column text, every row with its file and its own text."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StringType, StructField, StructType, TimestampType

from stspark.columns import quoted, speaks_of
from stspark.errors import InputError
from stspark.ingest import wide
from stspark.ingest.files import InputFile, read_header, require_columns
from stspark.ingest.formats import CORRUPT, FILE
from stspark.settings import Lookup, Source

NOT_BLANK = r"[^\x00-\x20]"


def read_raw(spark: SparkSession, source: Source, files: Sequence[InputFile], written: Sequence[str]) -> DataFrame:
    """Read files as the text columns that `written` (mappings, keys) speaks of, plus the columns that travel.

    These are FILE, RAW, CORRUPT (null, or the line) and ROW_HASH.

    Files may differ in format, columns and their order: each group of equal ones is read by itself. Files of JSON
    lines are one group: a key that a line lacks is null.
    """

    def like(file: InputFile) -> tuple[str, tuple[str, ...], str]:
        return (file.format, () if file.format == "jsonl" else file.header, file.types)

    parts = [
        _read_group(spark, source, list(group), written) for _, group in groupby(sorted(files, key=like), key=like)
    ]
    frame = parts[0]
    for part in parts[1:]:
        frame = frame.unionByName(part, allowMissingColumns=True)
    return frame


def _read_group(spark: SparkSession, source: Source, files: list[InputFile], written: Sequence[str]) -> DataFrame:
    """One group's rows; the order of a file's columns does not enter the hash of its rows."""
    reader = {"csv": _csv_files, "jsonl": _json_files, "parquet": _parquet_files, "delta": _delta_table}
    header = sorted({name for file in files for name in file.header})
    frame = reader[files[0].format](spark, source, files)
    if source.layout == "wide":
        return wide.melt(frame, files[0].header, source)
    texts = [F.col(quoted(c)) for c in header]
    travelling = [F.col(FILE), F.col(CORRUPT), wide.raw(header, texts), wide.row_hash([*texts, F.col(CORRUPT)])]
    used = [c for c in header if any(speaks_of(text, c) for text in written)]
    return frame.select(*travelling, *(F.col(quoted(c)) for c in used))


def _csv_files(spark: SparkSession, source: Source, files: list[InputFile]) -> DataFrame:
    frame = _csv(spark, [f.path for f in files], files[0].header, source)
    return frame.withColumns({FILE: _file_name(files), wide.PLACE: wide.place_in_file()})


def _json_files(spark: SparkSession, source: Source, files: list[InputFile]) -> DataFrame:
    """Lines of JSON objects, values as text (nested ones as JSON); a line that is no object is corrupt."""
    keys = sorted({name for file in files for name in file.header})
    lines = spark.read.text([location(f.path) for f in files]).where(F.col("value").rlike(NOT_BLANK))
    fields = F.from_json(F.ltrim(F.col("value"), F.lit("\ufeff")), "map<string,string>")
    rows = lines.select(
        "value", fields.alias("_fields"), _file_name(files).alias(FILE), wide.place_in_file().alias(wide.PLACE)
    )
    text = F.col("value")
    one_object = text.rlike(r"(?s)^\ufeff?\s*\{.*\}\s*$") & ~text.rlike(r"\}\s*\{")  # Spark would read the first of two
    return rows.select(
        *(F.try_element_at("_fields", F.lit(k)).alias(k) for k in keys),
        F.when(F.col("_fields").isNull() | ~one_object, F.col("value")).alias(CORRUPT),
        FILE,
        wide.PLACE,
    )


def _parquet_files(spark: SparkSession, source: Source, files: list[InputFile]) -> DataFrame:
    frame = spark.read.parquet(*(location(f.path) for f in files))
    return _as_text(frame, files[0].header, _file_name(files))


def _delta_table(spark: SparkSession, source: Source, files: list[InputFile]) -> DataFrame:
    frame = spark.read.format("delta").load(str(files[0].path.absolute()))
    return _as_text(frame, files[0].header, F.lit(files[0].name))


def _as_text(frame: DataFrame, header: Sequence[str], name: Column) -> DataFrame:
    """Typed columns as text that says what they said: instants with their offset, nested values as JSON."""
    kinds = {field.name: field.dataType for field in frame.schema}
    return frame.select(
        *(_text(F.col(quoted(c)), kinds[c]).alias(c) for c in header),
        F.lit(None).cast("string").alias(CORRUPT),
        name.alias(FILE),
        wide.place_in_file().alias(wide.PLACE),
    )


def _text(value: Column, kind: DataType) -> Column:
    if isinstance(kind, TimestampType):
        return F.concat(value.cast("string"), F.lit("Z"))  # the session's zone is UTC
    return F.to_json(value) if isinstance(kind, StructType | ArrayType | MapType) else value.cast("string")


def _csv(spark: SparkSession, paths: Sequence[Path], header: Sequence[str], source: Source) -> DataFrame:
    schema = StructType([StructField(c, StringType()) for c in (*header, CORRUPT)])
    return spark.read.csv(
        [location(p) for p in paths],
        schema=schema,
        header=True,
        sep=source.separator,
        encoding=source.encoding,
        escape='"',
        mode="PERMISSIVE",
        columnNameOfCorruptRecord=CORRUPT,
        enforceSchema=True,
        ignoreLeadingWhiteSpace=False,
        ignoreTrailingWhiteSpace=False,
        maxCharsPerColumn=-1,  # without limit: a line that is too long would end the run
        maxColumns=200_000,
    )


def location(path: Path) -> str:
    """The file's place as Spark takes it: not percent-encoded, links as they are, the signs of a pattern escaped."""
    return "file://" + re.sub(r"([\[\]{}*?\\])", r"\\\1", os.path.abspath(path))


def _file_name(files: Sequence[InputFile]) -> Column:
    """The file's name relative to the source's folder."""
    prefix = min(len(os.path.abspath(f.path)) - len(f.name) for f in files)
    decoded = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    return F.substring(F.regexp_replace(decoded, "^file:/+", "/"), prefix + 1, 10_000)


def count_lines(spark: SparkSession, source: Source, files: Sequence[InputFile]) -> DataFrame:
    """source_file, rows_read: an independent count of rows, by other means than those that read them.

    Lines that are not blank (less the header) of text files, the footer's figure of Parquet, Delta's own count. A row
    of a wide panel is a line's cell.
    """
    cells = {f.name: len(wide.regions_of(f.header, source)) if source.layout == "wide" else 1 for f in files}
    counted = {f.name: pq.read_metadata(f.path).num_rows for f in files if f.format == "parquet"}
    counted |= {f.name: spark.read.format("delta").load(str(f.path)).count() for f in files if f.format == "delta"}
    texts = [f for f in files if f.format in ("csv", "jsonl")]
    if texts:
        counted |= _lines_of_text(spark, texts)
    rows = [(name, rows * cells[name]) for name, rows in counted.items()]
    return spark.createDataFrame(rows, "source_file string, rows_read bigint")


def _lines_of_text(spark: SparkSession, files: Sequence[InputFile]) -> Mapping[str, int]:
    lines = spark.read.text([location(f.path) for f in files]).where(F.col("value").rlike(NOT_BLANK))
    counts = lines.groupBy(_file_name(files).alias("name")).count().collect()
    headers = {f.name: 1 if f.format == "csv" else 0 for f in files}
    return {row["name"]: row["count"] - headers.get(row["name"], 0) for row in counts}


def add_lookup(spark: SparkSession, frame: DataFrame, lookup: Lookup, source: Source) -> DataFrame:
    """Add the lookup's columns by its key. Raises InputError where the key repeats: rows would multiply."""
    path = Path(lookup.path)
    header = read_header(path, source.encoding, source.separator)
    require_columns(path, header, (lookup.key, *lookup.columns))
    rows = _csv(spark, [path], header, source)
    wanted = [lookup.key, *(c for c in lookup.columns if c != lookup.key)]
    rows = rows.select(*(F.col(quoted(c)) for c in wanted)).distinct()
    if lookup.many == "median":
        numbers = [F.median(F.col(quoted(c)).try_cast("double")).cast("string").alias(c) for c in wanted[1:]]
        rows = rows.groupBy(quoted(wanted[0])).agg(*numbers) if numbers else rows
    repeated = rows.groupBy(quoted(lookup.key)).count().where("count > 1").first()
    if repeated is not None:
        raise InputError(
            f"{path}: {lookup.key}",
            f"value '{repeated[0]}' has several different rows",
            "a lookup needs one row per key",
        )
    side = rows.withColumnRenamed(lookup.key, "_key")
    if lookup.key in lookup.columns:
        side = side.withColumn(lookup.key, F.col("_key"))
    return frame.join(side, frame[quoted(lookup.on or lookup.key)] == side["_key"], "left").drop("_key")
