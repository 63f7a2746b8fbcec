"""What goes wrong in real files: corrupted copies of rows, duplicates, and oddities to be kept.

Every dirty row is an addition with an event_id of its own (duplicates excepted), so the clean rows
keep the truth exactly. Oddities change clean rows in ways that cleaning must undo, not reject.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from stspark.simulate.shop import IntArray, Shop

COLUMNS = (
    "event_id", "event_time", "event_type", "region", "user_id",
    "order_id", "item", "category", "quantity", "price",
)  # fmt: skip

KEPT = "kept"  # expected_reason of an oddity
DUPLICATE = "duplicate"  # expected_reason of an exact copy
ODDITY_SHARE = 0.0001  # of clean rows, for each oddity


class Kind(NamedTuple):
    """One way to spoil a row: `spoil(fields, turn)` returns the line; `turn` counts its uses."""

    name: str
    reason: str
    spoil: Callable[[list[str], int], str]


@dataclass(frozen=True)
class ExtraRow:
    """A dirty line and the index of the file in which it is planted."""

    file: int
    kind: str
    reason: str
    line: str


class Oddity(NamedTuple):
    """A clean row (or a whole file) that looks strange and must be kept."""

    file: int
    kind: str


def spoilers(shop: Shop) -> tuple[Kind, ...]:
    """Return the kinds of corrupted rows, with the reason that ingest must give to each."""
    late = tuple(f"{shop.end + timedelta(days)}T10:00:00Z" for days in (45, 400))
    return (
        Kind("bad_time", "bad_time", _put("event_time", "yesterday", "2024-13-45T25:61:00Z")),
        Kind("text_quantity", "bad_number", _put("quantity", "abc", "two")),
        Kind("text_price", "bad_number", _put("price", '"1,5x"', "free")),
        Kind("empty_region", "missing_value", _put("region", "")),
        Kind("empty_event_type", "missing_value", _put("event_type", "")),
        Kind("empty_time", "missing_value", _put("event_time", "")),
        Kind("unknown_region", "unknown_region", _put("region", "atlantis")),
        Kind("negative_price", "price_range", _put("price", "-19.90")),
        Kind("huge_price", "price_range", _put("price", "9999999.00")),
        Kind("zero_quantity", "quantity_range", _put("quantity", "0")),
        Kind("huge_quantity", "quantity_range", _put("quantity", "9999")),
        Kind("unknown_event_type", "event_type_known", _put("event_type", "purchase??")),
        Kind("truncated_line", "malformed_row", lambda row, turn: ",".join(row[: 3 + turn % 6])),
        Kind("extra_fields", "malformed_row", lambda row, _: ",".join([*row, "oops", "1"])),
        Kind("year_1970", "out_of_time", _put("event_time", "1970-01-01T00:00:00Z")),
        Kind("after_last_file", "out_of_time", _put("event_time", *late)),
    )


def _put(column: str, *values: str) -> Callable[[list[str], int], str]:
    """Spoil one field, taking the values in turn."""
    position = COLUMNS.index(column)

    def spoil(row: list[str], turn: int) -> str:
        spoiled = [*row]
        spoiled[position] = values[turn % len(values)]
        return ",".join(spoiled)

    return spoil


def plant(
    columns: Sequence[list[str]], file_of_row: IntArray, orders: IntArray, shop: Shop, seed: int
) -> list[ExtraRow]:
    """Make the dirty rows from order rows, `dirty_share` of all rows, every kind equally often.

    Args:
        columns: one list of CSV fields per name in COLUMNS, each as long as there are clean rows.
        file_of_row: index of each row's file, ascending, [row].
        orders: positions of the order rows; each is copied once at most.
        shop: gives the share (0 plants nothing) and the last day.
        seed: of the whole simulation.

    Returns:
        The dirty rows. A kind has two rows at least, however short the shop.
    """
    if shop.dirty_share == 0:
        return []
    rng = np.random.default_rng([seed, 3])
    kinds = spoilers(shop)
    each = max(2, round(shop.dirty_share * len(file_of_row) / (len(kinds) + 2)))
    last_file = int(file_of_row[-1])
    early = orders[file_of_row[orders] < last_file]  # so that a next day's file exists
    bases = rng.choice(early, size=(len(kinds) + 2, each), replace=False)
    extra = []
    for index, kind in enumerate(kinds):
        for turn, row in enumerate(bases[index]):
            fields = [column[row] for column in columns]
            fields[0] = f"d{index * each + turn:08d}"
            line = kind.spoil(fields, turn)
            extra.append(ExtraRow(int(file_of_row[row]), kind.name, kind.reason, line))
    for index, (name, shift) in enumerate((("duplicate_same_file", 0), ("duplicate_next_file", 1))):
        for row in bases[len(kinds) + index]:
            line = ",".join(column[row] for column in columns)
            extra.append(ExtraRow(int(file_of_row[row]) + shift, name, DUPLICATE, line))
    return extra


def make_odd(
    columns: Sequence[list[str]], file_of_row: IntArray, shop: Shop, seed: int
) -> tuple[list[list[str]], list[Oddity]]:
    """Pad some region names with spaces and write some event types in capitals.

    Returns:
        New columns, and one record per changed row: none where `dirty_share` is 0.
    """
    odd = [*map(list, columns)]
    if shop.dirty_share == 0:
        return odd, []
    rng = np.random.default_rng([seed, 4])
    each = max(2, round(ODDITY_SHARE * len(file_of_row)))
    padded, upper = rng.choice(len(file_of_row), size=(2, each), replace=False).tolist()
    region, event_type = COLUMNS.index("region"), COLUMNS.index("event_type")
    for row in padded:
        odd[region][row] = f" {odd[region][row]}  "
    for row in upper:
        odd[event_type][row] = odd[event_type][row].upper()
    changed = (("padded_region", padded), ("upper_event_type", upper))
    return odd, [Oddity(int(file_of_row[row]), kind) for kind, rows in changed for row in rows]
