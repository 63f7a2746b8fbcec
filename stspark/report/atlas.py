"""The map of regions: where they lie, who neighbours whom, how large they are and how they change."""

from __future__ import annotations

import pandas as pd

from stspark.report.colours import diverging
from stspark.report.data import ReportData, rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.places import CHANGE_REACH, GAIN_REACH, draw_places
from stspark.report.plot import picture, rule
from stspark.report.sheet import WIDTH, Box, Sheet, boxes, draw_graticule, sheet_of
from stspark.report.words import listing, number, signed

MOVERS, STILL = 6, 0.005
"""Rows of the largest rises and falls; a change up to this share is none."""


def atlas(data: ReportData) -> Html:
    """One map, or two where most regions crowd in one corner; then the regions without a place."""
    regions = data.regions.assign(place=range(len(data.regions)))
    placed = regions[regions["lat"].notna() & regions["lng"].notna()]
    unplaced = list(regions.loc[~regions.index.isin(placed.index), "name"])
    missing = (
        tag("p", f"Without a place, so not on the map: {listing(unplaced, 60)}.", class_="muted") if unplaced else None
    )
    if placed.empty:
        return tag("div", tag("p", "No region has a place, so there is no map."), missing, class_="card")
    maps = [tag("div", _map(data, placed, box), class_="scroll") for box in boxes(placed)]
    dropped = data.totals.regions - len(regions)
    more = tag("p", f"{dropped:,} smaller regions are not drawn.", class_="muted") if dropped > 0 else None
    drawn = tag("div", *maps, _keys(), more, missing)
    return tag(
        "div",
        _choice(data.facts.before),
        tag("div", drawn, _movers(regions), class_="atlas"),
        class_="card show-change",
        id="atlas",
    )


def _map(data: ReportData, placed: pd.DataFrame, box: Box) -> Html:
    sheet = sheet_of(box)
    inside = placed[placed["lng"].between(box[0], box[2]) & placed["lat"].between(box[1], box[3])]
    return picture(
        WIDTH,
        sheet.height,
        "Map of the regions",
        draw_graticule(sheet),
        _edges(data, placed, sheet),
        draw_places(inside, float(placed["volume"].max()), sheet),
        class_="map",
    )


def _edges(data: ReportData, placed: pd.DataFrame, sheet: Sheet) -> Html:
    """Each neighbour pair once."""
    where = {row.region: (sheet.x(row.lng), sheet.y(row.lat)) for row in rows_of(placed)}
    pairs = {tuple(sorted(pair)) for pair in zip(data.edges["region"], data.edges["neighbour"], strict=True)}
    return join(rule(*where[a], *where[b], "edge") for a, b in sorted(pairs) if a in where and b in where)


def _movers(regions: pd.DataFrame) -> Html:
    """The regions whose forecast rises and falls most."""
    ranked = regions[regions["change"].notna()].sort_values("change", ascending=False, kind="stable")
    rises, falls = ranked[ranked["change"] > STILL].head(MOVERS), ranked[ranked["change"] < -STILL].tail(MOVERS)[::-1]
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


def _choice(before: str) -> Html:
    return tag(
        "p",
        "Colour: ",
        tag(
            "label",
            tag("input", type="radio", name="colour", value="change", checked=True),
            f" change of the forecast on {before}",
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
