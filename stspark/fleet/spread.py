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
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from stspark.columns import schema_of
from stspark.features.learning import in_packs
from stspark.fleet.attempt import Attempt, Plan, Region, attempt_here
from stspark.fleet.isolation import Child
from stspark.fleet.origin import Origin
from stspark.fleet.region import Outcome, run_model, stand_in, tried
from stspark.models.base import Forecast, Forecaster, Future, Series
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
    task = FleetTask(models, tuple(names), settings.time.season, plan, settings.fleet.isolation == "process")
    task.build()  # a model that cannot be built is refused here, not on the workers
    return task


def run_fleet(frame: DataFrame, task: FleetTask, packs: int) -> DataFrame:
    """Fit and back-test every model of every region of a learning frame.

    Returns long rows of two kinds: `forecast` (one per cutoff and day) and `model` (one per region and model).
    """
    spread = in_packs(frame, packs)
    return spread.mapInPandas(functools.partial(_fit_pack, task=task), output_schema(task.plan.quantiles))


def score_fleet(frame: DataFrame, models: DataFrame, task: FleetTask, packs: int) -> DataFrame:
    """Forecast the days after the as-of day with stored models; nothing is fitted but a failed model's stand-in.

    models: region, model, artefact (null = the fallback). Returns rows of kind `forecast`.
    """
    stored = (
        models.where(F.col("region") != "*")
        .groupBy("region")
        .agg(
            F.to_json(F.map_from_entries(F.collect_list(F.struct("model", F.coalesce("artefact", F.lit("")))))).alias(
                "artefacts"
            )
        )
    )
    first = frame.groupBy("region").agg(F.min("date").alias("date"))
    carried = stored.join(first, "region")
    spread = in_packs(frame.join(carried, ["region", "date"], "left"), packs)
    return spread.mapInPandas(functools.partial(_score_pack, task=task), output_schema(task.plan.quantiles))


def output_schema(quantiles: Sequence[float]) -> StructType:
    """Rows that leave a worker."""
    texts = dict.fromkeys(("kind", "region", "model"), "string")
    values = dict.fromkeys(("y_hat", *map(quantile_column, quantiles)), "double")
    model = {"fallback_used": "string", "status": "string", "error": "string", "fit_seconds": "double", "n_fits": "int"}
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
            for name, model in models.items():
                outcome = run_model(model, region, models[NAIVE], task.plan, attempt)
                yield outcome_rows(region.name, name, outcome, task.plan)


def _score_pack(batches: Iterator[pd.DataFrame], task: FleetTask) -> Iterator[pd.DataFrame]:
    models = task.build()
    with _attempts(models, task) as attempt:
        for rows in whole_regions(batches):
            region = to_region(rows, task)
            stored: dict[str, str] = json.loads(rows["artefacts"].iloc[0] or "{}")
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
    """An outcome as rows of `output_schema`."""
    columns = output_schema(plan.quantiles).fieldNames()
    parts = [
        _forecast_rows(cutoff, forecast, plan).assign(fallback_used=outcome.fallbacks.get(cutoff))
        for cutoff, forecast in outcome.forecasts.items()
    ]
    status = pd.DataFrame(
        {
            "kind": ["model"],
            "fallback_used": [outcome.fallbacks.get(plan.cutoffs[-1])],
            "status": [outcome.status],
            "error": [outcome.error],
            "fit_seconds": [outcome.seconds],
            "n_fits": [outcome.fits],
            "parameters": [outcome.readable()],
            "artefact": [outcome.artefact()],
        }
    )
    frame = pd.concat(
        [*(p.reindex(columns=columns) for p in parts), status.reindex(columns=columns)], ignore_index=True
    )
    return frame.assign(region=region, model=model)


def _forecast_rows(cutoff: np.datetime64, forecast: Forecast, plan: Plan) -> pd.DataFrame:
    steps = plan.gap(cutoff) + np.arange(1, len(forecast.mean) + 1)
    made = {quantile_column(q): forecast.quantiles[:, i] for i, q in enumerate(plan.quantiles)}
    dates = (cutoff + steps.astype("timedelta64[D]")).astype(object)
    return pd.DataFrame(
        {
            "kind": "forecast",
            "cutoff": cutoff.astype(object),
            "date": dates,
            "horizon": steps,
            "y_hat": forecast.mean,
            **made,
        }
    )
