"""Some files of the source to cleaned rows, rejected rows and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stspark.errors import InputError
from stspark.ingest import account, clean, failures
from stspark.ingest.events import classify_events, keyed_hash
from stspark.ingest.files import InputFile, user_columns
from stspark.ingest.formats import FILE
from stspark.ingest.ledger import ingest_id
from stspark.ingest.panel_rows import classify_panel, panel_columns
from stspark.ingest.read import add_lookup, count_lines, read_raw
from stspark.settings import Settings
from stspark.space import complete, read_regions


@dataclass(frozen=True)
class Kind:
    """How rows of a kind of source repeat: the table, its key, and the reason of a repeat with other content."""

    table: str
    keys: tuple[str, ...]
    reason: str


KINDS = {
    "events": Kind("events", ("event_id",), "repeated_id"),
    "panel": Kind("panel", ("region", "date"), "repeated_key"),
}


@dataclass(frozen=True)
class Cleaning:
    """How rows are cleaned beside the config: the hash of all that decides it, and who is not to be kept.

    forgotten: digests of people (stspark.privacy.digest) whose rows are rejected; user_key: the key of their hashes.
    """

    name: str = ""
    user_key: str = ""
    forgotten: tuple[str, ...] = ()


AS_CONFIGURED = Cleaning()


@dataclass(frozen=True)
class Ingest:
    """Classified rows of some files, and the account of them."""

    classified: DataFrame
    file_counts: DataFrame
    account: account.Account

    def release(self) -> None:
        """Forget the rows: a stream goes on in the same session."""
        self.file_counts.unpersist()
        self.classified.unpersist()

    def kept_elsewhere(self) -> set[str]:
        """Files of earlier ingests that hold a row of which a file that comes before them by name has one too."""
        rows = self.classified.where(F.col(clean.FIRST_IN) > F.col(FILE)).select(clean.FIRST_IN).distinct()
        return {row[0] for row in rows.collect()}


def classify(
    spark: SparkSession,
    files: Sequence[InputFile],
    settings: Settings,
    earlier: DataFrame | None = None,
    cleaning: Cleaning = AS_CONFIGURED,
) -> Ingest:
    """Read and classify the files; raises InputError where rows are lost or too many rejected.

    Rows that are in the tables already (`earlier`: key, row_hash, source_file) are duplicates, as they are within one
    ingest.
    """
    source = settings.source
    listed = spark.createDataFrame(
        [(f.name, f.content_hash, cleaning.name, ingest_id(f, cleaning.name)) for f in files],
        "source_file string, content_hash string, cleaned_by string, ingest_id string",
    )
    with failures.named(source):
        frame = _classified(read_all(spark, files, settings), settings, listed, cleaning)
        if earlier is not None:
            kind = KINDS[source.kind]
            frame = clean.mark_known(frame, earlier, kind.keys, kind.reason)
        frame = frame.persist(StorageLevel.MEMORY_AND_DISK)
        if settings.regions.unknown == "error":
            _no_unknown_region(frame, settings)
        lines = count_lines(spark, source, files)
        counts = account.file_rows(listed, lines, account.count_by_file(frame)).persist()
        hidden = user_columns(files, source)
        return Ingest(frame, counts, account.check(counts, frame, source.max_rejected_share, hidden))


def read_all(spark: SparkSession, files: Sequence[InputFile], settings: Settings) -> DataFrame:
    """The files' rows with the columns of the lookups."""
    source = settings.source
    keys = [lookup.on or lookup.key for lookup in source.lookups]
    raw = read_raw(spark, source, files, [*panel_columns(source, settings.covariates).values(), *keys])
    for lookup in source.lookups:
        raw = add_lookup(spark, raw, lookup, source)
    return raw


def _classified(raw: DataFrame, settings: Settings, listed: DataFrame, cleaning: Cleaning) -> DataFrame:
    regions = known_regions(raw.sparkSession, raw, settings)
    if settings.source.kind == "events":
        frame = classify_events(raw, settings, regions, barred(cleaning))
    else:
        frame = classify_panel(raw, settings, regions)
    ids = listed.select(F.col("source_file").alias(FILE), F.col("ingest_id").alias(clean.INGEST))
    return frame.join(F.broadcast(ids), FILE, "left")


def barred(cleaning: Cleaning) -> list[clean.Check]:
    """Rows of forgotten people are not kept."""
    if not cleaning.forgotten:
        return []
    theirs = F.sha2(keyed_hash(F.col("user_id"), cleaning.user_key), 256).isin(list(cleaning.forgotten))
    return [clean.Check("user_id", "forgotten", F.coalesce(theirs, F.lit(False)))]


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
