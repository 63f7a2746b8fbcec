"""The global models' part of a run: one snapshot, then networks trained by ranks, panel models one task a cutoff."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stspark import boosting, panel_models
from stspark.errors import ConfigError, InputError, nearest
from stspark.fleet.results import global_model_row
from stspark.models.deep.checkpoint import copy_checkpoint, is_there
from stspark.models.deep.pretrained import check_pretrained, pretrained_key
from stspark.models.deep.registry import network_options
from stspark.models.deep.transformer import TransformerConfig
from stspark.models.deep.warm_start import latest_checkpoint
from stspark.models.panel.registry import build as build_panel
from stspark.models.panel.registry import partial_models
from stspark.names import NAIVE
from stspark.settings import Model, Settings
from stspark.snapshot import Manifest, load_manifest, local_path, write_snapshot
from stspark.staging import staged
from stspark.training import train as training
from stspark.training.plan import TrainingConfig, config_of, usual_patience

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run

log = logging.getLogger("stspark")

KNOWN_AHEAD_FROM = 6
"""Position of the first covariate among the learning frame's columns (after learning.IDENTITY)."""


FORECAST_KEYS = ("model", "region", "cutoff", "date", "horizon")
VALUES = ("y_hat",)


@dataclass(frozen=True)
class Trained:
    """Back-test and as-of forecasts, and the models' rows."""

    forecasts: DataFrame
    models: DataFrame


def train_globals(job: Job, run: Run, frame: DataFrame, naive: DataFrame) -> list[Trained]:
    """Train every global model on a learning frame and forecast from every cutoff of `naive`.

    naive: the seasonal naive's forecasts; they stand in, marked as such, where a model has none. The snapshot that all
    of them read is written once.
    """
    settings = job.settings
    if not settings.global_models:
        return []
    cutoffs = sorted(row[0] for row in naive.select("cutoff").distinct().collect())
    for model in settings.networks:  # before hours of others' training
        if begun := training_config(settings, model).pretrained:
            pretrained_key(begun, cutoffs[0], f"models.{model.name}.pretrained")
    write_panel(job, run, frame, snapshot_folder(job, run))
    trained = [_train_network(job, run, model, naive, cutoffs) for model in settings.networks]
    if settings.panel_models:
        trained.append(_train_panels(job, run, naive, cutoffs))
    return trained


def score_globals(job: Job, run: Run, models: DataFrame, naive: DataFrame) -> list[DataFrame]:
    """The as-of day's forecasts of the stored global models, with the seasonal naive's, marked, where they lack."""
    scored = []
    for model in job.settings.networks:
        row = models.where((F.col("model") == model.name) & F.col("artefact").isNotNull()).first()
        made = None if row is None else _scored(job, run, model, [run.as_of])
        scored.append(_stand_in(model, naive) if made is None else _filled(job, made, [model.name], naive))
    if job.settings.panel_models:
        task = _panel_task(job, run, [run.as_of])
        rows = staged(job, "panel_scores", panel_models.score_panels(job.spark, task))
        scored.append(_panel_forecasts(job, rows, naive))
    return scored


def carry_globals(job: Job, run: Run, frame: DataFrame, before: Run, rows: DataFrame) -> DataFrame | str:
    """Serve a run with the networks of an earlier one, and with panel models fitted on its as-of day alone.

    rows: the earlier run's rows of `models`. Returns those of this run's global models, or why a network cannot serve:
    its checkpoint is gone, or regions, their neighbours or covariates have changed.
    """
    made = rows.where("false")
    for model in job.settings.networks:
        row = rows.where(F.col("model") == model.name)
        theirs, ours = (f"{folder(job, r, model)}/checkpoints" for r in (before, run))
        if not row.where("artefact is not null").isEmpty():  # else it failed or was skipped, and its row says so
            if not is_there(local_path(theirs), before.as_of):
                return f"needed: the checkpoint of {model.name} is gone from {theirs}"
            row = row.withColumn("artefact", F.lit(ours))
            copy_checkpoint((local_path(theirs), before.as_of), (local_path(ours), run.as_of))
        made = made.unionByName(row)
    write_panel(job, run, frame, snapshot_folder(job, run))
    if job.settings.networks and (why := _outgrown(job, run, before)):
        return f"needed: {why}"
    if job.settings.panel_models:
        made = made.unionByName(_fitted_panels(job, run, [run.as_of])[1], allowMissingColumns=True)
    return made


def _outgrown(job: Job, run: Run, before: Run) -> str:
    """What of the snapshot an earlier run's networks cannot follow; "" where they can."""
    now = load_manifest(snapshot_folder(job, run))
    try:
        then = load_manifest(snapshot_folder(job, before))
    except InputError as gone:
        return str(gone)
    kinds = {"regions": "regions", "covariates": "covariates", "edges": "neighbours"}
    changed = [word for name, word in kinds.items() if getattr(now, name) != getattr(then, name)]
    return f"{changed[0]} have changed since the networks were trained" if changed else ""


def _train_panels(job: Job, run: Run, naive: DataFrame, cutoffs: Sequence[date]) -> Trained:
    """All panel models; one that fails leaves its row and the naive's forecasts."""
    rows, models = _fitted_panels(job, run, cutoffs)
    return Trained(_panel_forecasts(job, rows, naive), models)


def _fitted_panels(job: Job, run: Run, cutoffs: Sequence[date]) -> tuple[DataFrame, DataFrame]:
    """What all panel models say from these cutoffs, in one stage, and their rows of `models`."""
    task = boosting.fitted_before(job.spark, _panel_task(job, run, cutoffs), job.settings.training.processes)
    rows = staged(job, "panel_models", panel_models.fit_panels(job.spark, task))
    models = panel_models.model_rows(rows)
    for bad in models.where("status != 'ok'").select("model", "status", "error").collect():
        log.warning("%s: %s: %s", *bad)
    return rows, models


def _panel_task(job: Job, run: Run, cutoffs: Sequence[date]) -> panel_models.PanelTask:
    snapshot, home = (str(local_path(f)) for f in (snapshot_folder(job, run), models_folder(job, run)))
    settings = job.settings
    return panel_models.PanelTask(settings.panel_models, snapshot, home, tuple(cutoffs), settings.training.fit_seconds)


def _panel_forecasts(job: Job, rows: DataFrame, naive: DataFrame) -> DataFrame:
    """Published forecasts of all panel models; the naive's, marked, for each cutoff and region that lacks one."""
    made = rows.where("kind = 'forecast'").select(*FORECAST_KEYS, *VALUES, *job.settings.quantile_columns)
    partial = partial_models(job.settings.panel_models)
    return _filled(job, made, [model.name for model in job.settings.panel_models if model.name not in partial], naive)


def _filled(job: Job, made: DataFrame, models: Sequence[str], naive: DataFrame) -> DataFrame:
    """Published forecasts of these models; the naive's, marked, for each cutoff and region that lacks one."""
    names = job.spark.createDataFrame([(name,) for name in models], "model string")
    wanted = naive.drop("model", "fallback_used").crossJoin(F.broadcast(names))
    lacking = wanted.join(made, ["model", "region", "cutoff"], "left_anti").withColumn("fallback_used", F.lit(NAIVE))
    return _published(job, made).unionByName(lacking, allowMissingColumns=True)


def _train_network(job: Job, run: Run, model: Model, naive: DataFrame, cutoffs: Sequence[date]) -> Trained:
    """Train in one distributed launch.

    Where the training fails or the history is too short for it, the naive stands in. What the user can mend at once
    (no slots, no GPU under `always`) raises EnvironmentMistake.
    """
    begun = time.monotonic()
    home = folder(job, run, model)
    config = training_config(job.settings, model)
    status, error, facts = "ok", None, {"n_fits": F.lit(0)}
    try:
        result = training.train(job.spark, snapshot_folder(job, run), home, config, cutoffs)
        facts = {
            "parameters": F.lit(result.to_json()),
            "artefact": F.lit(f"{home}/checkpoints"),
            "n_fits": F.lit(len(cutoffs)),
        }
    except training.TrainingFailed as failure:
        status, error = "failed", str(failure)
    except InputError as mistake:
        status, error = "skipped", str(mistake)
    rows = _stand_in(model, naive)
    if error is None:
        made = _filled(job, _scored(job, run, model, cutoffs), [model.name], naive)
        rows = staged(job, f"network-{model.folder}", made)
        error = _lost(rows)
        status = "ok" if error is None else "failed"
    if error is not None:
        log.warning("%s: %s: %s", model.name, status, error)
    row = global_model_row(model.name, status, error, time.monotonic() - begun, naive).withColumns(facts)
    return Trained(rows, row)


def _lost(rows: DataFrame) -> str | None:
    """What to say where the naive had to stand in for some regions of a network; None where it did not."""
    lost = rows.where("fallback_used is not null").select("cutoff", "region").distinct()
    first = lost.orderBy("cutoff", "region").first()
    if first is None:
        return None
    what = f"'{first['region']}' at cutoff {first['cutoff']} for one"
    return f"forecast of {lost.count()} regions and cutoffs is not finite or explodes, {what}"


def _stand_in(model: Model, naive: DataFrame) -> DataFrame:
    return naive.withColumns({"model": F.lit(model.name), "fallback_used": F.lit(NAIVE)})


def _scored(job: Job, run: Run, model: Model, cutoffs: Sequence[date]) -> DataFrame:
    """Forecasts of the trained network from these cutoffs, of regions whose forecast is sound."""
    checkpoints, gpu = f"{folder(job, run, model)}/checkpoints", job.settings.training.gpu
    made = training.score(job.spark, snapshot_folder(job, run), checkpoints, cutoffs, gpu)
    return made.withColumn("model", F.lit(model.name))


def _published(job: Job, made: DataFrame) -> DataFrame:
    """Forecasts as they may be seen: 0 on closed days, not negative for counts."""
    closed = job.store.read("calendar").select("region", "date", "is_closed")
    joined = made.join(closed, ["region", "date"], "left")

    def published(column: str) -> Column:
        value = F.greatest(F.col(column), F.lit(0.0)) if job.settings.target.non_negative else F.col(column)
        return F.when(F.col("is_closed"), 0.0).otherwise(value).alias(column)

    return joined.select(*FORECAST_KEYS, *map(published, (*VALUES, *job.settings.quantile_columns)))


def training_config(settings: Settings, model: Model) -> TrainingConfig:
    """The model's options over the defaults; ConfigError for an unknown or unusable one."""
    fields = {f.name for f in dataclasses.fields(TrainingConfig)} - {"gpu", "processes", "name", "network"}
    known, where = fields | network_options(model.name), f"models.{model.name}"
    for key in model.options:
        if key not in known:
            fix = f"did you mean '{nearest(key, known) or sorted(known)[0]}'?"
            raise ConfigError(f"{where}.{key}", "unknown option", fix)
    patience = usual_patience(settings.time.horizon, settings.time.season)
    usual = {"gpu": settings.training.gpu, "processes": settings.training.processes, "patience": patience}
    made = config_of(model.name, model.options, where, usual)
    if made.warm_start and made.pretrained:
        raise ConfigError(f"{where}.pretrained", "stands beside warm_start", "begin with one of them")
    if made.warm_start:
        made = dataclasses.replace(made, warm_start=str(local_path(made.warm_start)))
        latest_checkpoint(Path(made.warm_start), date.max)
    if not made.pretrained:
        return made
    if not isinstance(made.network, TransformerConfig):
        raise ConfigError(f"{where}.pretrained", f"{model.name} has no pretraining", "leave it out; transformer has")
    check_pretrained(made.pretrained, made.network.size, f"{where}.pretrained")
    return dataclasses.replace(made, pretrained=str(local_path(made.pretrained)))


def write_panel(job: Job, run: Run, frame: DataFrame, path: str) -> None:
    """Write the learning frame as the dense snapshot that every rank reads."""
    covariates = tuple(frame.columns[KNOWN_AHEAD_FROM:])
    past_only = _past_only(job, covariates)
    region_day = job.store.read("region_day").where(F.col("date") <= F.lit(run.as_of))
    frame = frame.join(region_day.select("region", "date", *past_only), ["region", "date"], "left")
    regions = job.store.read("regions").orderBy("position").select("region").toPandas()["region"].tolist()
    begun = F.bool_or(F.col("date") <= F.lit(run.as_of)).alias("begun")
    present: dict[str, bool] = dict(frame.groupBy("region").agg(begun).toPandas().itertuples(index=False))
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
        past_only=past_only,
        parents=_parents(job),
        opening=tuple(name for name in names if not present[name]),
    )
    index = job.spark.createDataFrame(list(place.items()), "region string, region_index int")
    rows = frame.join(F.broadcast(index), "region").withColumn("date_index", F.date_diff("date", F.lit(first)))
    write_snapshot(rows, manifest, path)


def _parents(job: Job) -> dict[str, str]:
    """Region -> its parent, where it has one: the config's goes before the regions' file."""
    listed = job.store.read("regions").select("region", "parent").toPandas().set_index("region")["parent"].dropna()
    return {str(region): str(parent) for region, parent in (listed.to_dict() | job.settings.hierarchy.parents).items()}


def _past_only(job: Job, covariates: Sequence[str]) -> tuple[str, ...]:
    """Columns of region_day, beside the target, whose past some panel model reads (its member `reads`)."""
    numeric = {f.name for f in job.store.read("region_day").schema if f.dataType.simpleString() in ("double", "bigint")}
    wanted: set[str] = set()
    for model in job.settings.panel_models:
        for column in getattr(build_panel(model.name, model.options), "reads", ()):
            where = f"models.{model.name}: '{column}'"
            if column in covariates:
                raise ConfigError(where, "is known ahead and used as it is", "name a column known for the past only")
            if column not in numeric:
                like = nearest(column, numeric) or ", ".join(sorted(numeric))
                raise ConfigError(where, "is no numeric column of region_day", f"did you mean '{like}'?")
            wanted.add(column)
    return tuple(sorted(wanted))


def models_folder(job: Job, run: Run) -> str:
    """Where a run keeps its global models."""
    return f"{job.store.home}/_models/{run.run_id}"


def snapshot_folder(job: Job, run: Run) -> str:
    """Where a run keeps the snapshot that its global models read."""
    return f"{models_folder(job, run)}/snapshot"


def folder(job: Job, run: Run, model: Model) -> str:
    """Where a run keeps the model's checkpoints."""
    return f"{models_folder(job, run)}/{model.folder}"
