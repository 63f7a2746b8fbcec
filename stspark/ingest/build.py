"""One ingest: the new files of the source to cleaned rows, rejected rows and counts."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from pyspark import StorageLevel
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stspark.errors import ConfigError, InputError
from stspark.ingest import account, clean
from stspark.ingest.events import classify_events
from stspark.ingest.files import InputFile
from stspark.ingest.panel_rows import classify_panel
from stspark.ingest.read import add_lookup, count_lines, read_raw
from stspark.settings import Settings
from stspark.space import complete, read_regions
from stspark.store import Store

log = logging.getLogger("stspark")


@dataclass(frozen=True)
class Kind:
    """How rows of a kind of source repeat: the table, its key, and what makes a repeat an exact one."""

    table: str
    keys: tuple[str, ...]
    compared: tuple[str, ...]
    reason: str


KINDS = {
    "events": Kind(
        "events", ("event_id",), ("event_time", "region", "event_type", "order_id", "item", "price"), "repeated_id"
    ),
    "panel": Kind("panel", ("region", "date"), ("target",), "repeated_key"),
}


@dataclass(frozen=True)
class Ingest:
    """Classified rows of some files, and the account of them."""

    ingest_id: str
    classified: DataFrame
    file_counts: DataFrame
    account: account.Account


def kept_before(store: Store, kind: Kind) -> DataFrame | None:
    """Keys and compared columns of the rows that earlier ingests kept, if there were any."""
    return store.read(kind.table).select(*kind.keys, *kind.compared) if store.exists(kind.table) else None


def classify(
    spark: SparkSession, files: list[InputFile], settings: Settings, earlier: DataFrame | None = None
) -> Ingest:
    """Read and classify the files; raises InputError where rows are lost or too many rejected.

    Rows that an earlier ingest kept (`kept_before`) are duplicates, as they are within one ingest.
    """
    source = settings.source
    raw = read_raw(spark, source, files)
    for lookup in source.lookups:
        raw = add_lookup(spark, raw, lookup, source)
    frame = _classified(spark, raw, settings)
    if earlier is not None:
        kind = KINDS[source.kind]
        frame = clean.mark_known(frame, earlier, kind.keys, kind.reason)
    frame = frame.persist(StorageLevel.MEMORY_AND_DISK)
    if settings.regions.unknown == "error":
        _no_unknown_region(frame, settings)
    ingest_id = hashlib.sha256("\n".join(sorted(f.content_hash for f in files)).encode()).hexdigest()[:12]
    lines = count_lines(spark, source, files)
    counts = account.file_rows(spark, files, lines, account.count_by_file(frame), ingest_id).persist()
    return Ingest(ingest_id, frame, counts, account.check(counts, frame, source.max_rejected_share))


def _classified(spark: SparkSession, raw: DataFrame, settings: Settings) -> DataFrame:
    """Type the rows; ConfigError where an expression of the config does not fit the columns."""
    try:
        regions = known_regions(spark, raw, settings)
        kind = classify_events if settings.source.kind == "events" else classify_panel
        return kind(raw, settings, regions)
    except AnalysisException as error:
        raise ConfigError(
            "source.columns or source.rules", str(error).splitlines()[0], "mend the expression"
        ) from error


def known_regions(spark: SparkSession, raw: DataFrame, settings: Settings) -> DataFrame:
    """region and timezone of all regions that rows may name: the configured ones, else those of the rows."""
    table = read_regions(settings.regions)
    if table is not None:
        return spark.createDataFrame(table[["region", "timezone"]])
    named = clean.map_columns(raw, {"region": settings.source.columns["region"]}).select("region").distinct()
    zone = complete_zone(settings)
    return named.where("region is not null").withColumn("timezone", F.lit(zone))


def complete_zone(settings: Settings) -> str:
    """The zone of regions for which no file names one."""
    import pandas as pd

    return str(complete(pd.DataFrame({"region": ["any"]}), settings.regions)["timezone"].iloc[0])


def _no_unknown_region(frame: DataFrame, settings: Settings) -> None:
    unknown = (
        frame.where(F.col(clean.REASON) == "unknown_region")
        .groupBy("region")
        .count()
        .orderBy(F.desc("count"), "region")
        .first()
    )
    if unknown is not None:
        raise InputError(
            f"{settings.source.path}: region",
            f"'{unknown[0]}' ({unknown[1]} rows) is not in {settings.regions.file}",
            "add it there or to regions.unplaced, or set regions.unknown: reject",
        )
