"""Wide panels: a column per region, melted to a row per time and region."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stspark.columns import quoted
from stspark.ingest.formats import BETWEEN, CORRUPT, FILE, RAW, ROW_HASH
from stspark.settings import Source
from stspark.steps import step_of

PLACE = "_place_in_file"
"""Orders a file's rows as they stand in it."""


def place_in_file() -> Column:
    """A number that rises along a file: splits by their start, then rows in the order in which a task reads them."""
    return F.struct(F.col("_metadata.file_block_start").alias("block"), F.monotonically_increasing_id().alias("row"))


def regions_of(header: Sequence[str], source: Source) -> list[str]:
    """The columns that are regions: all but the one of the time."""
    return [c for c in header if source.start is not None or c != source.columns["date"]]


def melt(frame: DataFrame, header: Sequence[str], source: Source) -> DataFrame:
    """A line of n regions to n rows of date, region and target (text), with the columns that travel.

    Without a column of time the k-th line of a file (from 0) is of `start + k * step`. A line that cannot be read
    gives a corrupt row per region, so that rows read and rows classified can be compared.
    """
    if source.start is None:
        time = F.col(quoted(source.columns["date"]))
    else:
        line = F.row_number().over(Window.partitionBy(FILE).orderBy(PLACE)) - 1
        seconds = line.cast("bigint") * int(step_of(source.step).total_seconds())
        time = F.timestamp_seconds(F.unix_timestamp(F.lit(f"{source.start:%Y-%m-%d %H:%M:%S}")) + seconds)
    cells = F.array(
        *(F.struct(F.lit(c).alias("region"), F.col(quoted(c)).alias("target")) for c in regions_of(header, source))
    )
    timed = frame.withColumn("_time", time.cast("string"))  # lines are numbered before they are melted
    rows = timed.select(FILE, CORRUPT, F.col("_time").alias("date"), F.explode(cells).alias("_cell"))
    rows = rows.select(FILE, CORRUPT, "date", "_cell.region", "_cell.target")
    names = ("date", "region", "target")
    texts = [F.col(c) for c in names]
    return rows.select(FILE, CORRUPT, *names, raw(names, texts), row_hash([*texts, F.col(CORRUPT)]))


def raw(names: Sequence[str], texts: Sequence[Column]) -> Column:
    """RAW: what the row says, for the table of rejected rows."""
    return F.struct(F.lit(BETWEEN.join(names)).alias("names"), F.array(*texts).alias("texts")).alias(RAW)


def row_hash(texts: Sequence[Column]) -> Column:
    """ROW_HASH of a row's texts; null is not the empty text."""
    return F.md5(F.concat_ws(BETWEEN, *(F.coalesce(c, F.lit("\x00")) for c in texts))).alias(ROW_HASH)
