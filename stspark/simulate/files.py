"""Write the simulated shop as files: event files by UTC day, the known tables, and the truth."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from stspark.simulate.catalogue import Catalogue
from stspark.simulate.demand import COMPONENTS, Demand, expected_returns
from stspark.simulate.dirt import COLUMNS, KEPT, ExtraRow, Oddity, make_odd, plant
from stspark.simulate.events import DAY_SECONDS, EVENT_TYPES, NOTHING, ORDER, Events
from stspark.simulate.shop import COUNTRY, TIMEZONE, IntArray, Shop

BOM_AT, CRLF_AT = 1 / 3, 1 / 2  # positions of the two odd files, as fractions of the files


def write_events(
    directory: Path, demand: Demand, catalogue: Catalogue, events: Events, seed: int
) -> tuple[list[ExtraRow], list[Oddity]]:
    """Write events/YYYY-MM-DD.csv.gz for every UTC day that a local day of the shop touches.

    A UTC day holds the end of one local day and the start of the next, so the first file is named
    after the day before the shop's start and has only that day's last eight hours.

    Returns:
        The dirty rows and the oddities that were planted.
    """
    shop = demand.shop
    seconds = events.utc_seconds(shop)
    first_day = (np.datetime64(shop.start, "D") - 1).astype(int)
    file_of_row = seconds // DAY_SECONDS - first_day
    columns, odd = make_odd(_fields(shop, catalogue, events, seconds), file_of_row, shop, seed)
    orders = np.flatnonzero(events.kind == ORDER)
    extra = plant(columns, file_of_row, orders, shop, seed)
    bounds = np.searchsorted(file_of_row, np.arange(shop.span + 2))
    lines = list(map(",".join, zip(*columns, strict=True)))
    files = [lines[start:stop] for start, stop in pairwise(bounds)]
    rng = np.random.default_rng([seed, 5])
    for dirty in extra:
        file = files[dirty.file]
        file.insert(int(rng.integers(0, len(file) + 1)), dirty.line)
    return extra, odd + _write_files(directory, shop, files)


def _write_files(directory: Path, shop: Shop, files: Sequence[Sequence[str]]) -> list[Oddity]:
    """Write lines under a header, one file per UTC day; return the files with odd bytes."""
    bom, crlf = (int(len(files) * at) if shop.dirty_share else NOTHING for at in (BOM_AT, CRLF_AT))
    directory.mkdir()
    for index, lines in enumerate(files):
        end = "\r\n" if index == crlf else "\n"
        text = end.join([",".join(COLUMNS), *lines, ""])
        data = text.encode("utf-8-sig" if index == bom else "utf-8")
        path = directory / file_name(shop, index)
        path.write_bytes(gzip.compress(data, compresslevel=1, mtime=0))
    whole = ((bom, "bom_file"), (crlf, "crlf_file"))
    return [Oddity(index, kind) for index, kind in whole if index != NOTHING]


def file_name(shop: Shop, index: int) -> str:
    """Name of the event file of the UTC day `index` days after the one before the shop's start."""
    return f"{shop.start + timedelta(index - 1)}.csv.gz"


def _fields(shop: Shop, catalogue: Catalogue, events: Events, seconds: IntArray) -> list[list[str]]:
    """Return the events as CSV fields: one list per name in COLUMNS."""
    times = np.datetime_as_string(seconds.astype("datetime64[s]"), unit="s").tolist()
    orders = [f"o{index:07d}" for index in range(int(events.order.max()) + 1)]
    quantities = [str(index) for index in range(int(events.quantity.max()) + 1)]
    cents, price = np.unique(events.cents, return_inverse=True)
    return [
        [f"e{index:08d}" for index in range(len(events))],
        [f"{time}Z" for time in times],
        _look_up(EVENT_TYPES, events.kind),
        _look_up([city.region for city in shop.cities], events.region),
        _look_up([f"u{index:05d}" for index in range(shop.users)], events.user),
        _look_up([*orders, ""], events.order),  # NOTHING, -1, takes the empty last entry
        _look_up([_quoted(name) for name in catalogue.names], events.item),
        _look_up(catalogue.categories, events.item),
        _look_up([*quantities, ""], events.quantity),
        _look_up([f"{value / 100:.2f}" for value in cents.tolist()], price),
    ]


def _look_up(words: Sequence[str], codes: IntArray) -> list[str]:
    """Translate codes to words; -1 is the last word."""
    found: list[str] = np.array(words, dtype=object)[codes].tolist()
    return found


def _quoted(text: str) -> str:
    """Quote one CSV field if it must be (RFC 4180)."""
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text


def write_known(directory: Path, demand: Demand) -> None:
    """Write regions.csv, promotions.csv and closures.csv, the latter two up to the horizon."""
    shop, days = demand.shop, demand.shop.days
    regions = [(city.region, city.name, COUNTRY, city.lat, city.lng, TIMEZONE, city.parent) for city in shop.cities]
    header = ("region", "name", "country", "lat", "lng", "timezone", "parent")
    _write_csv(directory / "regions.csv", header, regions)
    slugs = [city.region for city in shop.cities]
    promotions = (
        (slugs[region], days[day], f"{demand.discount[region, day]:g}")
        for region, day in np.argwhere(demand.discount > 0)
    )
    _write_csv(directory / "promotions.csv", ("region", "date", "promotion"), promotions)
    closures = ((slugs[region], days[day]) for region, day in np.argwhere(demand.closed))
    _write_csv(directory / "closures.csv", ("region", "date"), closures)


def write_truth(directory: Path, demand: Demand) -> None:
    """Write region_day.csv: one row per region and local day, from a late city's opening on.

    expected_gross_units is the product of the components, or 0 where closed is 1; expected_units is
    that less expected_return_units. All are expectations given the latent spill-over drawn.
    """
    shop, days = demand.shop, demand.shop.days
    gross, back = demand.gross_units, expected_returns(demand)
    columns = [gross - back, gross, back, *(demand.components[name] for name in COMPONENTS)]
    cube = np.stack(columns, axis=-1)  # [R, T, column]
    rows = (
        (
            shop.cities[region].region,
            days[day],
            *(f"{value:.8g}" for value in cube[region, day].tolist()),
            int(demand.closed[region, day]),
        )
        for region, day in np.argwhere(demand.opened[:, : shop.span])
    )
    expected = ("expected_units", "expected_gross_units", "expected_return_units")
    header = ("region", "date", *expected, *COMPONENTS, "closed")
    _write_csv(directory / "region_day.csv", header, rows)


def write_dirty(path: Path, shop: Shop, extra: Sequence[ExtraRow], odd: Sequence[Oddity]) -> None:
    """Write how many rows of each kind lie in each file; oddities have the reason `kept`."""
    counts = Counter((row.file, row.kind, row.reason) for row in extra)
    counts.update((row.file, row.kind, KEPT) for row in odd)
    rows = ((file_name(shop, file), kind, reason, count) for (file, kind, reason), count in sorted(counts.items()))
    _write_csv(path, ("file", "kind", "expected_reason", "count"), rows)


def write_json(path: Path, content: object) -> None:
    """Write indented JSON with a line end at its end."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
