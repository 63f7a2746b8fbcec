"""The ensemble over all regions: what they share is learnt from a bounded sample, then each is finished alone."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from stspark.columns import schema_of
from stspark.ensemble import choose
from stspark.ensemble.finish import Finished, Plan, Pool, finish, learn
from stspark.ensemble.windows import Axes, to_windows
from stspark.metrics.slices import EVENT, day_types, demand_classes
from stspark.models.panel.registry import partial_models
from stspark.names import COMBINATION, NAIVE, quantile_column
from stspark.settings import Settings

SAMPLE = 200
"""Regions that stand for all: picked by the hash of their names."""
SMALLEST_WEIGHT = 0.0005
"""Weights below it are left out of the readable parameters."""


@dataclass(frozen=True)
class Known:
    """What is known besides the forecasts: region_day and calendar, both of all regions."""

    region_day: DataFrame
    calendar: DataFrame


def ensemble_plan(settings: Settings) -> Plan:
    """The plan for these settings."""
    asked = settings.ensemble
    return Plan(
        asked.combination,
        asked.calibration,
        asked.metric,
        asked.guard,
        asked.fewest_windows,
        settings.target.non_negative,
        partial_models(settings.panel_models),
    )


def prepare(rows: DataFrame, known: Known, as_of: date) -> DataFrame:
    """Forecasts of several cutoffs beside what the ensemble must know: y, status, event, closed, demand.

    y is null after the as-of day; the class of demand is that of the days up to the first cutoff.
    """
    actual = known.region_day.where(F.col("date") <= F.lit(as_of))
    first = rows.agg(F.min("cutoff").alias("first"))
    before = actual.join(F.broadcast(first), F.col("date") <= F.col("first"))
    typed = day_types(known.calendar).join(known.calendar.select("region", "date", "is_closed"), ["region", "date"])
    joined = (
        rows.join(actual.select("region", "date", "status", F.col("target").alias("y")), ["region", "date"], "left")
        .join(typed, ["region", "date"], "left")
        .join(F.broadcast(demand_classes(before)), "region", "left")
    )
    return joined.withColumns(
        {
            "event": F.coalesce(F.col("day_type") == EVENT, F.lit(False)),
            "closed": F.coalesce("is_closed", F.lit(False)),
            "demand": F.coalesce("demand", F.lit("none")),
        }
    ).drop("day_type", "is_closed")


def finish_regions(rows: DataFrame, settings: Settings, models: Sequence[str], first: date | None = None) -> DataFrame:
    """Every region's forecasts with the combination, calibrated quantiles and champions.

    rows: as `prepare` makes them; models: those that take part; first: cutoff from which rows are wanted (None: all).
    Returns rows of kind `forecast`, and of kind `model`: the combination's weights and the region's choice as of the
    last cutoff.
    """
    plan = ensemble_plan(settings)
    order = (NAIVE, *sorted(set(models) - {NAIVE}))
    cutoffs = tuple(sorted(row[0] for row in rows.select("cutoff").distinct().collect()))
    horizons = tuple(sorted(row[0] for row in rows.select("horizon").distinct().collect()))
    axes = Axes(cutoffs, horizons, order, settings.quantiles)
    picked = rows.select("region").distinct().orderBy(F.xxhash64("region"), "region").limit(SAMPLE)
    sample = rows.join(F.broadcast(picked), "region").toPandas()
    classes = dict(zip(sample["region"], sample["demand"], strict=True))
    pool = learn(to_windows(sample, axes), classes, plan)
    return rows.groupBy("region").applyInPandas(
        lambda region: _finish(region, axes=axes, pool=pool, plan=plan, first=first), output_schema(settings.quantiles)
    )


def output_schema(quantiles: Sequence[float]) -> StructType:
    """Rows that leave a worker."""
    keys = {"kind": "string", "region": "string", "model": "string", "cutoff": "date", "date": "date"}
    values = dict.fromkeys(("y", "y_hat", *map(quantile_column, quantiles)), "double")
    facts = {"horizon": "int", "status": "string", "fallback_used": "string", "is_champion": "boolean"}
    model = {"fit_seconds": "double", "n_fits": "int", "parameters": "string", "artefact": "string"}
    return schema_of((keys | facts | values | model).items())


def _finish(frame: pd.DataFrame, axes: Axes, pool: Pool, plan: Plan, first: date | None) -> pd.DataFrame:
    """A region's rows of `output_schema`."""
    begun = time.monotonic()
    start = 0 if first is None else axes.cutoffs.index(first)
    done = finish(to_windows(frame, axes), str(frame["demand"].iloc[0]), pool, plan, start)
    made = _forecast_rows(done, frame, start).assign(kind="forecast")
    columns = output_schema(axes.levels).fieldNames()
    if COMBINATION not in done.windows.models:
        return made.reindex(columns=columns)
    text = json.dumps(_parameters(done))
    row: dict[str, Any] = {"kind": "model", "model": COMBINATION, "status": "ok", "parameters": text, "artefact": text}
    row |= {"is_champion": False, "fit_seconds": time.monotonic() - begun, "n_fits": 1}
    whole = pd.concat([made.reindex(columns=columns), pd.DataFrame([row]).reindex(columns=columns)], ignore_index=True)
    return whole.assign(region=done.windows.regions[0])


def _forecast_rows(done: Finished, frame: pd.DataFrame, start: int) -> pd.DataFrame:
    """One row per cutoff from place `start` on, day and model; 0 on days known to be closed."""
    windows = done.windows
    k, h, m = np.nonzero(np.isfinite(windows.point[0]))
    k, h, m = (part[k >= start] for part in (k, h, m))
    rows = pd.DataFrame(
        {
            "cutoff": [windows.cutoffs[i] for i in k],
            "horizon": np.asarray(windows.horizons, dtype="int32")[h],
            "model": np.asarray(windows.models, dtype=object)[m],
            "y_hat": done.point[0, k, h, m],
            "is_champion": done.champion[0, k] == m,
            **{quantile_column(q): done.quantiles[0, k, h, m, i] for i, q in enumerate(windows.levels)},
        }
    )
    days = frame.drop_duplicates(["cutoff", "horizon"])[["cutoff", "horizon", "date", "status", "y", "closed"]]
    own = frame[["cutoff", "horizon", "model", "fallback_used"]]
    rows = rows.merge(days, on=["cutoff", "horizon"]).merge(own, on=["cutoff", "horizon", "model"], how="left")
    values = ["y_hat", *map(quantile_column, windows.levels)]
    rows[values] = rows[values].where(~rows["closed"].astype(bool), 0.0)
    return rows.assign(region=windows.regions[0]).drop(columns="closed")


def _parameters(done: Finished) -> dict[str, Any]:
    """What was learnt for the last cutoff, in words and numbers."""
    windows, last = done.windows, len(done.windows.cutoffs) - 1
    chosen, losses = int(done.champion[0, last]), done.losses[0]
    by_week = [
        {windows.models[m]: round(float(w), 4) for m, w in enumerate(week) if w > SMALLEST_WEIGHT}
        for week in done.weights[0, last]
    ]
    statistic, p_value = choose.diebold_mariano(losses[windows.apart(last)], chosen, windows.naive)
    known = np.isfinite(losses[:last, windows.naive])
    mean = {
        name: round(float(losses[:last][known][:, m].mean()), 6)
        for m, name in enumerate(windows.models)
        if known.any() and np.isfinite(losses[:last][known][:, m]).all()
    }
    return {
        "champion": windows.models[chosen],
        "weights": by_week[0],
        "weights_by_week": by_week,
        "windows": int(known.sum()),
        "mean_loss": mean,
        "diebold_mariano": None if np.isnan(statistic) else round(statistic, 4),
        "p_value": None if np.isnan(p_value) else round(p_value, 6),
    }
