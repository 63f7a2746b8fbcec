"""Files into the tables, in an order that a crash at any point cannot spoil, and twice is once."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stspark import recipe
from stspark.at_once import at_once
from stspark.ingest import account, ledger
from stspark.ingest.build import KINDS, Cleaning, Ingest, Kind, classify
from stspark.ingest.events import to_events
from stspark.ingest.files import InputFile, user_columns
from stspark.ingest.panel_rows import to_panel
from stspark.privacy import user_key
from stspark.settings import Settings
from stspark.store import Store

log = logging.getLogger("stspark")


def take_in(
    spark: SparkSession, store: Store, settings: Settings, files: Sequence[InputFile], *, again: bool = False
) -> int:
    """Bring the tables to what all of `files` in one go would give; return how many were read.

    Rows of withdrawn files leave the ledger first: from then on a crash leaves rows that no entry knows, which the next
    ingest removes before it reads their files again. New rows replace the withdrawn ones in one commit a table, and the
    ledger's new entries come last.
    """
    kind, key = KINDS[settings.source.kind], user_key(settings.warehouse)
    cleaning = how_to_clean(store, settings, key)
    entries = ledger.read_ledger(store)
    plan = ledger.plan(files, entries, cleaning.name, again=again)
    log.info("ingest: %d files, %d to read, %d to replace", len(files), len(plan.read), len(plan.withdraw))
    if twins := ledger.twins(files):
        copy, first = next(iter(twins.items()))
        log.info("ingest: not read, since another file holds the same: %d, such as %s (as %s)", len(twins), copy, first)
    if not plan.read and not plan.withdraw:
        return 0
    ledger.remove_unfinished(store, [kind.table, "events_rejected"], entries)
    ingest = None
    while plan.read:
        ingest = classify(spark, plan.read, settings, _kept(store, kind, plan, cleaning.name), cleaning)
        wider = ledger.widened(plan, ingest.kept_elsewhere(), files, entries)
        if wider == plan:
            break
        log.info("ingest: %d files read again, since a new one comes before them", len(wider.read) - len(plan.read))
        ingest.release()
        plan = wider
    _write(store, settings, plan, ingest)
    return len(plan.read)


def how_to_clean(store: Store, settings: Settings, key: str) -> Cleaning:
    """The config's rules, and who is not to be kept."""
    rows = store.read("forgotten").orderBy("user_digest").collect() if store.exists("forgotten") else ()
    return Cleaning(recipe.cleaning(settings, key), key, tuple(row["user_digest"] for row in rows))


def _kept(store: Store, kind: Kind, plan: ledger.Plan, cleaned_by: str) -> DataFrame | None:
    """Keys of the rows that stay in the tables, if there are any; a twin's rows of the files to read do not."""
    if not store.exists(kind.table) or "row_hash" not in (rows := store.read(kind.table)).columns:
        return None
    gone = {e.ingest_id for e in plan.withdraw} | {ledger.ingest_id(f, cleaned_by) for f in plan.read}
    return rows.where(~F.col("ingest_id").isin(sorted(gone))).select(*kind.keys, "row_hash", "source_file")


def _write(store: Store, settings: Settings, plan: ledger.Plan, ingest: Ingest | None) -> None:
    kind, key = KINDS[settings.source.kind], user_key(settings.warehouse)
    gone = [e.ingest_id for e in plan.withdraw]
    if gone:
        store.delete("ingested_files", F.col("ingest_id").isin(gone))
    if ingest is None:
        for table in (kind.table, "events_rejected"):
            store.delete(table, F.col("ingest_id").isin(gone))
        return
    new = [row[0] for row in ingest.file_counts.select("ingest_id").collect()]
    mine = "ingest_id in ({})".format(", ".join(f"'{i}'" for i in sorted({*gone, *new})))
    rows = to_events(ingest.classified, key) if kind.table == "events" else to_panel(ingest.classified)
    hidden = user_columns(plan.read, settings.source)
    at_once(
        store.spark,
        lambda: store.replace(kind.table, rows, mine),
        lambda: store.replace("events_rejected", account.to_rejected(ingest.classified, hidden, key), mine),
    )
    store.replace("ingested_files", ingest.file_counts, mine)
    ingest.release()
