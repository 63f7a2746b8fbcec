"""Sums in Spark: the nodes above the regions are forecast as the fleet's regions are; one task makes all add up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from stspark.columns import schema_of
from stspark.features import learning
from stspark.fleet import spread
from stspark.hierarchy.sums import SumsTask, sums
from stspark.hierarchy.tree import TOTAL, Tree, build_tree
from stspark.hierarchy.windows import CHAMPION_ROW, windows_of
from stspark.names import CLOSED, quantile_column
from stspark.session import slots
from stspark.settings import Settings

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run


def read_tree(regions: DataFrame, forecasts: DataFrame, parents: Mapping[str, str]) -> Tree:
    """The tree of the regions that have forecasts; `parents` adds to the regions' own and goes before it."""
    have = regions.join(forecasts.select("region").distinct(), "region", "left_semi").select("region", "parent")
    own = {row["region"]: parents.get(row["region"], row["parent"]) for row in have.collect()}
    return build_tree(own, {node: parent for node, parent in parents.items() if node not in own})


def upper_forecasts(job: Job, run: Run, tree: Tree, cutoffs: Sequence[date]) -> DataFrame:
    """Rows of the fleet (rows.output_schema) for the nodes above the regions, from these cutoffs and now."""
    settings, store = job.settings, job.store
    calendar = store.read("calendar")
    frame = learning.learning_frame(store.read("region_day"), calendar, run.as_of, settings.time.horizon)
    task = level_task(settings, learning.known_ahead(calendar), [*cutoffs, run.as_of], run.as_of)
    packs = min(tree.n_upper, settings.fleet.packs or 2 * slots(job.spark))
    return spread.run_fleet(upper_frame(frame, ancestry(frame, tree)), task, packs)


def level_task(settings: Settings, names: Sequence[str], cutoffs: Sequence[date], as_of: date) -> spread.FleetTask:
    """The fleet's task with the hierarchy's models, each with the options that the config gives it."""
    given = {model.name: model.options for model in settings.models}
    asked = settings.hierarchy.models
    task = spread.fleet_task(settings, names, cutoffs, as_of)
    task = dataclasses.replace(task, models=tuple((name, given.get(name, {})) for name in asked))
    task.build()
    return task


def ancestry(frame: DataFrame, tree: Tree) -> DataFrame:
    """region, node for every node above every region; `frame` lends its session."""
    pairs = [
        (region, node)
        for row, node in enumerate(tree.nodes[: tree.n_upper])
        for column, region in enumerate(tree.regions)
        if tree.summing[row, column]
    ]
    return frame.sparkSession.createDataFrame(pairs, "region string, node string")


def upper_frame(frame: DataFrame, pairs: DataFrame) -> DataFrame:
    """A learning frame (learning.IDENTITY and known-ahead columns) of the nodes above the regions, as `region`.

    A closed region adds nothing; where no region was observed, the node's day is filled by the regions' fills and not
    observed. Closed where all are; a holiday where all have it; other columns are means over the regions.
    """
    shut = F.col("is_closed") & ~F.col("observed")
    ahead = [c for c in frame.columns if c not in learning.IDENTITY]
    summed = (
        frame.join(F.broadcast(pairs), "region")
        .groupBy("node", "date")
        .agg(
            F.sum(F.when(shut, 0.0).otherwise(F.col("y"))).alias("_open"),
            F.sum("y").alias("_all"),
            F.bool_or("observed").alias("observed"),
            F.every("is_closed").alias("is_closed"),
            F.when(F.count("holiday_name") == F.count("*"), F.max("holiday_name")).alias("holiday_name"),
            *(F.avg(c).alias(c) for c in ahead),
        )
    )
    y = F.when(F.col("_all").isNotNull(), F.when(F.col("observed"), F.col("_open")).otherwise(F.col("_all")))
    return summed.select(
        F.col("node").alias("region"), "date", F.round(y, 6).alias("y"), *learning.IDENTITY[3:], *ahead
    )


def base_rows(job: Job, run: Run, upper: DataFrame) -> DataFrame:
    """Rows of windows.windows_of: the regions' champions at each cutoff and now, and all that the nodes above say."""
    store, quantiles = job.store, job.settings.quantile_columns
    mine = (F.col("run_id") == run.run_id) & F.col("is_champion")
    calendar = store.read("calendar").select("region", "date", "is_closed")
    told = ("model", "cutoff", "date", "horizon", "y", "closed", "warm_up", "y_hat", "fallback_used", *quantiles)
    values = [F.col("region").alias("node"), *map(F.col, told)]
    none = {"y": F.lit(None).cast("double"), "warm_up": F.lit(False)}
    shut = F.coalesce((F.col("status") == CLOSED) | (F.col("is_closed") & F.col("y").isNull()), F.lit(False))
    past = store.read("backtests").where(mine).join(calendar, ["region", "date"], "left").withColumn("closed", shut)
    now = store.read("forecasts").where(mine).join(calendar, ["region", "date"], "left")
    now = now.withColumns({**none, "cutoff": F.col("as_of"), "closed": F.coalesce("is_closed", F.lit(False))})
    champions = past.withColumn("model", F.lit(CHAMPION_ROW)).select(*values)
    champions = champions.unionByName(now.withColumn("model", F.lit(CHAMPION_ROW)).select(*values))
    above = upper.where("kind = 'forecast'").withColumns({**none, "closed": F.lit(False)})
    return champions.unionByName(above.select(*values))


def reconcile(base: DataFrame, settings: Settings, tree: Tree, as_of: date) -> DataFrame:
    """Reconcile `base_rows` in one task (its matrices are as wide as there are nodes)."""
    asked, floor = settings.hierarchy, settings.target.non_negative
    task = SumsTask(tree, asked.method, settings.quantiles, as_of, floor, asked.draws, settings.seed)
    columns = output_schema(settings.quantiles)

    def work(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        frames = list(batches)
        if frames:
            rows = pd.concat(frames, ignore_index=True)
            for made in sums(windows_of(rows, task.tree, task.quantiles, task.as_of), task):
                yield made[columns.fieldNames()]

    whole = base.coalesce(1).sortWithinPartitions("cutoff", "node", "model", "date")
    return whole.mapInPandas(work, columns)


def output_schema(quantiles: Sequence[float]) -> StructType:
    """Rows of forecast_levels (kind forecast) and backtest_levels (kind backtest)."""
    texts = dict.fromkeys(("kind", "level", "node", "parent", "model", "method"), "string")
    days = {"cutoff": "date", "date": "date", "horizon": "int"}
    values = dict.fromkeys(("y", "y_base", "y_hat", *map(quantile_column, quantiles)), "double")
    return schema_of((texts | days | values).items())


def cutoffs_of(backtests: DataFrame, run_id: str) -> list[date]:
    """The cutoffs that a run was back-tested from (those of an earlier run, where it took that run's models)."""
    rows = backtests.where(F.col("run_id") == run_id).select("cutoff").distinct()
    return sorted(row[0] for row in rows.collect())


def of_run(rows: DataFrame, run: Run) -> DataFrame:
    """The rows under the run's id and as-of day."""
    return rows.withColumns({"run_id": F.lit(run.run_id), "as_of": F.lit(run.as_of)})


def describe(forecasts: DataFrame, backtests: DataFrame, run_id: str) -> str:
    """Line for the summary: method, total of the horizon, and the daily total's error: by itself, summed up, by the
    method, and as it would have been published by what was chosen at each cutoff."""
    mine = (F.col("run_id") == run_id) & (F.col("level") == TOTAL)
    now = forecasts.where(mine & (F.col("horizon") == 0)).first()
    if now is None:
        return "no node above the regions"
    known_days = backtests.where(mine & (F.col("horizon") > 0) & F.col("y").isNotNull())
    known_days = known_days.where(F.col("model").isin("base", "bottom_up", now["method"], "reconciled"))
    wape = F.try_divide(F.sum(F.abs(F.col("y") - F.col("y_hat"))), F.sum("y"))
    rows = known_days.groupBy("model").agg(wape.alias("wape")).where("wape is not null").orderBy("model").collect()
    shown = ", ".join(f"{row['model'].replace('reconciled', 'published')} {row['wape']:.4f}" for row in rows)
    return (
        f"{now['method']}, total of the horizon {now['y_hat']:,.0f}; WAPE of the daily total: {shown or 'not tested'}"
    )
