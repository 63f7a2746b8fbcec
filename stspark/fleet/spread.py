"""Spreads regions over executors: packs of whole regions, all models of a region in one pass."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stspark.features.learning import in_packs
from stspark.fleet import packing
from stspark.fleet.attempt import Attempt, Plan, Region, attempt_here
from stspark.fleet.isolation import Child
from stspark.fleet.origin import Origin
from stspark.fleet.race import Race
from stspark.fleet.region import Outcome, run_model, stand_in, tried
from stspark.fleet.rows import Labelled, frames, output_schema
from stspark.fleet.warm import WarmStart
from stspark.models.base import Forecaster, Future, Series
from stspark.models.regional.registry import build
from stspark.names import NAIVE
from stspark.session import slots
from stspark.settings import Backtest, Settings
from stspark.worker import settle

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


def packs_of(settings: Settings, spark: SparkSession) -> int:
    """How many tasks regions are spread over."""
    return settings.fleet.packs or PACKS_PER_SLOT * slots(spark)


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


def _regions(batches: Iterator[pd.DataFrame], task: FleetTask) -> Iterator[tuple[pd.DataFrame, Region]]:
    """The regions that have a day of history: one that is only announced is no case for its own models."""
    for rows in whole_regions(batches):
        region = to_region(rows, task)
        if len(region.series):
            yield rows, region


@contextmanager
def _attempts(models: Mapping[str, Forecaster], task: FleetTask) -> Iterator[Attempt]:
    """How this task tries its models: in a child that can be killed, or in the worker itself."""
    settle()
    if not task.isolated:
        yield attempt_here
        return
    with Child(list(models.values()), task.plan) as child:
        yield child.attempt


def _fit_pack(batches: Iterator[pd.DataFrame], task: FleetTask) -> Iterator[pd.DataFrame]:
    yield from frames(_fitted(batches, task), task.plan)


def _fitted(batches: Iterator[pd.DataFrame], task: FleetTask) -> Iterator[Labelled]:
    models = task.build()
    with _attempts(models, task) as attempt:
        for rows, region in _regions(batches, task):
            stored, race = _stored(rows), Race(task.race_margin)
            for name, model in sorted(models.items(), key=_dear):
                warm = WarmStart(json.loads(stored.get(name) or "null"), *task.warm)
                outcome = run_model(model, region, models[NAIVE], task.plan, race.around(warm.around(attempt)))
                outcome.fit_kind = warm.kind
                yield region.name, name, outcome


def _dear(item: tuple[str, Forecaster]) -> bool:
    """Models that are fitted anew at every cutoff come last: they race against the others."""
    return not item[1].carries_forward


def _stored(rows: pd.DataFrame) -> dict[str, str]:
    """A region's stored models, model -> artefact."""
    found: dict[str, str] = json.loads(rows["artefacts"].iloc[0] or "{}") if "artefacts" in rows else {}
    return found


def _score_pack(batches: Iterator[pd.DataFrame], task: FleetTask) -> Iterator[pd.DataFrame]:
    yield from frames(_scored(batches, task), task.plan)


def _scored(batches: Iterator[pd.DataFrame], task: FleetTask) -> Iterator[Labelled]:
    models = task.build()
    with _attempts(models, task) as attempt:
        for rows, region in _regions(batches, task):
            stored = _stored(rows)
            for name, model in models.items():
                yield region.name, name, _score(model, stored.get(name), region, models[NAIVE], (task.plan, attempt))


def _score(
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
