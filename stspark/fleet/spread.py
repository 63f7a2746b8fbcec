"""Spreads regions over executors: packs of whole regions, all models of a region in one pass."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from stspark.columns import schema_of
from stspark.features.learning import in_packs
from stspark.fleet import packing
from stspark.fleet.attempt import Attempt, Plan, Region, attempt_here
from stspark.fleet.isolation import Child
from stspark.fleet.origin import Origin
from stspark.fleet.race import Race
from stspark.fleet.region import Outcome, run_model, stand_in, tried
from stspark.fleet.warm import WarmStart
from stspark.models.base import Forecaster, Future, Series
from stspark.models.regional.registry import build
from stspark.names import NAIVE, quantile_column
from stspark.settings import Backtest, Settings

PACKS_PER_SLOT = 4


@dataclass(frozen=True)
class FleetTask:
    """What a worker needs to know; travels with the function, so it holds plain values only."""

    models: tuple[tuple[str, dict[str, object]], ...]
    names: tuple[str, ...]
    season: int
    plan: Plan
    isolated: bool = True
    warm: tuple[int, float] = (0, 1.0)
    """Age in days and drift up to which earlier parameters are kept."""
    race_margin: float = 0.0

    def build(self) -> dict[str, Forecaster]:
        return {name: build(name, options) for name, options in self.models}


def origin_of(backtest: Backtest) -> Origin:
    """How these settings back-test."""
    return Origin(backtest.gap, backtest.history, backtest.refit, backtest.scheme == "blocked")


def fleet_task(
    settings: Settings, names: Sequence[str], cutoffs: Sequence[date], as_of: date | None = None
) -> FleetTask:
    """The task for these settings; `names` are the known-ahead columns of the learning frame.

    as_of: the day from which forecasts are published, where it is among the cutoffs or later.
    """
    plan = Plan(
        tuple(np.datetime64(c, "D") for c in cutoffs),
        settings.time.horizon,
        settings.quantiles,
        settings.target.non_negative,
        settings.fleet.fit_seconds,
        settings.fleet.fit_megabytes,
        origin_of(settings.backtest),
        None if as_of is None else np.datetime64(as_of, "D"),
    )
    models = tuple((m.name, m.options) for m in settings.regional_models)
    task = FleetTask(
        models,
        tuple(names),
        settings.time.season,
        plan,
        settings.fleet.isolation == "process",
        (settings.fleet.warm_days, settings.fleet.warm_drift),
        settings.fleet.race_margin,
    )
    task.build()  # a model that cannot be built is refused here, not on the workers
    return task


@dataclass(frozen=True)
class Earlier:
    """What earlier runs know. costs: region, seconds; models: region, model, artefact."""

    costs: DataFrame | None = None
    models: DataFrame | None = None


NOTHING = Earlier()


def run_fleet(frame: DataFrame, task: FleetTask, packs: int, earlier: Earlier = NOTHING) -> DataFrame:
    """Fit and back-test every model of every region of a learning frame.

    Returns long rows of two kinds: `forecast` (one per cutoff and day) and `model` (one per region and model).
    """
    if earlier.models is not None:
        frame = _with_artefacts(frame, earlier.models)
    spread = in_packs(frame, packs) if earlier.costs is None else packing.in_packs(frame, earlier.costs, packs)
    return spread.mapInPandas(functools.partial(_fit_pack, task=task), output_schema(task.plan.quantiles))


def score_fleet(frame: DataFrame, models: DataFrame, task: FleetTask, packs: int) -> DataFrame:
    """Forecast the days after the as-of day with stored models; nothing is fitted but a failed model's stand-in.

    models: region, model, artefact (null = the fallback). Returns rows of kind `forecast`.
    """
    spread = in_packs(_with_artefacts(frame, models.where(F.col("region") != "*")), packs)
    return spread.mapInPandas(functools.partial(_score_pack, task=task), output_schema(task.plan.quantiles))


def _with_artefacts(frame: DataFrame, models: DataFrame) -> DataFrame:
    """The frame, and on each region's first day the stored models: JSON of model -> artefact ("" for none)."""
    pairs = F.collect_list(F.struct("model", F.coalesce("artefact", F.lit(""))))
    stored = models.groupBy("region").agg(F.to_json(F.map_from_entries(pairs)).alias("artefacts"))
    first = frame.groupBy("region").agg(F.min("date").alias("date"))
    return frame.join(stored.join(first, "region"), ["region", "date"], "left")


def output_schema(quantiles: Sequence[float]) -> StructType:
    """Rows that leave a worker."""
    texts = dict.fromkeys(("kind", "region", "model"), "string")
    values = dict.fromkeys(("y_hat", *map(quantile_column, quantiles)), "double")
    model = {"fallback_used": "string", "status": "string", "error": "string", "fit_seconds": "double", "n_fits": "int"}
    model |= {"fit_kind": "string"}
    stored = {"parameters": "string", "artefact": "string"}
    return schema_of((texts | {"cutoff": "date", "date": "date", "horizon": "int"} | values | model | stored).items())


def whole_regions(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """One frame per region out of Arrow batches that are sorted by region and date."""
    held: list[pd.DataFrame] = []
    for batch in batches:
        for _, rows in batch.groupby("region", sort=False):
            if held and held[-1]["region"].iloc[-1] != rows["region"].iloc[0]:
                yield pd.concat(held, ignore_index=True)
                held = []
            held.append(rows)
    if held:
        yield pd.concat(held, ignore_index=True)


def to_region(rows: pd.DataFrame, task: FleetTask) -> Region:
    """A region's rows of the learning frame as arrays."""
    dates = pd.to_datetime(rows["date"]).to_numpy().astype("datetime64[D]")
    covariates = rows[list(task.names)].to_numpy(dtype=float) if task.names else np.zeros((len(rows), 0))
    holidays = tuple(rows["holiday_name"].fillna("").astype(str))
    last = task.plan.as_of if task.plan.origin.blocked and task.plan.as_of is not None else task.plan.cutoffs[-1]
    n = int(np.searchsorted(dates, last, side="right"))
    y = rows["y"].to_numpy(dtype=float)[:n]
    observed = rows["observed"].to_numpy(dtype=bool)[:n]
    series = Series(dates[:n], y, observed, covariates[:n], task.names, task.season, holidays[:n])
    closed = rows["is_closed"].to_numpy(dtype=bool)
    return Region(str(rows["region"].iloc[0]), series, Future(dates, covariates, holidays), closed)


@contextmanager
def _attempts(models: Mapping[str, Forecaster], task: FleetTask) -> Iterator[Attempt]:
    """How this task tries its models: in a child that can be killed, or in the worker itself."""
    if not task.isolated:
        yield attempt_here
        return
    with Child(list(models.values()), task.plan) as child:
        yield child.attempt


def _fit_pack(batches: Iterator[pd.DataFrame], task: FleetTask) -> Iterator[pd.DataFrame]:
    models = task.build()
    with _attempts(models, task) as attempt:
        for rows in whole_regions(batches):
            region = to_region(rows, task)
            stored, race = _stored(rows), Race(task.race_margin)
            for name, model in sorted(models.items(), key=_dear):
                warm = WarmStart(json.loads(stored.get(name) or "null"), *task.warm)
                outcome = run_model(model, region, models[NAIVE], task.plan, race.around(warm.around(attempt)))
                outcome.fit_kind = warm.kind
                yield outcome_rows(region.name, name, outcome, task.plan)


def _dear(item: tuple[str, Forecaster]) -> bool:
    """Models that are fitted anew at every cutoff come last: they race against the others."""
    return not item[1].carries_forward


def _stored(rows: pd.DataFrame) -> dict[str, str]:
    """A region's stored models, model -> artefact."""
    found: dict[str, str] = json.loads(rows["artefacts"].iloc[0] or "{}") if "artefacts" in rows else {}
    return found


def _score_pack(batches: Iterator[pd.DataFrame], task: FleetTask) -> Iterator[pd.DataFrame]:
    models = task.build()
    with _attempts(models, task) as attempt:
        for rows in whole_regions(batches):
            region = to_region(rows, task)
            stored = _stored(rows)
            for name, model in models.items():
                outcome = _scored(model, stored.get(name), region, models[NAIVE], (task.plan, attempt))
                yield outcome_rows(region.name, name, outcome, task.plan)


def _scored(
    model: Forecaster, artefact: str | None, region: Region, naive: Forecaster, how: tuple[Plan, Attempt]
) -> Outcome:
    """The forecast of the as-of day from a stored model, or from the naive where there is none."""
    plan, attempt = how
    cutoff = plan.cutoffs[-1]
    outcome = Outcome()
    made = tried(outcome, attempt, (model, json.loads(artefact), region, cutoff, plan)) if artefact else None
    if made is None:
        stand_in(outcome, naive, region, cutoff, plan)
    else:
        outcome.forecasts[cutoff] = made.forecast
    return outcome


def outcome_rows(region: str, model: str, outcome: Outcome, plan: Plan) -> pd.DataFrame:
    """An outcome as rows of `output_schema`: a forecast's rows, cutoff by cutoff, and last the model's own row.

    Built column by column: pandas' own way of joining frames costs more than a cheap model's fits.
    """
    made, h = outcome.forecasts, plan.horizon
    cutoffs = np.repeat(np.array(list(made), dtype="datetime64[D]"), h)
    gaps = np.array([plan.gap(cutoff) for cutoff in made], dtype=int)
    steps = np.repeat(gaps, h) + np.tile(np.arange(1, h + 1), len(made))
    n = len(steps)
    means = np.concatenate([f.mean for f in made.values()]) if made else np.empty(0)
    quantiles = np.concatenate([f.quantiles for f in made.values()]) if made else np.empty((0, len(plan.quantiles)))
    columns: dict[str, list[Any]] = {
        "kind": ["forecast"] * n + ["model"],
        "cutoff": [*cutoffs.astype(object), None],
        "date": [*(cutoffs + steps.astype("timedelta64[D]")).astype(object), None],
        "fallback_used": [outcome.fallbacks.get(c) for c in made for _ in range(h)],
    }
    columns["fallback_used"].append(outcome.fallbacks.get(plan.cutoffs[-1]))
    own: dict[str, object] = {
        "status": outcome.status,
        "error": outcome.error,
        "parameters": outcome.readable(),
        "artefact": outcome.artefact(),
        "fit_kind": outcome.fit_kind,
    }
    for name, value in own.items():
        columns[name] = [*([None] * n), value]
    numbers = {"horizon": steps, "y_hat": means}
    numbers |= {quantile_column(q): quantiles[:, i] for i, q in enumerate(plan.quantiles)}
    measured = {"fit_seconds": outcome.seconds, "n_fits": outcome.fits}
    table = {name: np.append(values.astype(float), np.nan) for name, values in numbers.items()}
    table |= {name: np.append(np.full(n, np.nan), value) for name, value in measured.items()}
    frame = pd.DataFrame({"region": region, "model": model, **columns, **table})
    return frame[output_schema(plan.quantiles).fieldNames()]
