"""A panel of any size: weekly demand, a known promotion, shocks that neighbours on a line share; numpy, no Spark."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stspark.snapshot import SHARD, Manifest, Snapshot, write_atomically

FIRST = date(2023, 1, 2)
QUANTILES = (0.1, 0.25, 0.75, 0.9)
HORIZON = 7


def line_panel(regions: int, days: int, seed: int = 0) -> Snapshot:
    """`days` days of history and a horizon of covariates; the neighbours are two on each side."""
    g = np.random.default_rng(seed)
    total = days + HORIZON
    promotion = (g.random((total, regions)) < 0.1).astype(float)
    week = 1 + 0.4 * np.sin(2 * np.pi * (np.arange(total)[:, None] + g.integers(7, size=regions)) / 7)
    shock = np.zeros((total, regions))
    weights, edges = neighbours(regions)
    steps = [(step, 0.25) for step in (-2, -1, 1, 2)]
    for t in range(1, total):
        around = sum(w * np.roll(shock[t - 1], step) for step, w in steps)
        shock[t] = 0.4 * shock[t - 1] + 0.5 * around + g.normal(0.0, 0.15, regions)
    mean = np.exp(g.normal(3.5, 0.8, regions)) * week * np.exp(np.clip(shock, -3, 3)) * (1 + 0.5 * promotion)
    y = g.poisson(mean).astype(float)[:days]
    seen = g.random((days, regions)) > 0.02
    names = tuple(f"region-{k:05d}" for k in range(regions))
    manifest = Manifest("line", names, FIRST, days, total, ("promotion",), edges, 7, HORIZON, QUANTILES, seed=seed)
    return Snapshot(manifest, y, seen, np.ones((days, regions), dtype=bool), promotion[:, :, None], weights)


def write_line_panel(folder: str, regions: int, days: int) -> str:
    """Write the panel as Spark would write a learning snapshot; return the folder."""
    made = line_panel(regions, days)
    promotion = made.covariates[:, :, 0]
    for shard, first in enumerate(range(0, regions, SHARD)):
        part = slice(first, min(first + SHARD, regions))
        day, region = (index.ravel() for index in np.indices(promotion[:, part].shape))
        y, seen = (np.full(promotion[:, part].shape, fill) for fill in (np.nan, False))
        y[:days], seen[:days] = made.y[:, part], made.observed[:, part]
        rows = {"region_index": region + first, "date_index": day, "y": y.ravel(), "observed": seen.ravel()}
        target = Path(folder) / "panel" / f"shard={shard}"
        target.mkdir(parents=True)
        pq.write_table(pa.table(rows | {"promotion": promotion[:, part].ravel()}), target / "part-0.parquet")
    write_atomically(Path(folder) / "manifest.json", made.manifest.to_json().encode())
    return folder


def neighbours(regions: int) -> tuple[np.ndarray, tuple[tuple[int, int, float], ...]]:
    """[R, R] row-standardised, and the same as edges; the line's ends meet."""
    weights = np.zeros((regions, regions))
    edges = []
    for step in (-2, -1, 1, 2):
        place = np.arange(regions)
        weights[place, (place + step) % regions] = 0.25
        edges += [(int(i), int(i + step) % regions, 0.25) for i in place]
    return weights, tuple(edges)
