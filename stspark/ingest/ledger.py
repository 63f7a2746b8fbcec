"""Which files have been ingested: the table `ingested_files`, written last, decides."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pyspark.sql import functions as F

from stspark.errors import InputError
from stspark.ingest.files import InputFile
from stspark.store import Store

log = logging.getLogger("stspark")


def not_yet_ingested(store: Store, files: Sequence[InputFile]) -> list[InputFile]:
    """Files whose content is not in the tables yet; the same content under two names is read once."""
    seen = set()
    if store.exists("ingested_files"):
        seen = {row[0] for row in store.read("ingested_files").select("content_hash").toLocalIterator()}
    new = []
    for file in files:
        if file.content_hash not in seen:
            seen.add(file.content_hash)
            new.append(file)
    log.info("ingest: %d files, %d of them new", len(files), len(new))
    return new


def remove_unfinished(store: Store, tables: Sequence[str]) -> None:
    """Remove rows of an ingest that died before it was entered in the ledger."""
    ids: list[str] = []
    if store.exists("ingested_files"):
        ids = [row[0] for row in store.read("ingested_files").select("ingest_id").distinct().toLocalIterator()]
    for table in tables:
        if store.exists(table) and not store.read(table).where(~F.col("ingest_id").isin(ids)).isEmpty():
            log.info("ingest: removing rows of an unfinished ingest from %s", table)
            store.delete(table, ~F.col("ingest_id").isin(ids))


def refuse_replaced(store: Store, new: Sequence[InputFile], kind: str) -> None:
    """Refuse a file that was ingested before with another content: its old rows would stay.

    Replacing a file in place belongs to the incremental ingest; until then the remedy is a fresh warehouse.
    """
    if not store.exists("ingested_files"):
        return
    names = {f.name for f in new}
    known = store.read("ingested_files").where(F.col("source_file").isin(sorted(names))).select("source_file").first()
    if known is not None:
        raise InputError(
            f"{known[0]}",
            f"has changed since it was ingested into {kind}",
            f"remove {store.home} and run again, or send it under another name",
        )


def describe(store: Store, new: Sequence[InputFile]) -> dict[str, str]:
    """Lines for the summary: rows of all files ever ingested, and how many files were new."""
    total = (
        store.read("ingested_files")
        .agg(F.count("*"), *(F.sum(c) for c in ("rows_read", "rows_kept", "rows_rejected", "rows_duplicate")))
        .first()
    )
    assert total is not None
    files, read, kept, rejected, duplicate = (int(n or 0) for n in total)
    rows = f"{read:,} read = {kept:,} kept + {rejected:,} rejected + {duplicate:,} exact duplicates"
    return {"files": f"{files:,} ({len(new):,} new)", "rows": rows}
