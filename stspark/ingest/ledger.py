"""Which files have been ingested, and what has to be done about those on disk: the table `ingested_files` decides."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import functions as F

from stspark.ingest.files import InputFile
from stspark.store import Store

log = logging.getLogger("stspark")


@dataclass(frozen=True)
class Entry:
    """A file that is in the tables: its content, how it was cleaned, and the files whose rows it repeats."""

    source_file: str
    content_hash: str
    cleaned_by: str
    ingest_id: str
    repeats: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plan:
    """Files to read, and entries whose rows go: their files changed, or are to be cleaned in another way."""

    read: tuple[InputFile, ...]
    withdraw: tuple[Entry, ...]


def ingest_id(file: InputFile, cleaning: str) -> str:
    """Identifies a file's content under its name, cleaned in this way, whenever and beside whatever it is read."""
    return hashlib.sha256(f"{file.name}\n{file.content_hash}\n{cleaning}".encode()).hexdigest()[:12]


def read_ledger(store: Store, version: int | None = None) -> list[Entry]:
    """All entries, now or at a Delta version, by name; one row per file ever ingested."""
    if not store.exists("ingested_files"):
        return []
    columns = ("source_file", "content_hash", "cleaned_by", "ingest_id", "repeats")
    rows = store.rows("ingested_files", columns, version=version)
    if "cleaned_by" not in rows.column_names:  # of an older version, which did not say how: all is cleaned anew
        return []
    entries = (row | {"repeats": frozenset((row["repeats"] or "").split("\n")) - {""}} for row in rows.to_pylist())
    return sorted((Entry(**entry) for entry in entries), key=lambda entry: entry.source_file)


def plan(files: Sequence[InputFile], entries: Sequence[Entry], cleaning: str, *, again: bool = False) -> Plan:
    """What brings the tables to what all files in one go would give.

    Of files of equal content the first by name is read. A file that is gone keeps its rows: folders are emptied after
    an ingest. A file is read anew where its content changed, where it was cleaned in another way (`again`: always), or
    where it repeats rows of a file that is withdrawn, which then may be its own.
    """
    on_disk = {f.name: f for f in files}
    owner: dict[str, InputFile] = {}
    for file in sorted(files, key=lambda f: f.name):
        owner.setdefault(file.content_hash, file)
    here_in_time = [e for e in entries if e.cleaned_by == cleaning and not again]
    moved_away = {e.content_hash for e in here_in_time if e.source_file not in on_disk}
    wanted = {f.name: f for f in owner.values() if f.content_hash not in moved_away}
    good = {
        e.source_file
        for e in here_in_time
        if e.source_file not in on_disk
        or (e.source_file in wanted and wanted[e.source_file].content_hash == e.content_hash)
    }
    good |= {
        e.source_file
        for e in entries
        if e not in here_in_time and e.source_file not in on_disk and e.content_hash not in owner
    }
    withdrawn = {e.source_file for e in entries} - good
    while more := {
        e.source_file for e in entries if e.source_file in good and e.source_file in on_disk and e.repeats & withdrawn
    }:
        good -= more
        withdrawn |= more
    read = tuple(f for f in files if f.name in wanted and f.name not in good)
    return Plan(read, tuple(e for e in entries if e.source_file in withdrawn))


def twins(files: Sequence[InputFile]) -> dict[str, str]:
    """Files whose content an earlier file by name has too, and that file."""
    owner: dict[str, str] = {}
    named = sorted(files, key=lambda f: f.name)
    return {f.name: first for f in named if (first := owner.setdefault(f.content_hash, f.name)) != f.name}


def widened(now: Plan, names: set[str], files: Sequence[InputFile], entries: Sequence[Entry]) -> Plan:
    """The plan with these entries' files read anew too, and those that repeat their rows; files that are gone stay."""
    on_disk = {f.name for f in files}
    out = {e.source_file for e in now.withdraw} | (names & on_disk)
    while more := {e.source_file for e in entries if e.repeats & out and e.source_file in on_disk} - out:
        out |= more
    again = {f.name for f in now.read} | (out - {e.source_file for e in now.withdraw})
    return Plan(tuple(f for f in files if f.name in again), tuple(e for e in entries if e.source_file in out))


def changed(now: Sequence[Entry], then: Sequence[Entry]) -> set[str]:
    """Ingest ids whose rows came, went, or may be others: their files repeat rows of a file of which that is true.

    A file that is read again beside a new one keeps its id, but not all of its rows.
    """
    both = [*now, *then]
    files = {e.source_file for e in set(now) ^ set(then)}
    while more := {e.source_file for e in both if e.repeats & files} - files:
        files |= more
    return {e.ingest_id for e in both if e.source_file in files}


def remove_unfinished(store: Store, tables: Sequence[str], entries: Sequence[Entry]) -> None:
    """Remove rows of an ingest that died before it was entered in the ledger."""
    ids = [e.ingest_id for e in entries]
    for table in tables:
        if store.exists(table) and not store.read(table).where(~F.col("ingest_id").isin(ids)).isEmpty():
            log.info("ingest: removing rows of an unfinished ingest from %s", table)
            store.delete(table, ~F.col("ingest_id").isin(ids))


def describe(store: Store, read: int) -> dict[str, str]:
    """Lines for the summary: rows of all files ever ingested, and how many files were read now."""
    total = (
        store.read("ingested_files")
        .agg(F.count("*"), *(F.sum(c) for c in ("rows_read", "rows_kept", "rows_rejected", "rows_duplicate")))
        .first()
    )
    assert total is not None
    files, rows, kept, rejected, duplicate = (int(n or 0) for n in total)
    text = f"{rows:,} read = {kept:,} kept + {rejected:,} rejected + {duplicate:,} exact duplicates"
    return {"files": f"{files:,} ({read:,} new)", "rows": text}
