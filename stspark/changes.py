"""What the region-by-day tables were made from, noted in their commits, and which days' rows have changed since."""

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


def of_tables(store: Store) -> Basis | None:
    """What region_day was made from; None where it does not say, or where the tables beside it say otherwise.

    They do after a build that ended between its commits: regions and region_edges are as its recipe wants them, the
    calendar, which grows with the rows, as its whole basis. A table that never had a row has no commit to say it in.
    """
    found = _noted(store, "region_day")
    if found is None or _noted(store, "calendar") != found:
        return None
    beside = [_noted(store, name) for name in ("regions", "region_edges")]
    return found if all(other is None or other.recipe == found.recipe for other in beside) else None


def _noted(store: Store, name: str) -> Basis | None:
    for note in store.notes(name):
        try:
            return Basis(**json.loads(note)["basis"])
        except (ValueError, KeyError, TypeError):
            continue
    return None


def touched_days(store: Store, table: str, before: Basis, now: Basis) -> list[date] | None:
    """Days on which rows came or went between two bases; None where that cannot be told any more."""
    days: set[date] = set()
    try:
        ids = ledger.changed(*(ledger.read_ledger(store, basis.ledger) for basis in (now, before)))
        rows = [store.at(table, basis.rows) for basis in (now, before)] if ids else []
        of_ids = [frame.where(F.col("ingest_id").isin(sorted(ids))).select("date").distinct() for frame in rows]
        for found in at_once(store.spark, *(frame.collect for frame in of_ids)):
            days |= {row[0] for row in found}
    except (PySparkException, Gone) as error:
        log.info("features: what region_day was made from cannot be read any more (%s)", str(error).split("\n")[0])
        return None
    return sorted(days)
