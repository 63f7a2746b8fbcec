"""The map of regions: where they lie, who neighbours whom, how large they are and how they change."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stspark.report.colours import diverging
from stspark.report.data import ReportData, rows_of
from stspark.report.land import Box, land_within
from stspark.report.markup import Html, join, tag
from stspark.report.plot import Axis, label, picture, rule
from stspark.report.verdict import gain
from stspark.report.words import number, percent, signed

WIDTH = 760.0
CHANGE_REACH, GAIN_REACH = 0.3, 0.5
"""Where the colour scales end: a change of 30%, an error half as large."""
CORE = 0.75
"""Share of the regions, those nearest to the middle, that get a map of their own where the others lie far off."""
FAR = 0.25
"""… namely where their part is smaller than this share of the whole map."""
LABELS = 40
LARGEST = 20.0
"""Radius of the largest region's disc, pixels."""
LETTER, WIDE_FROM = 7.2, 0x2E7F
"""Width of a letter, about; letters from here on (CJK) are twice as wide."""
MOVERS = 6


ANCHORS: dict[str, Callable[[Box], float]] = {
    "start": lambda spot: spot[0], "end": lambda spot: spot[2], "middle": lambda spot: (spot[0] + spot[2]) / 2,
}  # fmt: skip
"""Where in a name's box its text is anchored."""
Disc = tuple[float, float, float]
"""x, y and radius in pixels."""


@dataclass(frozen=True)
class Sheet:
    """A map: its box in degrees and the axes that draw it (plate carrée, true to scale at its middle latitude)."""

    box: Box
    x: Axis
    y: Axis

    @property
    def height(self) -> float:
        return self.y.start


def atlas(data: ReportData) -> Html:
    """One map, or two where most regions crowd in one corner; then the regions without a place."""
    regions = data.regions.assign(place=range(len(data.regions)))
    placed = regions[regions["lat"].notna() & regions["lng"].notna()]
    unplaced = list(regions.loc[~regions.index.isin(placed.index), "name"])
    missing = (
        tag("p", f"Without a place, so not on the map: {', '.join(unplaced)}.", class_="muted") if unplaced else None
    )
    if placed.empty:
        return tag("div", tag("p", "No region has a place, so there is no map."), missing, class_="card")
    maps = [tag("div", _map(data, placed, box), class_="scroll") for box in boxes(placed)]
    dropped = data.totals.regions - len(regions)
    more = tag("p", f"{dropped:,} smaller regions are not drawn.", class_="muted") if dropped > 0 else None
    drawn = tag("div", *maps, _keys(), more, missing)
    return tag(
        "div", _choice(), tag("div", drawn, _movers(regions), class_="atlas"), class_="card show-change", id="atlas"
    )


def boxes(placed: pd.DataFrame) -> list[Box]:
    """The boxes of the maps to draw: the crowd first where there is one, then everything."""
    lng, lat = placed["lng"].to_numpy(float), placed["lat"].to_numpy(float)
    whole = _box(lng, lat)
    away = np.hypot(lng - np.median(lng), lat - np.median(lat))
    near = away <= np.quantile(away, CORE)
    core = _box(lng[near], lat[near])
    crowded = len(placed) >= 8 and _area(core) < FAR * _area(whole)
    return [core, whole] if crowded else [whole]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _box(lng: Any, lat: Any) -> Box:
    """A box around the places with a margin, not much flatter or steeper than 2:1."""
    middle, across, up = (lng.min() + lng.max()) / 2, float(np.ptp(lng)), float(np.ptp(lat))
    squeeze = max(math.cos(math.radians(float(lat.min() + lat.max()) / 2)), 0.2)
    up = max(up * 1.24, across * squeeze * 1.16 / 2.1, 1.0)
    across = max(across * 1.16, up / squeeze * 1.35)
    centre = (lat.min() + lat.max()) / 2
    south, north = max(float(centre - up / 2), -90.0), min(float(centre + up / 2), 90.0)
    return max(float(middle - across / 2), -180.0), south, min(float(middle + across / 2), 180.0), north


def _sheet(box: Box) -> Sheet:
    west, south, east, north = box
    squeeze = max(math.cos(math.radians((south + north) / 2)), 0.2)
    height = WIDTH * (north - south) / ((east - west) * squeeze)
    return Sheet(box, Axis(west, east, 0, WIDTH), Axis(south, north, height, 0))


def _map(data: ReportData, placed: pd.DataFrame, box: Box) -> Html:
    sheet = _sheet(box)
    inside = placed[placed["lng"].between(box[0], box[2]) & placed["lat"].between(box[1], box[3])]
    return picture(
        WIDTH,
        sheet.height,
        "Map of the regions",
        _land(sheet),
        _graticule(sheet),
        _edges(data, placed, sheet),
        _places(inside, float(placed["volume"].max()), sheet),
        class_="map",
    )


def _land(sheet: Sheet) -> Html:
    pieces = (
        "M" + "L".join(f"{sheet.x(x):.0f},{sheet.y(y):.0f}" for x, y in ring) + "Z" for ring in land_within(sheet.box)
    )
    return tag("path", d="".join(pieces), class_="land")


def _graticule(sheet: Sheet) -> Html:
    parts = []
    for value in [v for v in sheet.x.ticks(6)[1:] if sheet.x(v) < WIDTH - 36]:
        parts += [
            rule(sheet.x(value), 0, sheet.x(value), sheet.height, "graticule"),
            label(sheet.x(value) + 3, sheet.height - 4, _degrees(value, "E", "W")),
        ]
    for value in sheet.y.ticks(4):
        parts += [
            rule(0, sheet.y(value), WIDTH, sheet.y(value), "graticule"),
            label(3, sheet.y(value) - 3, _degrees(value, "N", "S")),
        ]
    return join(parts)


def _degrees(value: float, above: str, below: str) -> str:
    return f"{abs(value):g}°{above if value > 0 else below if value < 0 else ''}"


def _edges(data: ReportData, placed: pd.DataFrame, sheet: Sheet) -> Html:
    """Each neighbour pair once."""
    where = {row.region: (sheet.x(row.lng), sheet.y(row.lat)) for row in rows_of(placed)}
    pairs = {tuple(sorted(pair)) for pair in zip(data.edges["region"], data.edges["neighbour"], strict=True)}
    return join(rule(*where[a], *where[b], "edge") for a, b in sorted(pairs) if a in where and b in where)


def _places(regions: pd.DataFrame, largest: float, sheet: Sheet) -> Html:
    """A disc per region, its area by volume, small ones on top; then the names of the largest where there is room."""
    discs = [(row, _disc(row, largest, sheet)) for row in rows_of(regions)]
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
            f"on the week before {signed(row.change)}",
            f"error {percent(row.wape)}, naive {percent(row.wape_naive)}",
        ]
    )


def _movers(regions: pd.DataFrame) -> Html:
    """The regions whose forecast rises and falls most."""
    ranked = regions[regions["change"].notna()].sort_values("change", ascending=False, kind="stable")
    rises, falls = ranked[ranked["change"] > 0].head(MOVERS), ranked[ranked["change"] < 0].tail(MOVERS)[::-1]
    return tag(
        "div",
        *(_ranking(title, rows) for title, rows in (("Largest rises", rises), ("Largest falls", falls)) if len(rows)),
    )


def _ranking(title: str, rows: pd.DataFrame) -> Html:
    lines = [
        tag(
            "tr",
            tag("td", row.name),
            tag("td", number(row.next_total), class_="num muted"),
            tag("td", signed(row.change), class_="num"),
        )
        for row in rows_of(rows)
    ]
    head = tag("tr", tag("th", title), tag("th", "coming days", class_="num"), tag("th", "change", class_="num"))
    return tag("table", tag("thead", head), tag("tbody", *lines), class_="plain")


def _choice() -> Html:
    return tag(
        "p",
        "Colour: ",
        tag(
            "label",
            tag("input", type="radio", name="colour", value="change", checked=True),
            " change of the forecast on the week before",
        ),
        " ",
        tag("label", tag("input", type="radio", name="colour", value="gain"), " error against the seasonal naive"),
        class_="chooser",
    )


def _keys() -> Html:
    """Both colour scales (one is shown), and what size and lines mean."""
    return tag(
        "p",
        _scale("key-change", "−30% or less", "as before", "+30% or more", CHANGE_REACH),
        _scale("key-gain", "half the naive's error", "the same", "half as much again", GAIN_REACH),
        tag("span", "Area: volume of the last 8 weeks. Lines: neighbours. Hollow: not known.", class_="muted"),
        class_="legend",
    )


def _scale(class_: str, low: str, middle: str, high: str, reach: float) -> Html:
    stops = ",".join(diverging(reach * k / 4, reach) for k in range(-4, 5))
    ramp = tag("i", class_="ramp", style=f"background:linear-gradient(90deg,{stops})")
    return tag("span", low, ramp, high, f" (grey: {middle})", class_=class_)
