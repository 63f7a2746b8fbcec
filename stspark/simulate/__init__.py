"""A simulated shop: raw event files by day, with the truth stored beside them.

`simulate` writes what the pipeline can start from when no data are at hand, and what tests compare
with, since every effect in the data is known. Files in the directory::

    events/YYYY-MM-DD.csv.gz     raw events by UTC day, some of them dirty
    regions.csv                  the cities
    promotions.csv closures.csv  known beforehand, also for days after the last event
    truth/                       region_day.csv, parameters.json, dirty.csv
    COMPLETE.json                what was asked for, and the number of rows
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from stspark.errors import InputError
from stspark.simulate import files
from stspark.simulate.catalogue import draw_catalogue
from stspark.simulate.demand import plan
from stspark.simulate.events import EVENT_TYPES, draw_events
from stspark.simulate.parameters import parameters
from stspark.simulate.shop import Shop

__all__ = ["VERSION", "Shop", "simulate"]

VERSION = 1  # to be raised with every change of the bytes that a seed gives
COMPLETE = "COMPLETE.json"

DEFAULT_SHOP = Shop()

_log = logging.getLogger(__name__)


def simulate(directory: Path, seed: int, shop: Shop = DEFAULT_SHOP) -> None:
    """Write a simulated shop into `directory`, or do nothing if this very shop is already there.

    The files appear all at once: they are written beside the directory and renamed. A directory
    that an earlier simulation with another seed, shop or simulator version wrote is replaced.

    Args:
        directory: where the files go; its parents are made.
        seed: not negative; the same seed and shop give the same bytes.
        shop: size and span.

    Raises:
        InputError: the directory holds something that no simulation wrote.
    """
    directory = directory.resolve()
    asked = {"simulator": VERSION, "seed": seed, "shop": shop.as_json()}
    if _holds(directory, asked):
        _log.info("%s already holds this simulation", directory)
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}.draft")
    draft.mkdir()
    try:
        rows = _write(draft, seed, shop)
        files.write_json(draft / COMPLETE, asked | {"rows": rows})
        _publish(draft, directory, asked)
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # gone already unless something failed
    _log.info("wrote %s: %d rows", directory, rows["total"])


def _write(draft: Path, seed: int, shop: Shop) -> dict[str, Any]:
    """Write everything but COMPLETE.json; return the numbers of rows in the event files."""
    demand = plan(shop, seed)
    catalogue = draw_catalogue(shop.items, seed)
    events = draw_events(demand, catalogue.cents, seed)
    extra, odd = files.write_events(draft / "events", demand, catalogue, events, seed)
    files.write_known(draft, demand)
    truth = draft / "truth"
    truth.mkdir()
    files.write_truth(truth, demand)
    files.write_dirty(truth / "dirty.csv", shop, extra, odd)
    files.write_json(truth / "parameters.json", parameters(demand, seed))
    return {
        "total": len(events) + len(extra),
        "clean": len(events),
        "clean_by_type": {name: int((events.kind == code).sum()) for code, name in enumerate(EVENT_TYPES)},
        "dirty": len(extra),
        "dirty_by_reason": dict(sorted(Counter(row.reason for row in extra).items())),
    }


def _holds(directory: Path, asked: dict[str, Any]) -> bool:
    """Say whether the directory is the outcome of exactly what is asked for.

    Raises:
        InputError: it is neither empty nor the outcome of a simulation.
    """
    if not directory.exists():
        return False
    marker = directory / COMPLETE
    if marker.is_file():
        found = json.loads(marker.read_text(encoding="utf-8"))
        return all(found.get(key) == value for key, value in asked.items())
    if directory.is_file() or any(directory.iterdir()):
        problem = f"holds files that no simulation wrote (there is no {COMPLETE})"
        raise InputError(str(directory), problem, "name another directory or move them away")
    return False


def _publish(draft: Path, directory: Path, asked: dict[str, Any]) -> None:
    """Rename the draft to the directory, aside with what was there; a twin that was first wins."""
    if _holds(directory, asked):
        return
    old = draft.with_suffix(".old")
    with suppress(FileNotFoundError):  # nothing there, or a twin has just moved it
        os.rename(directory, old)
    try:
        os.rename(draft, directory)
    except OSError:
        if not _holds(directory, asked):
            raise
    if old.exists():
        shutil.rmtree(old)
