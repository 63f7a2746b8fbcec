"""What the fleet and the global model return, as rows of `backtests`, `models` and `forecasts`."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.errors import InputError
from stspark.names import ALL_REGIONS, BORROWED, CHAMPION, NAIVE


def to_backtests(finished: DataFrame, judged_from: date, as_of: date, run_id: str) -> DataFrame:
    """Finished forecasts from back-test cutoffs; those before `judged_from` only warmed up."""
    past = finished.where(F.col("cutoff") < F.lit(as_of))
    return past.withColumns({"warm_up": F.col("cutoff") < F.lit(judged_from), "run_id": F.lit(run_id)})


def to_forecasts(finished: DataFrame, as_of: date, run_id: str) -> DataFrame:
    """Finished forecasts from the as-of day."""
    coming = finished.where(F.col("cutoff") == F.lit(as_of))
    return coming.withColumns({"as_of": F.lit(as_of), "run_id": F.lit(run_id)})


def global_model_row(name: str, status: str, error: str | None, seconds: float, frame: DataFrame) -> DataFrame:
    """The `models` row of a model that covers all regions; `frame` lends its session."""
    values = [(ALL_REGIONS, name, status, error, None if status == "ok" else NAIVE, seconds)]
    schema = "region string, model string, status string, error string, fallback_used string, fit_seconds double"
    return frame.sparkSession.createDataFrame(values, schema)


def of_run(models: DataFrame, run_id: str) -> DataFrame:
    """Rows of kind `model` under the run's id."""
    return models.withColumn("run_id", F.lit(run_id))


def require_run(frame: DataFrame, run_id: str) -> DataFrame:
    """The run's rows; InputError where there are none yet."""
    rows = frame.where(F.col("run_id") == run_id)
    if rows.isEmpty():
        raise InputError(
            f"run {run_id}", "has not been trained", "run jobs/train.py with the same config and --as-of first"
        )
    return rows


def with_actuals(forecasts: DataFrame, region_day: DataFrame, scale: DataFrame) -> DataFrame:
    """Forecasts whose days have come, beside y and their region's newest scale; champions once more by that name."""
    actual = region_day.select("region", "date", F.col("target").alias("y"))
    newest = scale.groupBy("region").agg(*(F.max_by(name, "cutoff").alias(name) for name in ("scale", "scale_squared")))
    forecasts = forecasts.withColumn("cutoff", F.col("as_of"))
    rows = forecasts.join(actual, ["region", "date"]).join(newest, "region", "left")
    return rows.unionByName(rows.where("is_champion").withColumn("model", F.lit(CHAMPION)))


def describe_models(models: DataFrame, run_id: str) -> str:
    """Line for the summary: how many fits ended how."""
    counts = models.where(F.col("run_id") == run_id).groupBy("status").count().orderBy("status")
    return ", ".join(f"{row['count']:,} {row['status']}" for row in counts.collect())


def describe_forecasts(forecasts: DataFrame, run_id: str) -> str:
    """Line for the summary: regions and days."""
    mine = forecasts.where((F.col("run_id") == run_id) & F.col("is_champion"))
    row = mine.agg(F.count_distinct("region"), F.min("date"), F.max("date")).first()
    assert row is not None
    return f"{row[0]:,} regions, {row[1]} to {row[2]}"


def describe_borrowed(forecasts: DataFrame, run_id: str) -> str:
    """Line for the summary: regions whose forecast is borrowed; "" where none is."""
    mine = forecasts.where((F.col("run_id") == run_id) & F.col("is_champion") & (F.col("model") == BORROWED))
    return _named(mine.select("region").distinct())


def unforecast(frame: DataFrame, forecasts: DataFrame, run_id: str) -> str:
    """Line for the summary: regions of the learning frame for which no model has a forecast; "" where there is none."""
    mine = forecasts.where((F.col("run_id") == run_id) & F.col("is_champion"))
    return _named(frame.select("region").distinct().join(mine, "region", "left_anti"))


def _named(regions: DataFrame, most: int = 5) -> str:
    """The first names by the alphabet, and how many more there are."""
    names = [str(row["region"]) for row in regions.orderBy("region").limit(most).collect()]
    more = regions.count() - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def describe_errors(metrics: DataFrame, run_id: str) -> str:
    """Line for the summary: WAPE of the champion against the seasonal naive, and the coverage of its 80% interval."""
    chosen = metrics.where(
        (F.col("run_id") == run_id)
        & (F.col("source") == "backtest")
        & (F.col("level") == "all")
        & (F.col("horizon") == 0)
        & F.col("model").isin(CHAMPION, NAIVE)
        & F.col("metric").isin("wape", "coverage_80")
    )
    value = {(row["model"], row["metric"]): row["value"] for row in chosen.collect()}
    ours, naive = value.get((CHAMPION, "wape")), value.get((NAIVE, "wape"))
    if ours is None or naive is None:
        return "no back-test day was observed"
    verdict = "better" if ours < naive else "NOT better"
    covered = value.get((CHAMPION, "coverage_80"))
    interval = f"; its 80% interval held {covered:.0%}" if covered is not None else ""
    return f"champion WAPE {ours:.4f}, seasonal naive {naive:.4f} ({verdict}){interval}"
