"""Erasing a person: from every table, from old versions, and the search that shows it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import functions as F

from stspark.errors import ConfigError, InputError
from stspark.privacy import digest, hashed
from stspark.store import Store
from stspark.tables import FORGOTTEN

log = logging.getLogger("stspark")

STILL_RUNNING = timedelta(days=1)
"""A run that was noted as running for longer is taken for dead."""


@dataclass(frozen=True)
class Person:
    """Someone to forget: the id as raw files have it, and its keyed hash."""

    user: str
    user_hash: str

    @classmethod
    def of(cls, user: str, key: str) -> Person:
        return cls(user, hashed(user, key))

    @property
    def word(self) -> str:
        """A pattern of the id as a whole word."""
        return rf"(?<!\w){re.escape(self.user)}(?!\w)"


def refuse_if_running(store: Store) -> None:
    """InputError while a run is noted as running: its files would be removed under its hands."""
    if "://" in store.home:
        raise ConfigError("warehouse", f"'{store.home}' cannot be searched", "run the job where it is mounted")
    if not store.exists("runs"):
        return
    since = datetime.now(UTC) - STILL_RUNNING
    row = store.read("runs").where((F.col("status") == "running") & (F.col("started") > F.lit(since))).first()
    if row is not None:
        raise InputError(
            f"table runs: {row['run_id']}", f"is running since {row['started']} UTC", "wait until no job writes"
        )


def erase(store: Store, person: Person) -> int:
    """Bar the person from coming ingests, delete their rows; return how many events there were."""
    row = [(digest(person.user_hash), date.today())]
    store.merge("forgotten", store.spark.createDataFrame(row, FORGOTTEN.schema()))
    person_row = store.spark.createDataFrame([(person.user_hash, person.word)], "user_hash string, word string")
    events = 0
    if store.exists("events"):
        events = store.read("events").where(F.col("user_id") == person.user_hash).count()
        store.delete_matches("events", person_row, "old.user_id = new.user_hash")
    if store.exists("events_rejected"):
        line = "old.reason = 'malformed_row' and old.raw_text rlike new.word"
        store.delete_matches("events_rejected", person_row, f"({line}) or contains(old.raw_text, new.user_hash)")
    return events


def search(folders: list[str], person: Person) -> tuple[int, list[str]]:
    """Look into every file: how many there are, and which hold the person's hash, or the id in a rejected line."""
    found, count = [], 0
    for path in _files(folders):
        count += 1
        if (_in_parquet if path.suffix == ".parquet" else _in_bytes)(path, person):
            found.append(str(path))
    return count, found


def _files(folders: list[str]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(p for p in Path(folder).rglob("*") if p.is_file())


def _in_bytes(path: Path, person: Person) -> bool:
    return person.user_hash.encode() in path.read_bytes()


def _in_parquet(path: Path, person: Person) -> bool:
    """Whether a text column of the file holds the hash, or a malformed line of it the id."""
    file = pq.ParquetFile(path)
    texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    for batch in file.iter_batches(columns=texts):
        for name in texts:
            if pc.any(pc.match_substring(batch[name], person.user_hash)).as_py():
                return True
        if {"raw_text", "reason"} <= set(texts):
            lines = batch.filter(pc.equal(batch["reason"], "malformed_row"))["raw_text"].to_pylist()
            if any(line is not None and re.search(person.word, line) for line in lines):
                return True
    return False
