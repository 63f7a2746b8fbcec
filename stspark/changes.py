"""What region_day was made from, noted in its own commit, and which days' rows have changed since."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import date

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from stspark.at_once import at_once
from stspark.ingest import ledger
from stspark.store import Gone, Store

log = logging.getLogger("stspark")


@dataclass(frozen=True)
class Basis:
    """What region_day was made from: a recipe (see stspark.recipe) and versions of the rows and of the ledger."""

    recipe: str
    rows: int
    ledger: int

    def note(self) -> str:
        """As it stands in the commit."""
        return json.dumps({"basis": asdict(self)})


def present(store: Store, table: str, recipe: str) -> Basis:
    """What region_day would be made from now."""
    return Basis(recipe, store.version(table), store.version("ingested_files"))


def of_region_day(store: Store) -> Basis | None:
    """What region_day was made from; None where it is not there or does not say."""
    for note in store.notes("region_day"):
        try:
            return Basis(**json.loads(note)["basis"])
        except (ValueError, KeyError, TypeError):
            continue
    return None


def touched_days(store: Store, table: str, before: Basis) -> list[date] | None:
    """Days on which rows came or went since `before`; None where that cannot be told any more."""
    days: set[date] = set()
    try:
        now, then = ledger.read_ledger(store), ledger.read_ledger(store, before.ledger)
        ids = ledger.changed(now, then)
        asked = [
            store.at(table, version).where(F.col("ingest_id").isin(sorted(theirs))).select("date").distinct()
            for version, entries in ((store.version(table), now), (before.rows, then))
            if (theirs := ids & {entry.ingest_id for entry in entries})
        ]
        for rows in at_once(store.spark, *(frame.collect for frame in asked)):
            days |= {row[0] for row in rows}
    except (PySparkException, Gone) as error:
        log.info("features: what region_day was made from cannot be read any more (%s)", type(error).__name__)
        return None
    return sorted(days)
