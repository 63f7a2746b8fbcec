"""Raw rows of an event source to `events`: one row per transaction or behaviour event."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stspark.ingest import clean
from stspark.ingest.formats import FILE, ROW_HASH
from stspark.names import EVENT_INPUTS
from stspark.settings import Settings


def classify_events(
    raw: DataFrame, settings: Settings, regions: DataFrame, barred: Sequence[clean.Check] = ()
) -> DataFrame:
    """Type every row and give it a reason where it is not usable.

    `regions` has region and timezone. The order of the checks decides which reason a row gets:
    malformed, forgotten (`barred`), missing, unparseable, unknown region, the configured rules, repeated id.
    """
    source = settings.source
    frame = clean.map_columns(raw, source.columns)
    frame = frame.withColumns({c: F.lit(None).cast("string") for c in EVENT_INPUTS if c not in source.columns})
    frame = frame.withColumn("event_type", F.lower("event_type") if "event_type" in source.columns else F.lit("order"))
    frame, times = clean.parse_times(frame, "event_time", source.timezone)
    frame, numbers = clean.parse_numbers(frame, ["quantity", "price"])
    known = regions.select("region", F.col("timezone").alias("_zone"))
    frame = frame.join(F.broadcast(known), "region", "left")
    checks = [
        clean.malformed(),
        *barred,
        *clean.undecoded([c for c in source.columns if c not in ("event_time", "quantity", "price")]),
        *clean.required([clean.text_of("event_time"), "region", "event_type"]),
        *times,
        *numbers,
        clean.Check("region", "unknown_region", F.col("_zone").isNull()),
        *clean.rule_checks(source.rules),
    ]
    frame = clean.apply_checks(frame, checks).withColumn("event_id", F.coalesce("event_id", F.col(ROW_HASH)))
    return clean.mark_duplicates(frame, ["event_id"], "repeated_id")


def to_events(classified: DataFrame, user_key: str) -> DataFrame:
    """Usable rows with date, amount and signed quantity; user ids only as a keyed hash.

    A return counts negative whatever sign its quantity came with, so that it nets against sales.
    """
    pieces = F.coalesce("quantity", F.when(F.col("event_type").isin("order", "return"), 1.0))
    signed = F.when(F.col("event_type") == "return", -F.abs(pieces)).otherwise(pieces)
    kept = classified.where(F.col(clean.REASON).isNull() & ~F.col(clean.DUPLICATE))
    return kept.withColumns(
        {
            "date": F.to_date(F.from_utc_timestamp("event_time", F.col("_zone"))),
            "quantity": signed,
            "amount": signed * F.col("price"),
            "user_id": keyed_hash(F.col("user_id"), user_key),
            "source_file": F.col(FILE),
            "ingest_id": F.col(clean.INGEST),
            "row_hash": clean.fingerprint(),
        }
    )


def keyed_hash(value: Column, key: str) -> Column:
    """SHA-256 of key, value and key again (envelope MAC); null stays null."""
    return F.when(value.isNotNull(), F.substring(F.sha2(F.concat(F.lit(key), value, F.lit(key)), 256), 1, 32))
