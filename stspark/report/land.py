"""The outline of the land under a map: Natural Earth 1:50m (public domain, through world-atlas 2.0.2), simplified.

land.json holds one ring per line in tenths of a degree: x, y of its first point, then steps. Points nearer than 0.15
degrees to the line that they are left out of, and islands smaller than 0.2 square degrees, are not in it.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from itertools import accumulate

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


@cache
def rings() -> tuple[tuple[Point, ...], ...]:
    """All rings as (longitude, latitude) in degrees."""
    raw = json.loads(files("stspark.report").joinpath("land.json").read_text(encoding="utf-8"))
    return tuple(
        tuple((x / 10, y / 10) for x, y in zip(accumulate(ring[0::2]), accumulate(ring[1::2]), strict=True))
        for ring in raw
    )


def land_within(box: Box) -> list[list[Point]]:
    """The rings cut to a box (Sutherland & Hodgman 1974)."""
    west, south, east, north = box
    pieces = []
    for ring in rings():
        piece = list(ring)
        for axis, bound, sign in ((0, west, 1), (0, east, -1), (1, south, 1), (1, north, -1)):
            piece = _cut(piece, axis, bound, sign)
        if len(piece) > 2:
            pieces.append(piece)
    return pieces


def _cut(ring: list[Point], axis: int, bound: float, sign: int) -> list[Point]:
    """The part of a ring on one side of a line: coordinate `axis` at least (sign 1) or at most (-1) `bound`."""
    kept: list[Point] = []
    for here, there in zip(ring, ring[1:] + ring[:1], strict=True):
        inside, next_inside = sign * (here[axis] - bound) >= 0, sign * (there[axis] - bound) >= 0
        if inside:
            kept.append(here)
        if inside != next_inside:
            share = (bound - here[axis]) / (there[axis] - here[axis])
            kept.append((here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1])))
    return kept
