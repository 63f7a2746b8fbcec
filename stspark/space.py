"""Regions as places: reading them, ordering them along a Hilbert curve, weighting neighbours."""

from __future__ import annotations

import zoneinfo
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stspark.errors import ConfigError, InputError, nearest
from stspark.ingest.files import read_header
from stspark.settings import Regions

EARTH_RADIUS_KM = 6371.0088
HILBERT_BITS = 12
COLUMNS = ("region", "name", "country", "subdivision", "lat", "lng", "timezone", "parent")


def read_regions(settings: Regions) -> pd.DataFrame | None:
    """The configured regions (columns region … position), or None where there is no file.

    A file may have many points per region (as a table of addresses has): a region's place is then their median.
    """
    if settings.file is None:
        return None
    path = Path(settings.file)
    table = _our_columns(path, _texts(path), settings)
    others = [c for c in table.columns if c not in ("region", "lat", "lng")]
    table[others] = table[others].replace("", None)
    for axis, bound in (("lat", 90.0), ("lng", 180.0)):
        table[axis] = _degrees(path, table, axis, bound)
    table = table.groupby("region", as_index=False).agg(
        {"lat": "median", "lng": "median", **dict.fromkeys(others, "first")}
    )
    if settings.only is not None:
        table = table[table["region"].isin(settings.only)]
    return complete(table, settings)


def require_announced(table: pd.DataFrame | None, settings: Regions) -> None:
    """ConfigError where a region that is `opening` is not in the configured table."""
    known = set() if table is None else set(table["region"])
    if unknown := [region for region in settings.opening if region not in known]:
        where = settings.file or "regions.file, which is not set"
        fix = "add its line there, and its name to regions.only" if settings.only else "add its line there"
        raise ConfigError("regions.opening", f"'{unknown[0]}' is no region of {where}", fix)


def _texts(path: Path) -> pd.DataFrame:
    """The file as it is, every field a text; InputError where it is no table."""
    read_header(path, "UTF-8", ",")  # refuses an empty file
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(str(path), f"is not UTF-8 (byte 0x{byte:02x})", "save it as UTF-8") from error
    except pd.errors.ParserError as error:
        raise InputError(
            str(path), " ".join(str(error).split()), "give every line as many fields as the header"
        ) from error
    if not isinstance(raw.index, pd.RangeIndex):  # pandas takes a surplus first field for an index
        raise InputError(
            str(path), "has more fields in its lines than in its header", "give every line as many fields as the header"
        )
    return raw


def _our_columns(path: Path, raw: pd.DataFrame, settings: Regions) -> pd.DataFrame:
    """The columns that the config names, under our names; InputError where one that must be there is not."""
    mapping = {ours: settings.columns.get(ours, ours) for ours in COLUMNS}
    for ours in ("region", "lat", "lng"):
        if mapping[ours] not in raw.columns:
            near = nearest(mapping[ours], raw.columns)
            raise InputError(
                str(path),
                f"has no column '{mapping[ours]}'",
                (f"nearest is '{near}'" if near else f"it has {', '.join(raw.columns)}") + "; mend regions.columns",
            )
    return pd.DataFrame({ours: raw[theirs].str.strip() for ours, theirs in mapping.items() if theirs in raw.columns})


def _degrees(path: Path, table: pd.DataFrame, axis: str, bound: float) -> pd.Series:
    """A column of degrees as numbers; InputError for the first that is none or lies outside of ±bound."""
    number = pd.to_numeric(table[axis], errors="coerce")
    bad = number.isna() | (number.abs() > bound)
    if bad.any():
        row = table[bad].iloc[0]
        raise InputError(
            f"{path}: {axis}",
            f"'{row[axis]}' of region '{row['region']}' is no {axis}",
            f"use degrees within ±{bound:g}",
        )
    return number


def complete(table: pd.DataFrame, settings: Regions) -> pd.DataFrame:
    """Add unplaced regions, defaults for what is missing, and the position in the spatial order."""
    extra = pd.DataFrame({"region": [r for r in settings.unplaced if r not in set(table["region"])]})
    table = pd.concat([table, extra], ignore_index=True)
    for column in COLUMNS:
        if column not in table:
            table[column] = np.nan if column in ("lat", "lng") else None
    table["name"] = table["name"].fillna(table["region"])
    if settings.country is not None:
        table["country"] = table["country"].fillna(settings.country)
    table["timezone"] = settings.timezone or table["timezone"].fillna("UTC")
    for zone in table["timezone"].unique():
        if zone not in zoneinfo.available_timezones():
            raise InputError(
                f"regions: timezone '{zone}'", "is not an IANA time zone", "write for example Europe/London"
            )
    table["position"] = spatial_order(table["lat"].to_numpy(float), table["lng"].to_numpy(float), list(table["region"]))
    return table[[*COLUMNS, "position"]].sort_values("position", ignore_index=True)


def spatial_order(lat: NDArray[np.float64], lng: NDArray[np.float64], names: list[str]) -> NDArray[np.int64]:
    """Position [n] of each place along a Hilbert curve over the bounding box; places without one come last."""
    known = ~(np.isnan(lat) | np.isnan(lng))
    index = np.full(len(lat), np.iinfo(np.int64).max, dtype=np.int64)
    if known.any():
        side = 2**HILBERT_BITS - 1
        x, y = (_scaled(v[known], side) for v in (lng, lat))
        index[known] = [hilbert_index(int(a), int(b), HILBERT_BITS) for a, b in zip(x, y, strict=True)]
    order = sorted(range(len(lat)), key=lambda i: (index[i], names[i]))
    position = np.empty(len(lat), dtype=np.int64)
    position[order] = np.arange(len(lat))
    return position


def _scaled(values: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    span = values.max() - values.min()
    return (
        np.zeros(len(values), dtype=np.int64) if span == 0 else ((values - values.min()) / span * side).astype(np.int64)
    )


def hilbert_index(x: int, y: int, bits: int) -> int:
    """Distance along the Hilbert curve of cell (x, y) on a 2^bits grid (Hamilton, CS-2006-07, 2-d case)."""
    distance = 0
    s = 2 ** (bits - 1)
    while s:
        rx, ry = int(x & s > 0), int(y & s > 0)
        distance += s * s * ((3 * rx) ^ ry)
        if ry == 0:
            if rx:
                x, y = s - 1 - (x & (s - 1)), s - 1 - (y & (s - 1))
            x, y = y, x
        s //= 2
    return distance


def haversine_km(lat: NDArray[np.float64], lng: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distances [n, n] in km (Sinnott 1984)."""
    phi, lam = np.radians(lat), np.radians(lng)
    half = (
        np.sin((phi[:, None] - phi) / 2) ** 2
        + np.cos(phi[:, None]) * np.cos(phi) * np.sin((lam[:, None] - lam) / 2) ** 2
    )
    km: NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    return km
