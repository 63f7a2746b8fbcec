"""The watch in Spark: forecasts whose days have come, beside the back-tests of the run that made them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pandas as pd
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stspark.columns import schema_of
from stspark.metrics.definitions import central_intervals
from stspark.names import ALL_REGIONS, IMPUTED, MISSING, OBSERVED, quantile_column
from stspark.settings import Settings
from stspark.tables import MONITORING
from stspark.watch.judge import judge

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run

RECENT, EARLIER = 28, 196
"""Days of the inputs that are compared, and days before them that they are compared with."""
LOST = (MISSING, IMPUTED)
"""Status of days of which it is not known what was sold."""
DAYS = ("region", "family", "part", "cutoff", "date", "y", "missing", "y_hat", "low", "high")


def monitor(job: Job, run: Run, until: date | None = None) -> DataFrame:
    """Rows of `monitoring` for the run: one task judges all regions, since false alarms are counted over all.

    The newest champion forecast of each region and day is judged, of this run and earlier ones, over the last
    `watch.days` days that have come (up to `until`, where a decision must not know more). Where no forecast's day has
    come, the last back-test stands for it, and the row says so in `basis`.
    """
    settings, store = job.settings, job.store
    region_day = store.read("region_day")
    days, basis = watched_days(job, run, until)
    family = store.read("regions").select("region", F.coalesce("parent", F.lit(ALL_REGIONS)).alias("family"))
    actual = region_day.select(
        "region", "date", F.col("target").alias("y"), F.col("status").isin(*LOST).alias("missing")
    )
    joined = days.drop("y").join(actual, ["region", "date"]).join(F.broadcast(family), "region").select(*DAYS)
    last = joined.agg(F.max("date")).first()
    newest = last[0] if last is not None and last[0] is not None else run.as_of
    rows = joined.withColumn("value", F.lit(None).cast("double")).unionByName(
        input_changes(region_day, newest), allowMissingColumns=True
    )
    alpha = settings.watch.alpha
    judged = rows.coalesce(1).mapInPandas(lambda batches: _in_task(batches, alpha), MONITORING_SCHEMA)
    return judged.withColumns({"run_id": F.lit(run.run_id), "basis": F.lit(basis)})


MONITORING_SCHEMA = schema_of((c.name, c.type) for c in MONITORING.columns if c.name not in ("run_id", "basis"))


def watched_days(job: Job, run: Run, until: date | None) -> tuple[DataFrame, str]:
    """region, part, cutoff, date, y_hat, low, high of the days to judge (new) and of back-tests (reference); basis."""
    settings, store = job.settings, job.store
    runs = store.read("runs").where((F.col("status") == "ok") | (F.col("run_id") == run.run_id))
    runs = runs.where(F.col("as_of") <= F.lit(run.as_of)).select("run_id", "started")
    made = store.read("forecasts").where("is_champion").join(F.broadcast(runs), "run_id")
    came = store.read("region_day").where(F.col("status").isin(OBSERVED, *LOST)).select("region", "date")
    if until is not None:
        came = came.where(F.col("date") <= F.lit(until))
    newest = Window.partitionBy("region", "date").orderBy(F.desc("as_of"), F.desc("started"), "run_id")
    made = made.withColumn("cutoff", F.col("as_of")).join(came, ["region", "date"], "left_semi")
    made = made.withColumn("_rank", F.row_number().over(newest)).where("_rank = 1")
    last = made.agg(F.max("date"), F.max_by("run_id", F.struct("as_of", "started"))).first()
    if last is None or last[0] is None:
        backtests = _columns(champions_of(store.read("backtests"), run.run_id), settings)
        newest_cutoff = F.max("cutoff").over(Window.partitionBy(F.lit(0)))
        parts = backtests.withColumn("part", F.when(F.col("cutoff") == newest_cutoff, "new").otherwise("reference"))
        return parts, "backtest"
    recent = made.where(F.col("date") > F.lit(last[0] - timedelta(days=settings.watch.days)))
    new = _columns(recent, settings).withColumn("part", F.lit("new"))
    first = recent.agg(F.min("date")).first()
    assert first is not None
    backtests = _columns(champions_of(store.read("backtests"), last[1]), settings)
    reference = backtests.where(F.col("date") < F.lit(first[0])).withColumn("part", F.lit("reference"))
    return reference.unionByName(new), "forecasts"


def champions_of(backtests: DataFrame, run_id: str) -> DataFrame:
    """A run's back-test rows of each region's champion, chosen at every cutoff by the windows before it."""
    return backtests.where((F.col("run_id") == run_id) & F.col("is_champion"))


def _columns(rows: DataFrame, settings: Settings) -> DataFrame:
    low, high = interval(settings)
    return rows.select(
        "region", "cutoff", "date", "y_hat", low.alias("low"), high.alias("high"), F.lit(None).alias("y")
    )


def interval(settings: Settings) -> tuple[Column, Column]:
    """The central interval nearest to 80%; without any, the point forecast itself."""
    found = central_intervals(settings.quantiles)
    if not found:
        return F.col("y_hat"), F.col("y_hat")
    low, high = min(found, key=lambda pair: abs(pair[1] - pair[0] - 0.8))
    return F.col(quantile_column(low)), F.col(quantile_column(high))


def input_changes(region_day: DataFrame, until: date) -> DataFrame:
    """region, part (input_new, input_reference), date, value: log change of the target on a week before."""
    span = region_day.where(
        (F.col("status") == OBSERVED)
        & (F.col("date") <= F.lit(until))
        & F.col("lag_7").isNotNull()
        & (F.col("date") > F.lit(until - timedelta(days=RECENT + EARLIER)))
    )
    recent = F.col("date") > F.lit(until - timedelta(days=RECENT))
    value = F.log(F.greatest("target", F.lit(0.0)) + 1) - F.log(F.greatest("lag_7", F.lit(0.0)) + 1)
    part = F.when(recent, "input_new").otherwise("input_reference")
    return span.select("region", part.alias("part"), "date", value.alias("value"))


def _in_task(batches: Iterator[pd.DataFrame], alpha: float) -> Iterator[pd.DataFrame]:
    frames = list(batches)
    if not frames:
        return
    rows = pd.concat(frames, ignore_index=True)
    is_input = rows["part"].str.startswith("input")
    days = rows[~is_input].sort_values(["region", "part", "cutoff", "date"], ignore_index=True)
    if days.empty:
        return
    days = days.assign(missing=days["missing"].eq(True))
    inputs = rows[is_input].sort_values(["region", "date"])
    inputs = inputs.assign(part=inputs["part"].str.removeprefix("input_"))[["region", "part", "value"]]
    new = days.loc[days["part"] == "new", "date"]
    made = judge(days[list(DAYS)], inputs, alpha)
    yield made.assign(first_date=new.min(), last_date=new.max())[MONITORING_SCHEMA.fieldNames()]


def describe(monitoring: DataFrame, run_id: str) -> str:
    """Line for the summary: the verdict over all regions, and on what it rests."""
    row = monitoring.where(f"run_id = '{run_id}' and level = 'total'").first()
    if row is None:
        return "no day to judge"
    return f"{row['verdict']} ({row['reason']}; {row['basis']}, {row['first_date']} to {row['last_date']})"
