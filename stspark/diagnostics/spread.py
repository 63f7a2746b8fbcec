"""Runs the tests: of each region in parallel on the executors, of the map in one task."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.columns import schema_of
from stspark.diagnostics import changes, demand, series, spatial
from stspark.diagnostics.finding import Finding, described, tried
from stspark.features.learning import in_packs
from stspark.fleet.spread import whole_regions
from stspark.names import ALL_REGIONS, OBSERVED

ROWS = schema_of([("region", "string"), ("test", "string"), ("statistic", "double"), ("p_value", "double"),
                  ("verdict", "string")])  # fmt: skip
MAP_DAYS = 364
"""The map's tests look at the last year."""


def analyse_regions(region_day: DataFrame, as_of: date, season: int, packs: int) -> DataFrame:
    """ROWS of every region's tests, from its days up to `as_of`; a region that fails has a row that says so."""
    past = region_day.where(F.col("date") <= F.lit(as_of))
    days = past.select("region", "date", F.col("target_clean").alias("y"), "target", "status", "is_outlier")
    return in_packs(days, packs).mapInPandas(functools.partial(_analyse_pack, season=season), ROWS)


def _analyse_pack(batches: Iterator[pd.DataFrame], season: int) -> Iterator[pd.DataFrame]:
    for rows in whole_regions(batches):
        yield to_rows(str(rows["region"].iloc[0]), analyse_region(rows, season))


def analyse_region(rows: pd.DataFrame, season: int) -> list[Finding]:
    """All findings of one region's days (date, y, target, status, is_outlier)."""
    y = rows["y"].ffill().fillna(0.0).to_numpy(dtype=float)
    observed = (rows["status"] == OBSERVED).to_numpy(dtype=bool)
    if not observed.any():
        return [described("analysis", math.nan, "not tested: no observed day")]
    dates = pd.to_datetime(rows["date"]).to_numpy().astype("datetime64[D]")
    target = rows["target"].to_numpy(dtype=float)[observed]
    return [
        *tried("demand_class", lambda: demand.demand_findings(target)),
        outlier_finding(dates[rows["is_outlier"].to_numpy(dtype=bool)], len(target)),
        *series.series_findings(y, season),
        *tried("change_points", lambda: changes.change_findings(y, dates, season)),
    ]


def outlier_finding(flagged: NDArray[np.datetime64], observed: int) -> Finding:
    """How many of the observed days region_day flags, and the newest of them."""
    if not len(flagged):
        return described("outliers", 0.0, "no day is far from its weekday's usual value")
    newest = ", ".join(str(day) for day in flagged[-3:])
    verdict = f"{len(flagged)} of {observed} days far from their weekday's usual value, the newest {newest}"
    return described("outliers", len(flagged), verdict)


def to_rows(region: str, findings: list[Finding]) -> pd.DataFrame:
    """Findings as ROWS; NaN and infinity as null."""
    rows = [(region, f.test, f.statistic, f.p_value, f.verdict) for f in findings]
    frame = pd.DataFrame(rows, columns=ROWS.fieldNames()).astype({"statistic": float, "p_value": float})
    return frame.replace([np.inf, -np.inf], np.nan)


def analyse_map(region_day: DataFrame, edges: DataFrame, as_of: date, season: int, seed: int) -> DataFrame:
    """ROWS of the tests between regions (region `*`, and local_moran of each), over the last year, in one task."""
    first = as_of - timedelta(days=MAP_DAYS - 1)
    days = region_day.where(F.col("date").between(F.lit(first), F.lit(as_of))).select(
        F.lit("day").alias("kind"), "region", F.lit("").alias("neighbour"), "date", F.col("target").alias("value")
    )
    pairs = edges.select(
        F.lit("edge").alias("kind"), "region", "neighbour", F.lit(None).cast("date").alias("date"),
        F.col("weight").alias("value"),
    )  # fmt: skip
    both = days.unionByName(pairs).coalesce(1)
    return both.mapInPandas(functools.partial(_analyse_map, season=season, seed=seed), ROWS)


def _analyse_map(batches: Iterator[pd.DataFrame], season: int, seed: int) -> Iterator[pd.DataFrame]:
    parts = list(batches)
    if parts:
        yield map_rows(pd.concat(parts, ignore_index=True), season, seed)


def map_rows(both: pd.DataFrame, season: int, seed: int) -> pd.DataFrame:
    """ROWS from days and edges in one frame (kind, region, neighbour, date, value)."""
    days, pairs = both[both["kind"] == "day"], both[both["kind"] == "edge"]
    wide = days.pivot(index="date", columns="region", values="value").sort_index().sort_index(axis=1)
    names = tuple(map(str, wide.columns))
    place = {name: k for k, name in enumerate(names)}
    weights = np.zeros((len(names), len(names)))
    for region, neighbour, weight in zip(pairs["region"], pairs["neighbour"], pairs["value"], strict=True):
        if region in place and neighbour in place:
            weights[place[region], place[neighbour]] = float(weight)
    made: list[spatial.Field] = []

    def field() -> spatial.Field:
        if not made:
            made.append(spatial.make_field(names, wide.to_numpy(dtype=float), weights, season))
        return made[0]

    found = tried("moran_levels", lambda: spatial.level_findings(field(), seed))
    found += tried("moran_residuals", lambda: spatial.residual_findings(field(), seed))
    found += tried("moran_space_time", lambda: spatial.travel_findings(field(), seed))
    local: dict[str, Finding] = {}

    def of_regions() -> list[Finding]:
        local.update(spatial.local_findings(field(), seed))
        return []

    found += tried("local_moran", of_regions)
    frames = [to_rows(ALL_REGIONS, found), *(to_rows(name, [finding]) for name, finding in local.items())]
    return pd.concat(frames, ignore_index=True)
