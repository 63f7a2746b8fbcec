"""The dense region × day snapshot that Spark writes once and every training rank reads without Spark.

A folder: `panel/shard=K/*.parquet` (long rows of SHARD regions each, written by the executors) and `manifest.json`
(written last, by rename, so a folder with a manifest is complete). It must lie where driver and executors see the same
files. Who needs some of the regions only reads no more than those.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stspark.errors import EnvironmentMistake, InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

FORMAT = 1
PANEL_COLUMNS = ("region_index", "date_index", "y", "observed")
WHOLE = slice(None)
"""All regions."""
SHARD = 250
"""Regions whose rows lie together in one folder."""


@dataclass(frozen=True)
class Manifest:
    """What the panel's numbers mean.

    regions: names in spatial order, `region_index` counts them; first_date: the day of `date_index` 0;
    n_history: days with a target; n_total: with the calendar rows that follow (at least `horizon`);
    covariates: known-future columns in order; edges: (i, j, w), j is a neighbour of i with
    weight w; season: days; data_version: changes whenever the panel does; past_only: further columns in order,
    of which nothing after a cutoff may be known; parents: region -> its parent, where it has one; opening: regions
    that have no day yet and are forecast all the same.
    """

    data_version: str
    regions: tuple[str, ...]
    first_date: date
    n_history: int
    n_total: int
    covariates: tuple[str, ...]
    edges: tuple[tuple[int, int, float], ...]
    season: int
    horizon: int
    quantiles: tuple[float, ...]
    seed: int = 0
    version: int = FORMAT
    past_only: tuple[str, ...] = ()
    parents: dict[str, str] = field(default_factory=dict)
    opening: tuple[str, ...] = ()

    def day(self, index: int) -> date:
        """Return the date of a day index."""
        return self.first_date + timedelta(days=index)

    def days_until(self, cutoff: date) -> int:
        """Return how many days the history has up to and including `cutoff`; InputError if outside it."""
        count = (cutoff - self.first_date).days + 1
        if not 1 <= count <= self.n_history:
            span = f"{self.first_date} .. {self.day(self.n_history - 1)}"
            raise InputError(f"cutoff {cutoff}", f"is outside the history {span}", "choose a day within it")
        return count

    def of(self, part: slice) -> Manifest:
        """Return the manifest of the regions of `part` alone; edges that leave it are left out."""
        if part == WHOLE:
            return self
        first, end, _ = part.indices(len(self.regions))
        names = self.regions[first:end]
        edges = ((i - first, j - first, w) for i, j, w in self.edges if first <= i < end and first <= j < end)
        parents = {name: self.parents[name] for name in names if name in self.parents}
        opening = tuple(name for name in self.opening if name in set(names))
        return replace(self, regions=names, edges=tuple(edges), parents=parents, opening=opening)

    def to_json(self) -> str:
        """Return the manifest as JSON text, dates in ISO form."""
        return json.dumps(asdict(self) | {"first_date": self.first_date.isoformat()}, indent=1)

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Read what `to_json` wrote; raise InputError for another format version."""
        raw: dict[str, Any] = json.loads(text)
        if raw.get("version") != FORMAT:
            raise InputError(where, f"has format version {raw.get('version')!r}", "write the snapshot again")
        for name in ("regions", "covariates", "quantiles", "past_only", "opening"):
            raw[name] = tuple(raw.get(name, ()))
        raw["first_date"] = date.fromisoformat(raw["first_date"])
        raw["edges"] = tuple((int(i), int(j), float(w)) for i, j, w in raw["edges"])
        return cls(**raw)


@dataclass(frozen=True)
class Snapshot:
    """The panel as arrays, T = n_history days, T' = n_total days, R regions, K covariates.

    y: [T, R] target in its own unit, 0 before a region's first day; observed: [T, R] the target was
    really seen; alive: [T, R] the region had started; covariates: [T', R, K], NaN where unknown;
    weights: [R, R] row-standardised neighbours; past: [T, R, P] the past-only columns, NaN where unknown.
    """

    manifest: Manifest
    y: Floats
    observed: Bools
    alive: Bools
    covariates: Floats
    weights: Floats
    past: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))

    def known_on(self, cutoff: date) -> Snapshot:
        """Return what may be known on `cutoff`: the targets up to it, covariates up to its horizon."""
        days = self.manifest.days_until(cutoff)
        end = min(days + self.manifest.horizon, self.manifest.n_total)
        manifest = replace(self.manifest, n_history=days, n_total=end)
        return Snapshot(
            manifest,
            self.y[:days],
            self.observed[:days],
            self.alive[:days],
            self.covariates[:end],
            self.weights,
            self.past[:days],
        )


def cut(regions: int, most: int) -> list[slice]:
    """Equal parts of at most `most` regions (0: all in one)."""
    return split(regions, -(-regions // most) if most else 1)


def split(regions: int, count: int) -> list[slice]:
    """`count` parts of the regions, in their order, whose sizes differ by one at most."""
    if count <= 1:
        return [WHOLE]
    ends = [regions * k // count for k in range(count + 1)]
    return [slice(first, end) for first, end in pairwise(ends)]


def local_path(path: str) -> Path:
    """Return a plain path or file: URI as a Path; raise EnvironmentMistake for any other file system."""
    parts = urlsplit(path)
    if parts.scheme not in ("", "file"):
        raise EnvironmentMistake(
            path, f"the global model cannot train from {parts.scheme}://", "use a folder that all executors mount"
        )
    return Path(unquote(parts.path) if parts.scheme else path).absolute()


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    os.replace(partial, path)


def write_snapshot(frame: DataFrame, manifest: Manifest, path: str) -> None:
    """Write a Spark frame with PANEL_COLUMNS, `manifest.covariates` and `manifest.past_only` as a snapshot folder.

    y may be null only in the calendar rows after the history; rows need no order, and a region has none
    before its first day. An older snapshot at `path` is replaced.
    """
    from pyspark.sql import functions as F

    folder = local_path(path)
    (folder / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "panel", ignore_errors=True)
    panel = frame.select(*PANEL_COLUMNS, *manifest.covariates, *manifest.past_only)
    shard = (F.col("region_index") / SHARD).cast("int").alias("shard")
    by_shard = panel.select("*", shard).repartition("shard").write.mode("overwrite").partitionBy("shard")
    by_shard.parquet((folder / "panel").as_uri())
    write_atomically(folder / "manifest.json", manifest.to_json().encode())


def load_manifest(path: str) -> Manifest:
    """Read a snapshot folder's manifest; raise InputError where there is no finished snapshot."""
    file = local_path(path) / "manifest.json"
    try:
        return Manifest.from_json(file.read_text(), str(file))
    except FileNotFoundError as error:
        raise InputError(str(file.parent), "holds no finished snapshot", "run the train job again") from error


def load_snapshot(path: str, part: slice = WHOLE) -> Snapshot:
    """Read a snapshot folder into arrays, without Spark; raise InputError where it is not usable.

    part: only these regions (indices without a step); their neighbours elsewhere are left out.
    """
    folder, manifest = local_path(path), load_manifest(path)
    columns = [*PANEL_COLUMNS, *manifest.covariates, *manifest.past_only]
    first, end, _ = part.indices(len(manifest.regions))
    rows = None if part == WHOLE else [("region_index", ">=", first), ("region_index", "<", end)]
    table = pq.read_table(folder / "panel", columns=columns, filters=rows)
    return _to_arrays(manifest.of(part), table, first, str(folder))


def _to_arrays(manifest: Manifest, table: pa.Table, first_region: int, where: str) -> Snapshot:
    shape = (manifest.n_total, len(manifest.regions))
    day, region = (table[name].to_numpy().astype(np.int64) for name in ("date_index", "region_index"))
    region = region - first_region
    _check_rows(day, region, shape, where)
    y = _dense(table["y"], day, region, shape)
    present = np.zeros(shape, dtype=np.bool_)
    present[day, region] = True
    seen = np.zeros(shape, dtype=np.bool_)
    seen[day, region] = pc.fill_null(table["observed"], False).to_numpy()
    covariates = np.full((*shape, len(manifest.covariates)), np.nan)
    for k, name in enumerate(manifest.covariates):
        covariates[:, :, k] = _dense(table[name], day, region, shape)
    further = np.full((*shape, len(manifest.past_only)), np.nan)
    for k, name in enumerate(manifest.past_only):
        further[:, :, k] = _dense(table[name], day, region, shape)
    past = slice(0, manifest.n_history)
    alive = np.logical_or.accumulate(present[past], axis=0)
    holes = alive & np.isnan(y[past])
    if holes.any():
        t, r = np.argwhere(holes)[0]
        raise InputError(
            where, f"y is missing for region {manifest.regions[r]!r}, day {t}", "fill the target before the snapshot"
        )
    return Snapshot(
        manifest,
        np.where(alive, y[past], 0.0),
        seen[past] & alive,
        alive,
        covariates,
        weights_of(manifest),
        further[past],
    )


def _dense(column: pa.ChunkedArray, day: Integers, region: Integers, shape: tuple[int, int]) -> Floats:
    values = np.full(shape, np.nan)
    values[day, region] = pc.cast(column, "double").to_numpy()
    return values


def _check_rows(day: Integers, region: Integers, shape: tuple[int, int], where: str) -> None:
    if len(day) == 0:
        raise InputError(where, "the panel has no rows", "write the snapshot again from region_day")
    if day.min() < 0 or day.max() >= shape[0] or region.min() < 0 or region.max() >= shape[1]:
        raise InputError(where, "date_index or region_index is outside the manifest", "write the snapshot again")
    if len(np.unique(day * shape[1] + region)) != len(day):
        raise InputError(where, "a region has two rows for one day", "write one row per region and day")


def weights_of(manifest: Manifest) -> Floats:
    """[R, R], rows standardised (again, where the panel lacks some neighbours)."""
    weights = np.zeros((len(manifest.regions), len(manifest.regions)))
    for i, j, w in manifest.edges:
        weights[i, j] = w
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1.0))


def row_shares(manifest: Manifest) -> list[tuple[int, int, float]]:
    """The same as edges (i, j, share), for panels whose [R, R] would be too large."""
    total: defaultdict[int, float] = defaultdict(float)
    for i, _, w in manifest.edges:
        total[i] += w
    return [(i, j, w / total[i]) for i, j, w in manifest.edges if total[i] > 0]
