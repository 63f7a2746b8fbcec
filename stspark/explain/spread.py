"""Explanations in Spark: in each region's task its champion's members are asked again; nothing is fitted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.calendar import event_columns
from stspark.columns import schema_of
from stspark.explain.members import members_of, parts_of_all
from stspark.features import learning
from stspark.fleet import spread
from stspark.names import ALL_REGIONS, COMBINATION

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run

TEXTS = dict.fromkeys(("region", "model", "member", "component"), "string")
SCHEMA = schema_of((TEXTS | {"date": "date", "value": "double", "weight": "double"}).items())


@dataclass(frozen=True)
class ExplainTask:
    """What a worker needs: the fleet's task, and which known-ahead columns are shopping events."""

    fleet: spread.FleetTask
    events: tuple[str, ...]


def explain(job: Job, run: Run) -> DataFrame:
    """Rows of `explanations` for every champion's forecast of the run; values add up to y_hat."""
    settings, store = job.settings, job.store
    calendar = store.read("calendar")
    ahead, opening = settings.time.horizon, settings.regions.opening
    frame = learning.learning_frame(store.read("region_day"), calendar, run.as_of, ahead, opening)
    asked = _asked(store.read("forecasts"), store.read("models"), run.run_id)
    first = frame.groupBy("region").agg(F.min("date").alias("date"))
    packs = spread.packs_of(settings, job.spark)
    spread_out = learning.in_packs(frame.join(asked.join(first, "region"), ["region", "date"], "left"), packs)
    fleet = spread.fleet_task(settings, learning.known_ahead(calendar), [run.as_of], run.as_of)
    task = ExplainTask(fleet, tuple(event_columns(settings.calendar)))
    made = spread_out.mapInPandas(lambda batches: _explain_pack(batches, task), SCHEMA)
    return made.withColumn("run_id", F.lit(run.run_id))


def _asked(forecasts: DataFrame, models: DataFrame, run_id: str) -> DataFrame:
    """region and as JSON what was forecast (told), the stored models and the combination's parameters."""
    mine = F.col("run_id") == run_id
    day = F.struct("model", "date", "y_hat", "fallback_used", "is_champion")
    told = forecasts.where(mine).groupBy("region").agg(F.to_json(F.collect_list(day)).alias("told"))
    pairs = F.collect_list(F.struct("model", F.coalesce("artefact", F.lit(""))))
    weights = F.max(F.when(F.col("model") == COMBINATION, F.col("parameters"))).alias("mixed")
    stored = models.where(mine & (F.col("region") != ALL_REGIONS)).groupBy("region")
    return told.join(stored.agg(F.to_json(F.map_from_entries(pairs)).alias("stored"), weights), "region", "left")


def _explain_pack(batches: Iterator[pd.DataFrame], task: ExplainTask) -> Iterator[pd.DataFrame]:
    models = task.fleet.build()
    for rows in spread.whole_regions(batches):
        head = rows.iloc[0]
        if not isinstance(head["told"], str):
            continue
        told = pd.DataFrame(json.loads(head["told"]))
        told["date"] = pd.to_datetime(told["date"]).dt.date
        told = told.reindex(columns=["model", "date", "y_hat", "fallback_used", "is_champion"])
        stored = json.loads(head["stored"]) if isinstance(head["stored"], str) else {}
        mixed = json.loads(head["mixed"]) if isinstance(head["mixed"], str) else {}
        region = spread.to_region(rows, task.fleet)
        champion, members = members_of(told, stored, mixed.get("weights_by_week", []))
        made = parts_of_all(region, members, models, (task.fleet.plan, task.events))
        yield made.assign(region=region.name, model=champion)[SCHEMA.fieldNames()]


def describe(explanations: DataFrame, run_id: str) -> str:
    """Line for the summary: of which parts the forecasts of all regions and days consist."""
    rows = explanations.where(F.col("run_id") == run_id)
    size = rows.groupBy("component").agg(F.sum("value").alias("value")).orderBy(F.desc(F.abs("value"))).limit(6)
    return ", ".join(f"{row['component']} {row['value']:,.0f}" for row in size.collect())
