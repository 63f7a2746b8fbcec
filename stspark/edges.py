"""Who is whose neighbour, and how much: by distance, by border, by a file, by like histories. Rows sum to 1."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.sparse.csgraph import shortest_path
from shapely import STRtree
from shapely.geometry import shape

from stspark.errors import InputError
from stspark.errors import nearest as nearest_name
from stspark.ingest.files import read_header
from stspark.settings import Regions
from stspark.space import haversine_km

log = logging.getLogger("stspark")

Floats = NDArray[np.float64]
COLUMNS = ("region", "neighbour", "distance_km", "hops", "weight")


def build_edges(regions: pd.DataFrame, settings: Regions, like: pd.DataFrame | None = None) -> pd.DataFrame:
    """COLUMNS of all neighbour pairs of these regions (region, lat, lng) by the configured kind of weights.

    like: region, neighbour, correlation (needed for the kind `correlation`). An island has no row, unless
    `islands: nearest` ties it to the nearest placed region.
    """
    names = [str(r) for r in regions["region"]]
    km = haversine_km(regions["lat"].to_numpy(float), regions["lng"].to_numpy(float))
    chosen = settings.weights
    kinds: dict[str, Callable[[], Floats]] = {
        "nearest": lambda: nearest(km, settings.neighbours),
        "band": lambda: band(km, chosen.km or 0.0),
        "queen": lambda: queen(names, str(chosen.file), chosen.key),
        "file": lambda: listed(names, str(chosen.file)),
        "correlation": lambda: alike(names, like, settings.neighbours),
    }
    weights = kinds[chosen.kind]()
    hops = graph_distance(weights)
    if chosen.hops > 1:
        near = (hops >= 1) & (hops <= chosen.hops)
        weights = np.where(near, 1.0 / np.where(near, hops, 1.0), 0.0)
    if chosen.islands == "nearest":
        lonely = weights.sum(axis=1) == 0
        weights[lonely] = nearest(km, 1)[lonely]
    total = weights.sum(axis=1, keepdims=True)
    weights = weights / np.where(total > 0, total, 1.0)
    rows = [
        (names[i], names[j], km[i, j], int(hops[i, j]) if np.isfinite(hops[i, j]) else 1, weights[i, j])
        for i, j in _ordered(weights, km)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _ordered(weights: Floats, km: Floats) -> list[tuple[int, int]]:
    """Pairs with a weight, nearest first within a region."""
    return [
        (i, int(j))
        for i in range(len(weights))
        for j in sorted(np.flatnonzero(weights[i] > 0), key=lambda j: (np.nan_to_num(km[i, j], nan=np.inf), j))
    ]


def nearest(km: Floats, count: int) -> Floats:
    """1 for each region's `count` nearest placed ones [n, n]."""
    weights = np.zeros_like(km)
    placed = np.flatnonzero(np.isfinite(np.diag(km)))
    k = min(count, len(placed) - 1)
    for i in placed if k > 0 else ():
        away = km[i, placed] + np.where(placed == i, np.inf, 0.0)
        weights[i, placed[np.argsort(away, kind="stable")[:k]]] = 1.0
    return weights


def band(km: Floats, limit: float) -> Floats:
    """1 / (1 + km) for pairs within `limit` km [n, n]."""
    with np.errstate(invalid="ignore"):
        near = (km <= limit) & ~np.eye(len(km), dtype=bool)
    return np.where(near, 1.0 / (1.0 + np.nan_to_num(km)), 0.0)


def queen(names: list[str], path: str, key: str) -> Floats:
    """1 for regions whose polygons share a border or a corner [n, n]; a region without a polygon is an island."""
    try:
        features = json.loads(Path(path).read_text(encoding="utf-8-sig"))["features"]
        polygons = {str(f["properties"][key]): shape(f["geometry"]) for f in features}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}", f"is no GeoJSON of polygons with the property '{key}' ({error!r})", "mend it or weights.key"
        ) from error
    place = {name: k for k, name in enumerate(names)}
    known = [name for name in polygons if name in place]
    if not known:
        raise InputError(f"{path}: {key}", f"names none of the regions ({names[0]}, …)", "mend regions.weights.key")
    weights = np.zeros((len(names), len(names)))
    pairs = STRtree([polygons[name] for name in known]).query([polygons[name] for name in known], "intersects")
    for a, b in pairs.T:
        if a != b:
            weights[place[known[a]], place[known[b]]] = 1.0
    return weights


def listed(names: list[str], path: str) -> Floats:
    """Weights of a file `region, neighbour[, weight]`, directed as written [n, n].

    Edges of regions that are not `names` are left out, and the log says how many; InputError where none is left.
    """
    header = read_header(Path(path), "UTF-8", ",")
    if missing := [c for c in ("region", "neighbour") if c not in header]:
        lack = f"has no column '{missing[0]}' (its columns are {', '.join(header)})"
        raise InputError(path, lack, "name them region, neighbour and, if you like, weight")
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    value = pd.to_numeric(table["weight"], errors="coerce") if "weight" in table else pd.Series(1.0, table.index)
    bad = value.isna() | (value < 0) | (table["region"] == table["neighbour"])
    if bad.any():
        first = table[bad].iloc[0]
        loop = first["region"] == first["neighbour"]
        fix = "leave it out: a region is not its own neighbour" if loop else "give it a weight of 0 or more"
        raise InputError(path, f"row '{', '.join(first.astype(str))}' is no edge", fix)
    place, weights = {name: k for k, name in enumerate(names)}, np.zeros((len(names), len(names)))
    strange = ~(table["region"].isin(names) & table["neighbour"].isin(names))
    if strange.any():
        stranger = next(n for n in table[strange][["region", "neighbour"]].to_numpy().ravel() if n not in place)
        near = nearest_name(stranger, names)
        fix = f"did you mean '{near}'?" if near else f"the regions are {', '.join(names[:3])}{', …' * (len(names) > 3)}"
        if strange.all():
            raise InputError(path, f"has no edge between two regions with demand; '{stranger}' is none", fix)
        what = "%s: %d of %d edges are left out, for they name regions without demand, such as '%s': %s"
        log.warning(what, path, strange.sum(), len(table), stranger, fix)
    for a, b, w in zip(table["region"][~strange], table["neighbour"][~strange], value[~strange], strict=True):
        weights[place[a], place[b]] = w
    return weights


def alike(names: list[str], like: pd.DataFrame | None, count: int) -> Floats:
    """The `count` largest positive correlations of each region [n, n]."""
    place, weights = {name: k for k, name in enumerate(names)}, np.zeros((len(names), len(names)))
    rows = like if like is not None else pd.DataFrame(columns=["region", "neighbour", "correlation"])
    for a, b, r in zip(rows["region"], rows["neighbour"], rows["correlation"], strict=True):
        if a in place and b in place and pd.notna(r) and r > 0:
            weights[place[a], place[b]] = r
    for row in weights:
        row[np.argsort(-row, kind="stable")[count:]] = 0.0
    return weights


def correlations(daily: DataFrame, season: int, until: date) -> DataFrame:
    """region, neighbour, correlation of the changes on the same day a season before, up to `until` only.

    until: the first cutoff of the back-test, so that no forecast is made with neighbours chosen from its future.
    """
    past = daily.where(F.col("date") <= F.lit(until)).select("region", "date", F.col("target").alias("y"))
    before = past.select("region", F.date_add("date", season).alias("date"), F.col("y").alias("z"))
    change = past.join(before, ["region", "date"]).select("region", "date", (F.col("y") - F.col("z")).alias("x"))
    other = change.select(F.col("region").alias("neighbour"), "date", F.col("x").alias("w"))
    pairs = change.join(other, "date").where("region <> neighbour")
    found = pairs.groupBy("region", "neighbour").agg(F.round(F.corr("x", "w"), 6).alias("correlation"), F.count("*"))
    return found.where("`count(1)` >= 28").drop("count(1)")


def graph_distance(weights: Floats) -> Floats:
    """Steps from each region to each other over the edges [n, n]; infinite where there is no way."""
    return np.asarray(shortest_path(weights > 0, unweighted=True), dtype=float)
