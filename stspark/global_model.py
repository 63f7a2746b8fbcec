"""The global model's part of a run: snapshot, distributed training, scoring on executors, its rows."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark import training
from stspark.errors import ConfigError, nearest
from stspark.fleet.results import global_model_row
from stspark.models.deep.stcnn import NetworkConfig
from stspark.settings import Model, Settings
from stspark.snapshot import Manifest, write_snapshot
from stspark.training_loop import TrainingConfig

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run

log = logging.getLogger("stspark")

KNOWN_AHEAD_FROM = 6
"""Position of the first covariate among the learning frame's columns (after learning.IDENTITY)."""


@dataclass(frozen=True)
class Trained:
    """Back-test and as-of forecasts, and the model's row."""

    forecasts: DataFrame
    models: DataFrame


def train_global(job: Job, run: Run, model: Model, frame: DataFrame, cutoffs: Sequence[date]) -> Trained:
    """Train on a learning frame in one distributed launch and forecast from every cutoff.

    Settings that the user can mend (no slots, no GPU) raise; a training that fails leaves a failed row and no forecasts.
    """
    begun = time.monotonic()
    home = folder(job, run, model)
    write_panel(job, run, frame, f"{home}/snapshot")
    result = training.train(job.spark, f"{home}/snapshot", home, training_config(job.settings, model), cutoffs)
    rows = scored(job, run, model, cutoffs)
    row = global_model_row(model.name, "ok", None, time.monotonic() - begun, frame)
    facts = {"parameters": F.lit(result.to_json()), "artefact": F.lit(f"{home}/checkpoints"), "n_fits": F.lit(len(cutoffs))}
    return Trained(rows, row.withColumns(facts))


def scored(job: Job, run: Run, model: Model, cutoffs: Sequence[date]) -> DataFrame:
    """Forecasts of the trained network from these cutoffs, as published: 0 on closed days, not negative for counts."""
    home = folder(job, run, model)
    made = training.score(job.spark, f"{home}/snapshot", f"{home}/checkpoints", cutoffs)
    closed = job.store.read("calendar").select("region", "date", "is_closed")
    joined = made.join(closed, ["region", "date"], "left")

    def published(column: str) -> F.Column:  # type: ignore[name-defined]
        value = F.greatest(F.col(column), F.lit(0.0)) if job.settings.target.non_negative else F.col(column)
        return F.when(F.col("is_closed"), 0.0).otherwise(value).alias(column)

    values = ("y_hat", *job.settings.quantile_columns)
    return joined.select(F.lit(model.name).alias("model"), "region", "cutoff", "date", "horizon", *(published(c) for c in values))


def training_config(settings: Settings, model: Model) -> TrainingConfig:
    """The model's options over the defaults; ConfigError for an unknown or unusable one."""
    network_keys = {f.name for f in dataclasses.fields(NetworkConfig)}
    training_keys = {f.name for f in dataclasses.fields(TrainingConfig)} - {"gpu", "processes", "network"}
    for key in model.options:
        if key not in network_keys | training_keys:
            known = sorted(network_keys | training_keys)
            raise ConfigError(f"models.{model.name}.{key}", "unknown option", f"did you mean '{nearest(key, known) or known[0]}'?")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in model.options.items()}
    network = NetworkConfig(**{k: v for k, v in given.items() if k in network_keys})
    rest = {k: v for k, v in given.items() if k in training_keys}
    return TrainingConfig(gpu=settings.training.gpu, processes=settings.training.processes, network=network, **rest)


def write_panel(job: Job, run: Run, frame: DataFrame, path: str) -> None:
    """Write the learning frame as the dense snapshot that every rank reads."""
    covariates = tuple(frame.columns[KNOWN_AHEAD_FROM:])
    regions = job.store.read("regions").orderBy("position").select("region").toPandas()["region"].tolist()
    present = set(frame.select("region").distinct().toPandas()["region"])
    names = tuple(r for r in regions if r in present)
    place = {name: i for i, name in enumerate(names)}
    edges = job.store.read("region_edges").select("region", "neighbour", "weight").toPandas()
    first, last = frame.agg(F.min("date"), F.max("date")).first() or (None, None)
    assert isinstance(first, date) and isinstance(last, date)
    manifest = Manifest(
        data_version=run.run_id,
        regions=names,
        first_date=first,
        n_history=(run.as_of - first).days + 1,
        n_total=(last - first).days + 1,
        covariates=covariates,
        edges=tuple((place[r], place[n], w) for r, n, w in edges.itertuples(index=False) if r in place and n in place),
        season=job.settings.time.season,
        horizon=job.settings.time.horizon,
        quantiles=job.settings.quantiles,
        seed=job.settings.seed,
    )
    index = job.spark.createDataFrame(list(place.items()), "region string, region_index int")
    rows = frame.join(F.broadcast(index), "region").withColumn("date_index", F.date_diff("date", F.lit(first)))
    write_snapshot(rows, manifest, path)


def folder(job: Job, run: Run, model: Model) -> str:
    """Where a run keeps the model's snapshot and checkpoints."""
    return f"{job.store.home}/_models/{run.run_id}/{model.name}"
