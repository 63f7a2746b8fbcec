"""The regions on a map: discs by volume and colour, and the names that there is room for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pandas as pd

from stspark.report.colours import diverging
from stspark.report.data import rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.plot import label
from stspark.report.sheet import WIDTH, Box, Sheet
from stspark.report.verdict import gain
from stspark.report.words import error, number, signed

CHANGE_REACH, GAIN_REACH = 0.3, 0.5
"""Where the colour scales end: a change of 30%, an error half as large."""
LABELS = 40
LARGEST = 20.0
"""Radius of the largest region's disc, pixels."""
APART = 14.0
"""Pixels by which regions on one spot are moved off it."""
LETTER, WIDE_FROM = 7.2, 0x2E7F
"""Width of a letter, about; letters from here on (CJK) are twice as wide."""
ANCHORS: dict[str, Callable[[Box], float]] = {
    "start": lambda spot: spot[0], "end": lambda spot: spot[2], "middle": lambda spot: (spot[0] + spot[2]) / 2,
}  # fmt: skip
"""Where in a name's box its text is anchored."""
Disc = tuple[float, float, float]
"""x, y and radius in pixels."""


def draw_places(regions: pd.DataFrame, largest: float, sheet: Sheet) -> Html:
    """A disc per region, its area by volume, small ones on top; then the names of the largest where there is room."""
    rows = rows_of(regions)
    discs = list(zip(rows, fanned([_disc(row, largest, sheet) for row in rows]), strict=True))
    taken = [(x - r, y - r, x + r, y + r) for _, (x, y, r) in discs]
    names = []
    for row, disc in discs[:LABELS]:
        for anchor, spot in _spots(row.name, disc):
            if not any(_overlap(spot, other) for other in taken) and spot[0] > 0 and spot[2] < WIDTH:
                names.append(label(ANCHORS[anchor](spot), spot[1] + 11, row.name, "name", anchor))
                taken.append(spot)
                break
    return join([*(_circle(row, disc) for row, disc in discs), *names])


def _disc(row: Any, largest: float, sheet: Sheet) -> Disc:
    share = max(row.volume, 0.0) / largest if largest > 0 else 0.1
    return sheet.x(row.lng), sheet.y(row.lat), max(3.5, LARGEST * math.sqrt(share))


def fanned(discs: list[Disc]) -> list[Disc]:
    """The discs, those on the very same spot moved around it so that each can be seen and pointed at."""
    spots = [(round(x), round(y)) for x, y, _ in discs]
    among, so_far = Counter(spots), Counter[tuple[int, int]]()
    moved = []
    for spot, (x, y, r) in zip(spots, discs, strict=True):
        turn = 2 * math.pi * so_far[spot] / among[spot]
        away = APART if among[spot] > 1 else 0.0
        moved.append((x + away * math.cos(turn), y + away * math.sin(turn), r))
        so_far[spot] += 1
    return moved


def _circle(row: Any, disc: Disc) -> Html:
    colours = f"--change:{diverging(row.change, CHANGE_REACH)};--gain:{diverging(-_gain(row), GAIN_REACH)}"
    place = {"cx": disc[0], "cy": disc[1], "r": disc[2]}
    return tag("circle", **place, class_="place", style=colours, data_tip=_tip(row), data_pick=str(row.place))


def _spots(name: str, disc: Disc) -> list[tuple[str, Box]]:
    """Where a name may stand, by its anchor: right of the disc, left of it, below or above."""
    x, y, r = disc
    wide = LETTER * sum(2 if ord(c) > WIDE_FROM else 1 for c in name)
    return [
        ("start", (x + r + 3, y - 7, x + r + 3 + wide, y + 7)),
        ("end", (x - r - 3 - wide, y - 7, x - r - 3, y + 7)),
        ("middle", (x - wide / 2, y + r + 1, x + wide / 2, y + r + 15)),
        ("middle", (x - wide / 2, y - r - 15, x + wide / 2, y - r - 1)),
    ]


def _overlap(a: Box, b: Box) -> bool:
    return a[2] > b[0] and a[0] < b[2] and a[3] > b[1] and a[1] < b[3]


def _gain(row: Any) -> float:
    return gain(row.wape, row.wape_naive)


def _tip(row: Any) -> str:
    return "\n".join(
        [
            row.name,
            f"last 8 weeks {number(row.volume)}",
            f"coming days {number(row.next_total)}",
            f"change {signed(row.change)}",
            f"error {error(row.wape)}, naive {error(row.wape_naive)}",
        ]
    )
