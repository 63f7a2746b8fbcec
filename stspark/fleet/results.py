"""What the fleet and the global model return, as rows of `backtests`, `models` and `forecasts`."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.errors import InputError
from stspark.names import ALL_REGIONS, CHAMPION, NAIVE


def to_backtests(forecasts: DataFrame, region_day: DataFrame, as_of: date, run_id: str) -> DataFrame:
    """Forecasts from back-test cutoffs beside what came: y and status of each day."""
    actual = region_day.select("region", "date", "status", F.col("target").alias("y"))
    past = forecasts.where(F.col("cutoff") < F.lit(as_of)).drop("status")
    return past.join(actual, ["region", "date"], "left").withColumn("run_id", F.lit(run_id))


def to_forecasts(forecasts: DataFrame, champions: DataFrame, as_of: date, run_id: str) -> DataFrame:
    """Forecasts from the as-of day, the region's champion marked."""
    coming = forecasts.where(F.col("cutoff") == F.lit(as_of)).drop("status")
    marked = coming.join(F.broadcast(champions.withColumnRenamed("model", "champion")), "region", "left")
    is_champion = F.col("model") == F.coalesce("champion", F.lit(NAIVE))
    return marked.withColumns({"is_champion": is_champion, "as_of": F.lit(as_of), "run_id": F.lit(run_id)})


def choose_champions(backtests: DataFrame) -> DataFrame:
    """region, model: the smallest summed absolute error over all observed back-test days.

    A model takes part where it made every forecast itself (no stand-in); the seasonal naive wins ties.
    """
    return _best(_errors(backtests, "region"), "region")


def champions_by_cutoff(backtests: DataFrame) -> DataFrame:
    """cutoff, region, model: the choice that all other cutoffs make, so that a cutoff never judges its own choice.

    With one cutoff there are no others: then the seasonal naive.
    """
    own = _errors(backtests, "region", "cutoff").withColumnsRenamed({"error": "own_error", "stood_in": "own_stood_in"})
    total = _errors(backtests, "region")
    others = own.join(total, ["region", "model"]).select(
        "region",
        "cutoff",
        "model",
        (F.col("error") - F.col("own_error")).alias("error"),
        (F.col("stood_in") - F.col("own_stood_in")).alias("stood_in"),
    )
    return _best(others, "region", "cutoff")


def _errors(backtests: DataFrame, *by: str) -> DataFrame:
    """Summed absolute error and number of stand-ins by these columns and model; days without actual add nothing."""
    return backtests.groupBy(*by, "model").agg(
        F.coalesce(F.sum(F.abs(F.col("y") - F.col("y_hat"))), F.lit(0.0)).alias("error"),
        F.count_if(F.col("fallback_used").isNotNull()).alias("stood_in"),
    )


def _best(errors: DataFrame, *by: str) -> DataFrame:
    contest = errors.where((F.col("stood_in") == 0) | (F.col("model") == NAIVE))
    ranked = F.min_by("model", F.struct(F.round("error", 9), F.col("model") != NAIVE, "model"))
    return contest.groupBy(*by).agg(ranked.alias("model"))


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
    return ", ".join(f"{row['count']:,} {row['status']}" for row in counts.toLocalIterator())


def describe_forecasts(forecasts: DataFrame, run_id: str) -> str:
    """Line for the summary: regions and days."""
    mine = forecasts.where((F.col("run_id") == run_id) & F.col("is_champion"))
    row = mine.agg(F.count_distinct("region"), F.min("date"), F.max("date")).first()
    assert row is not None
    return f"{row[0]:,} regions, {row[1]} to {row[2]}"


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
    value = {(row["model"], row["metric"]): row["value"] for row in chosen.toLocalIterator()}
    ours, naive = value.get((CHAMPION, "wape")), value.get((NAIVE, "wape"))
    if ours is None or naive is None:
        return "no back-test day was observed"
    verdict = "better" if ours < naive else "NOT better"
    covered = value.get((CHAMPION, "coverage_80"))
    interval = f"; its 80% interval held {covered:.0%}" if covered is not None else ""
    return f"champion WAPE {ours:.4f}, seasonal naive {naive:.4f} ({verdict}){interval}"
