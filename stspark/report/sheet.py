"""A sheet of a map: which part of the world it shows, and the graticule on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stspark.report.markup import Html, join
from stspark.report.plot import Axis, label, rule

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees."""
WIDTH = 760.0
CORE = 0.75
"""Share of the regions, those nearest to the middle, that get a map of their own where the others lie far off."""
FAR = 0.25
"""… namely where their part is smaller than this share of the whole map."""


@dataclass(frozen=True)
class Sheet:
    """A map: its box in degrees and the axes that draw it (plate carrée, true to scale at its middle latitude)."""

    box: Box
    x: Axis
    y: Axis

    @property
    def height(self) -> float:
        return self.y.start


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


def sheet_of(box: Box) -> Sheet:
    """The map of a box, WIDTH pixels wide."""
    west, south, east, north = box
    squeeze = max(math.cos(math.radians((south + north) / 2)), 0.2)
    height = WIDTH * (north - south) / ((east - west) * squeeze)
    return Sheet(box, Axis(west, east, 0, WIDTH), Axis(south, north, height, 0))


def draw_graticule(sheet: Sheet) -> Html:
    """Meridians and parallels with their degrees."""
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
