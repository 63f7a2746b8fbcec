"""Regions made from latitude and longitude: hexagons (H3) or squares. A cell's id tells its place."""

from __future__ import annotations

import math
import re

import h3
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

KM_PER_DEGREE = 111.195
"""Of latitude, on a sphere of radius 6371.0088 km."""
SQUARE = re.compile(r"sq([\d.]+)_(-?\d+)_(-?\d+)")


def hexagon(lat: float, lng: float, resolution: int) -> str | None:
    """The H3 cell of a place (resolution 3: 12,393 km², 5: 253 km², 7: 5.2 km²); None for no place.

    >>> hexagon(-23.55, -46.63, 3)
    '83a810fffffffff'
    """
    return str(h3.latlng_to_cell(lat, lng, resolution)) if _is_place(lat, lng) else None


def square(lat: float, lng: float, km: float) -> str | None:
    """The square of about `km` x `km`: rows are bands of equal height, each cut into whole columns of its own width.

    >>> square(-23.55, -46.63, 100)
    'sq100_-27_136'
    """
    if not _is_place(lat, lng):
        return None
    row = math.floor(lat * KM_PER_DEGREE / km)
    column = min(math.floor((lng + 180) / 360 * _columns(row, km)), _columns(row, km) - 1)
    return f"sq{km:g}_{row}_{column}"


def _columns(row: int, km: float) -> int:
    """Cells around the globe in a row, at its middle latitude."""
    latitude = min(abs((row + 0.5) * km / KM_PER_DEGREE), 89.9)
    return max(1, round(360 * KM_PER_DEGREE * math.cos(math.radians(latitude)) / km))


def centre(cell: str) -> tuple[float, float]:
    """Latitude and longitude of a cell's centre; ValueError for another text."""
    found = SQUARE.fullmatch(cell)
    if found is not None:
        km, row, column = float(found[1]), int(found[2]), int(found[3])
        return (row + 0.5) * km / KM_PER_DEGREE, (column + 0.5) / _columns(row, km) * 360 - 180
    if not h3.is_valid_cell(cell):
        raise ValueError(f"'{cell}' is no cell")
    lat, lng = h3.cell_to_latlng(cell)
    return float(lat), float(lng)


def parent(cell: str) -> str | None:
    """The hexagon two sizes up that holds this one, None for squares and the largest."""
    if SQUARE.fullmatch(cell) or h3.get_resolution(cell) < 2:
        return None
    return str(h3.cell_to_parent(cell, h3.get_resolution(cell) - 2))


def table(cells: pd.Series[str]) -> pd.DataFrame:
    """region, name, lat, lng, parent of these cells."""
    places = [centre(cell) for cell in cells]
    return pd.DataFrame(
        {
            "region": list(cells),
            "name": [f"cell at {lat:.2f}, {lng:.2f}" for lat, lng in places],
            "lat": [lat for lat, _ in places],
            "lng": [lng for _, lng in places],
            "parent": [parent(cell) for cell in cells],
        }
    )


def register(spark: SparkSession) -> None:
    """Make hexagon_cell(lat, lng, resolution) and square_cell(lat, lng, km) known to this session's SQL."""
    spark.udf.register("hexagon_cell", F.udf(hexagon_of_text, "string", useArrow=False))
    spark.udf.register("square_cell", F.udf(square_of_text, "string", useArrow=False))


def hexagon_of_text(lat: object, lng: object, resolution: object) -> str | None:
    """`hexagon` of what a raw column holds; None for what is no number."""
    try:
        return hexagon(float(str(lat)), float(str(lng)), int(str(resolution)))
    except ValueError:
        return None


def square_of_text(lat: object, lng: object, km: object) -> str | None:
    """`square` of what a raw column holds; None for what is no number."""
    try:
        return square(float(str(lat)), float(str(lng)), float(str(km)))
    except ValueError:
        return None


def _is_place(lat: float, lng: float) -> bool:
    return -90 <= lat <= 90 and -180 <= lng <= 180
