"""The global model's part of a run: snapshot, distributed training, scoring on executors, its rows."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stspark import training
from stspark.errors import ConfigError, InputError, nearest
from stspark.fleet.results import global_model_row
from stspark.models.deep.stcnn import NetworkConfig
from stspark.names import NAIVE
from stspark.options import typed
from stspark.settings import Model, Settings
from stspark.snapshot import Manifest, write_snapshot
from stspark.training_plan import TrainingConfig

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


def train_global(job: Job, run: Run, model: Model, frame: DataFrame, naive: DataFrame) -> Trained:
    """Train on a learning frame in one distributed launch and forecast from every cutoff of `naive`.

    naive: the seasonal naive's forecasts; they stand in, marked as such, where the training fails or the history is
    too short for it. What the user can mend at once (no slots, no GPU under `always`) raises EnvironmentMistake.
    """
    begun = time.monotonic()
    home = folder(job, run, model)
    cutoffs = sorted(row[0] for row in naive.select("cutoff").distinct().toLocalIterator())
    config = training_config(job.settings, model)
    write_panel(job, run, frame, f"{home}/snapshot")
    status, error, facts = "ok", None, {"n_fits": F.lit(0)}
    try:
        result = training.train(job.spark, f"{home}/snapshot", home, config, cutoffs)
        facts = {
            "parameters": F.lit(result.to_json()),
            "artefact": F.lit(f"{home}/checkpoints"),
            "n_fits": F.lit(len(cutoffs)),
        }
    except training.TrainingFailed as failure:
        status, error = "failed", str(failure)
    except InputError as mistake:
        status, error = "skipped", str(mistake)
    if error is not None:
        log.warning("%s: %s: %s", model.name, status, error)
    row = global_model_row(model.name, status, error, time.monotonic() - begun, frame).withColumns(facts)
    rows = _scored(job, run, model, cutoffs) if status == "ok" else _stand_in(model, naive)
    return Trained(rows, row)


def score_global(job: Job, run: Run, model: Model, models: DataFrame, naive: DataFrame) -> DataFrame:
    """The as-of day's forecasts of the stored network, or the seasonal naive's, marked, where there is none."""
    row = models.where((F.col("model") == model.name) & (F.col("status") == "ok")).first()
    return _stand_in(model, naive) if row is None else _scored(job, run, model, [run.as_of])


def _stand_in(model: Model, naive: DataFrame) -> DataFrame:
    return naive.withColumns({"model": F.lit(model.name), "fallback_used": F.lit(NAIVE)})


def _scored(job: Job, run: Run, model: Model, cutoffs: Sequence[date]) -> DataFrame:
    """Forecasts of the trained network from these cutoffs, as published: 0 on closed days, not negative for counts."""
    home = folder(job, run, model)
    made = training.score(job.spark, f"{home}/snapshot", f"{home}/checkpoints", cutoffs)
    closed = job.store.read("calendar").select("region", "date", "is_closed")
    joined = made.join(closed, ["region", "date"], "left")

    def published(column: str) -> Column:
        value = F.greatest(F.col(column), F.lit(0.0)) if job.settings.target.non_negative else F.col(column)
        return F.when(F.col("is_closed"), 0.0).otherwise(value).alias(column)

    values = ("y_hat", *job.settings.quantile_columns)
    return joined.select(
        F.lit(model.name).alias("model"), "region", "cutoff", "date", "horizon", *(published(c) for c in values)
    )


def training_config(settings: Settings, model: Model) -> TrainingConfig:
    """The model's options over the defaults; ConfigError for an unknown or unusable one."""
    network = {f.name for f in dataclasses.fields(NetworkConfig)}
    known = network | {f.name for f in dataclasses.fields(TrainingConfig)} - {"gpu", "processes", "network"}
    where = f"models.{model.name}"
    for key in model.options:
        if key not in known:
            fix = f"did you mean '{nearest(key, known) or sorted(known)[0]}'?"
            raise ConfigError(f"{where}.{key}", "unknown option", fix)
    given = {"gpu": settings.training.gpu, "processes": settings.training.processes}
    rest = {key: value for key, value in model.options.items() if key not in network}
    inner = typed(NetworkConfig, {key: value for key, value in model.options.items() if key in network}, where)
    return dataclasses.replace(typed(TrainingConfig, given | rest, where), network=inner)


def write_panel(job: Job, run: Run, frame: DataFrame, path: str) -> None:
    """Write the learning frame as the dense snapshot that every rank reads."""
    covariates = tuple(frame.columns[KNOWN_AHEAD_FROM:])
    regions = job.store.read("regions").orderBy("position").select("region").toPandas()["region"].tolist()
    present = set(frame.select("region").distinct().toPandas()["region"])
    names = tuple(r for r in regions if r in present)
    place = {name: i for i, name in enumerate(names)}
    edges = job.store.read("region_edges").select("region", "neighbour", "weight").toPandas()
    first, last = frame.agg(F.min("date"), F.max("date")).first() or (None, None)
    assert isinstance(first, date)
    assert isinstance(last, date)
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
