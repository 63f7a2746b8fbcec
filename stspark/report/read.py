"""A run's tables, filtered and aggregated in Spark to what a page can show: eight bounded reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stspark.names import ALL_REGIONS, CHAMPION, CLOSED, IMPUTED, MISSING, NAIVE, OBSERVED
from stspark.report.data import WEEKS
from stspark.report.verdict import EVEN
from stspark.store import Store

STATUSES = (OBSERVED, CLOSED, MISSING, IMPUTED)
DAYS_SHOWN = 52 * 7
FAILURES = 100
REASONS = 40


@dataclass(frozen=True)
class Scope:
    """Which run, and the days it forecasts."""

    run_id: str
    as_of: date
    horizon: int

    @property
    def weeks_back(self) -> int:
        """Days from a forecast day back to the same weekday that the run knew: whole weeks."""
        return 7 * -(-self.horizon // 7)

    def of_run(self, frame: DataFrame) -> DataFrame:
        """The rows of this run."""
        return frame.where(F.col("run_id") == self.run_id)


def collect(frame: DataFrame) -> pd.DataFrame:
    """The rows as pandas: dates as datetime64, null text as None; only for frames that are bounded."""
    rows = frame.toPandas()
    for field in frame.schema:
        column = rows[field.name]
        if field.dataType.simpleString() == "date":
            rows[field.name] = pd.to_datetime(column)
        if field.dataType.simpleString() == "string":
            rows[field.name] = pd.Series([None if pd.isna(v) else v for v in column], dtype=object)
    return rows


def region_summary(store: Store, scope: Scope) -> DataFrame:
    """One row per region: place, volume, days by status, outlook, back-test error; and `all_…` over all regions."""
    known = store.read("region_day").where(F.col("date") <= F.lit(scope.as_of))
    recent = F.col("date") > F.lit(scope.as_of - timedelta(weeks=WEEKS))
    days = known.groupBy("region").agg(
        F.sum(F.when(recent, F.abs("target"))).alias("volume"),
        *(F.count_if(F.col("status") == status).alias(f"n_{status}") for status in STATUSES),
        F.min("date").alias("first_day"),
        F.max(F.when(F.col("status") == OBSERVED, F.col("date"))).alias("last_day"),
    )
    summary = store.read("regions").select("region", "name", "lat", "lng").join(days, "region", "left")
    summary = summary.join(_next_days(store, scope, known), "region", "left").join(
        _errors(store, scope), "region", "left"
    )
    return summary.fillna({"volume": 0.0}).withColumns(_over_all())


def _next_days(store: Store, scope: Scope, known: DataFrame) -> DataFrame:
    """region, champion, fallback_used, next_total; comparable, before: sums over days whose day before was observed."""
    lately = F.col("date") > F.lit(scope.as_of - timedelta(days=scope.weeks_back))
    before = known.where(lately & (F.col("status") == OBSERVED)).select(
        "region", F.date_add("date", scope.weeks_back).alias("date"), F.col("target").alias("before")
    )
    champions = scope.of_run(store.read("forecasts")).where("is_champion")
    with_calendar = champions.join(_calendar(store, scope), ["region", "date"], "left").join(
        before, ["region", "date"], "left"
    )
    both = F.col("before").isNotNull() & ~F.col("is_closed")
    return (
        with_calendar.withColumn("is_closed", F.coalesce("is_closed", F.lit(False)))
        .groupBy("region")
        .agg(
            F.first("model").alias("champion"),
            F.max("fallback_used").alias("fallback_used"),
            F.sum("y_hat").alias("next_total"),
            F.sum(F.when(both, F.col("y_hat"))).alias("comparable"),
            F.sum(F.when(both, F.col("before"))).alias("before"),
        )
    )


def _errors(store: Store, scope: Scope) -> DataFrame:
    """region, wape of the champion, wape_naive."""
    whole = scope.of_run(store.read("metrics")).where(
        "source = 'backtest' and level = 'region' and horizon = 0 and metric = 'wape'"
    )
    return whole.groupBy("region").agg(
        F.max(F.when(F.col("model") == CHAMPION, F.col("value"))).alias("wape"),
        F.max(F.when(F.col("model") == NAIVE, F.col("value"))).alias("wape_naive"),
    )


def _over_all() -> dict[str, Column]:
    """Sums over all regions, on every row: they outlive the limit on rows."""
    all_ = Window.partitionBy(F.lit(0))
    better, worse = F.col("wape_naive") * (1 - EVEN), F.col("wape_naive") * (1 + EVEN)
    sums = {
        "regions": F.lit(1),
        "volume": F.col("volume"),
        "next_total": F.col("next_total"),
        "comparable": F.col("comparable"),
        "before": F.col("before"),
        "measured": (F.col("wape").isNotNull() & F.col("wape_naive").isNotNull()).cast("int"),
        "better": (F.col("wape") < better).cast("int"),
        "worse": (F.col("wape") > worse).cast("int"),
        **{f"n_{status}": F.col(f"n_{status}") for status in STATUSES},
    }
    columns = {f"all_{name}": F.sum(value).over(all_) for name, value in sums.items()}
    return columns | {"all_first_day": F.min("first_day").over(all_), "all_last_day": F.max("last_day").over(all_)}


def _calendar(store: Store, scope: Scope) -> DataFrame:
    """What is known of the days ahead."""
    ahead = store.read("calendar").where(F.col("date") > F.lit(scope.as_of))
    return ahead.select("region", "date", "is_closed", "holiday_name")


def days(store: Store, scope: Scope, shown: list[str]) -> DataFrame:
    """ReportData.days: a year of the regions shown and of the sum over all, and days of the forecast that have come."""
    span = F.col("date").between(
        F.lit(scope.as_of - timedelta(days=DAYS_SHOWN - 1)), F.lit(scope.as_of + timedelta(days=scope.horizon))
    )
    filled = F.coalesce("target", F.when(F.col("status") == IMPUTED, F.col("target_clean")))
    rows = store.read("region_day").where(span).select("region", "date", filled.alias("target"), "status")
    some = (
        F.when(F.count("target") > 0, OBSERVED)
        .when(F.count_if(F.col("status") == CLOSED) > 0, CLOSED)
        .otherwise(MISSING)
    )
    total = rows.groupBy("date").agg(
        F.sum("target").alias("target"),
        some.alias("status"),
        F.count("target").alias("n_known"),
        F.count("*").alias("n_regions"),
    )
    one = rows.where(F.col("region").isin(shown)).withColumns({"n_known": F.lit(1), "n_regions": F.lit(1)})
    return one.unionByName(total.withColumn("region", F.lit(ALL_REGIONS)))


def forecasts(store: Store, scope: Scope, shown: list[str], quantile_columns: list[str]) -> DataFrame:
    """ReportData.forecasts: champions of the regions shown, and their sums by date and model over all regions."""
    champions = (
        scope.of_run(store.read("forecasts"))
        .where("is_champion")
        .join(_calendar(store, scope), ["region", "date"], "left")
    )
    rows = champions.select(
        "region",
        "date",
        "model",
        "y_hat",
        *quantile_columns,
        "fallback_used",
        F.coalesce("is_closed", F.lit(False)).alias("is_closed"),
        "holiday_name",
        F.lit(1).cast("bigint").alias("n_regions"),
    )
    total = rows.groupBy("date", "model").agg(
        F.sum("y_hat").alias("y_hat"), F.every("is_closed").alias("is_closed"), F.count("*").alias("n_regions")
    )
    total = total.withColumn("region", F.lit(ALL_REGIONS))
    return rows.where(F.col("region").isin(shown)).unionByName(total, allowMissingColumns=True)


def backtests(store: Store, scope: Scope, shown: list[str]) -> DataFrame:
    """ReportData.backtests: champion and naive of the regions shown, and sums over all; closed days have no value."""
    tested = scope.of_run(store.read("backtests")).where("not warm_up")
    naive = tested.where(F.col("model") == NAIVE).withColumn("role", F.lit("naive"))
    both = (
        tested.where("is_champion")
        .withColumn("role", F.lit("champion"))
        .unionByName(naive)
        .select("region", "cutoff", "date", "role", F.when(F.col("status") != CLOSED, F.col("y_hat")).alias("y_hat"))
    )
    total = (
        both.groupBy("cutoff", "date", "role")
        .agg(F.sum("y_hat").alias("y_hat"))
        .withColumn("region", F.lit(ALL_REGIONS))
    )
    return both.where(F.col("region").isin(shown)).unionByName(total)


def metrics(store: Store, scope: Scope) -> DataFrame:
    """ReportData.metrics: those over all regions, as published."""
    return (
        scope.of_run(store.read("metrics"))
        .where("level = 'all' and source <> 'raw'")
        .select("source", "model", "horizon", "metric", "value", "n")
    )


def fits(store: Store, scope: Scope) -> DataFrame:
    """Rows of kind `count` by model and status, and of kind `failure`: the first of the fits that are not ok."""
    rows = scope.of_run(store.read("models"))
    counts = rows.groupBy("model", "status").agg(
        F.count("*").alias("n"), F.sum("fit_seconds").alias("fit_seconds"), F.sum("n_fits").alias("n_fits")
    )
    bad = rows.where("status <> 'ok'").select("region", "model", "status", "error", "fallback_used")
    worst = F.when(F.col("status") == "failed", 0).when(F.col("status") == "timeout", 1).otherwise(2)
    first = bad.orderBy(worst, "model", "region").limit(FAILURES)
    return counts.withColumn("kind", F.lit("count")).unionByName(
        first.withColumn("kind", F.lit("failure")), allowMissingColumns=True
    )


def account(store: Store) -> DataFrame:
    """Rows of kind `file_count` (one: n files and rows by fate) and `reason` (the commonest, with an example)."""
    total = store.read("ingested_files").agg(
        F.count("*").alias("n"),
        *(F.sum(c).alias(c) for c in ("rows_read", "rows_kept", "rows_rejected", "rows_duplicate")),
    )
    reasons = (
        store.read("events_rejected")
        .groupBy("reason", "column")
        .agg(F.count("*").alias("n"), F.min("raw_text").alias("example"))
    )
    commonest = reasons.orderBy(F.desc("n"), "reason", "column").limit(REASONS)
    return total.withColumn("kind", F.lit("files")).unionByName(
        commonest.withColumn("kind", F.lit("reason")), allowMissingColumns=True
    )


def edges(store: Store, placed: list[str]) -> DataFrame:
    """Neighbour pairs among these regions."""
    pairs = store.read("region_edges").select("region", "neighbour")
    return pairs.where(F.col("region").isin(placed) & F.col("neighbour").isin(placed))
