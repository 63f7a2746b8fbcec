"""Spreads the panel models of a run over executors: one task per model and cutoff, which reads the snapshot's files.

A model that carries forward is one task: it is fitted at the first cutoff, and its parameters serve the later ones.
The parameters of every cutoff lie in `<home>/<model>/checkpoints/<cutoff>.json`, beside those of the networks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from stspark.fleet.attempt import FitTimeout, time_limit
from stspark.fleet.panel import Attempt, run_cutoffs, score, to_rows
from stspark.fleet.region import STATE
from stspark.fleet.rows import output_schema
from stspark.models.panel.base import PanelForecaster, is_partial
from stspark.models.panel.registry import build
from stspark.names import ALL_REGIONS, NAIVE, quantile_column
from stspark.settings import Model
from stspark.snapshot import Snapshot, load_manifest, load_snapshot, local_path, write_atomically

Work = Callable[[Sequence[int], Snapshot], Iterator[pd.DataFrame]]
"""What one task does: positions of its units, the snapshot -> rows."""
STATUSES = ("ok", "skipped", "timeout", "failed")
"""From good to bad: a model's status is the worst of its cutoffs."""


@dataclass(frozen=True)
class PanelTask:
    """What a worker needs to know; plain values only. cutoffs: oldest first, the last is the as-of day."""

    models: tuple[Model, ...]
    snapshot: str
    home: str
    cutoffs: tuple[date, ...]
    fit_seconds: int

    def build(self, position: int) -> PanelForecaster:
        model = self.models[position]
        return build(model.name, model.options)

    def units(self) -> list[tuple[int, tuple[date, ...]]]:
        """Work that one Spark task does: a model's position and the cutoffs that follow from one another."""
        found: list[tuple[int, tuple[date, ...]]] = []
        for position in range(len(self.models)):
            whole = self.build(position).carries_forward
            found += [(position, self.cutoffs)] if whole else [(position, (cutoff,)) for cutoff in self.cutoffs]
        return found

    def stored(self, position: int, cutoff: date) -> Path:
        """The file of a model's parameters at a cutoff."""
        return local_path(self.home) / self.models[position].folder / "checkpoints" / f"{cutoff}.json"


def fit_panels(spark: SparkSession, task: PanelTask) -> DataFrame:
    """Fit every model and forecast from every cutoff.

    Returns rows of `fleet.rows.output_schema`: `forecast` (per cutoff, region and day; regions without a sound
    forecast have none) and `model` (per model and cutoff).
    """
    units = task.units()

    def run(positions: Sequence[int], snapshot: Snapshot) -> Iterator[pd.DataFrame]:
        for position, cutoffs in (units[p] for p in positions):
            model = task.build(position)
            for attempt in run_cutoffs(model, snapshot, cutoffs, task.fit_seconds):
                _keep(attempt, task.stored(position, attempt.cutoff))
                yield _rows(task, position, attempt, snapshot)

    return _spread(spark, task, len(units), run)


def score_panels(spark: SparkSession, task: PanelTask) -> DataFrame:
    """Forecast from the last cutoff with the parameters that `fit_panels` kept; nothing is fitted."""
    cutoff = task.cutoffs[-1]

    def run(positions: Sequence[int], snapshot: Snapshot) -> Iterator[pd.DataFrame]:
        for position in positions:
            if task.stored(position, cutoff).exists():
                yield _rows(task, position, _scored(task, position, snapshot), snapshot)

    return _spread(spark, task, len(task.models), run)


def model_rows(fitted: DataFrame) -> DataFrame:
    """One `models` row per model from what `fit_panels` returned: the worst status, the as-of day's parameters."""
    rank = F.array_position(F.array(*map(F.lit, STATUSES)), F.col("status"))
    worst_first = F.struct(rank, F.date_diff(F.lit(date.max), F.col("cutoff")))  # the earliest of equals

    def newest(column: str) -> Column:
        return F.max_by(column, "cutoff").alias(column)

    return (
        fitted.where("kind = 'model'")
        .groupBy("model")
        .agg(
            F.max_by("status", worst_first).alias("status"),
            F.max_by("error", worst_first).alias("error"),
            *map(newest, ("fallback_used", "parameters", "artefact")),
            F.sum("fit_seconds").alias("fit_seconds"),
            F.sum("n_fits").cast("int").alias("n_fits"),
        )
        .withColumn("region", F.lit(ALL_REGIONS))
    )


def _spread(spark: SparkSession, task: PanelTask, count: int, run: Work) -> DataFrame:
    quantiles = load_manifest(task.snapshot).quantiles

    def work(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        snapshot = load_snapshot(task.snapshot)
        for batch in batches:
            yield from run(batch["id"].tolist(), snapshot)

    return spark.range(0, count, 1, count).mapInPandas(work, output_schema(quantiles))


def _keep(attempt: Attempt, file: Path) -> None:
    file.unlink(missing_ok=True)
    if attempt.parameters is not None:
        write_atomically(file, json.dumps(attempt.parameters).encode())


def _scored(task: PanelTask, position: int, snapshot: Snapshot) -> Attempt:
    cutoff = task.cutoffs[-1]
    attempt = Attempt(cutoff)
    try:
        attempt.parameters = json.loads(task.stored(position, cutoff).read_text())
        with time_limit(task.fit_seconds):
            model = task.build(position)
            attempt.partial = is_partial(model)
            score(model, snapshot.known_on(cutoff), attempt)
    except (Exception, FitTimeout) as error:  # noqa: BLE001  a model that cannot score costs only itself, and the row says so
        attempt.status, attempt.error = "failed", f"{error!r} when scoring"
    return attempt


def _rows(task: PanelTask, position: int, attempt: Attempt, snapshot: Snapshot) -> pd.DataFrame:
    """An attempt as rows of `output_schema`."""
    manifest = snapshot.manifest
    columns = output_schema(manifest.quantiles).fieldNames()
    values = ["y_hat", *map(quantile_column, manifest.quantiles)]
    made = attempt.parameters is not None
    readable = {k: v for k, v in (attempt.parameters or {}).items() if k != STATE}
    told = {
        "kind": "model",
        "region": None,
        "date": None,
        "cutoff": attempt.cutoff,
        "status": attempt.status,
        "error": attempt.error,
        "fallback_used": None if attempt.status == "ok" or attempt.partial else NAIVE,
        "fit_seconds": attempt.seconds,
        "n_fits": attempt.fits,
        "fit_kind": None,
        "parameters": json.dumps(readable) if made else None,
        "artefact": str(task.stored(position, attempt.cutoff)) if made else None,
    }
    parts = [pd.DataFrame([told]).reindex(columns=columns)]
    if attempt.values is not None:
        forecasts = to_rows(attempt.cutoff, manifest.regions, attempt.values, values).assign(kind="forecast")
        parts.append(forecasts.reindex(columns=columns))
    return pd.concat(parts, ignore_index=True).assign(model=task.models[position].name)
