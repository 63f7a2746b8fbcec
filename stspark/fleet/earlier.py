"""What earlier runs know of each region's models: parameters, for warm starts, and cost, for packing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from stspark.names import ALL_REGIONS
from stspark.runs import Run
from stspark.settings import Settings
from stspark.store import Store

SECONDS = {
    "seasonal_naive": 0.01,
    "window_average": 0.01,
    "drift": 0.01,
    "croston": 0.02,
    "tsb": 0.02,
    "imapa": 0.02,
    "linear": 0.05,
    "theta": 0.1,
    "auto_ces": 0.1,
    "sarima": 0.3,
    "sarimax": 0.5,
    "mfles": 0.3,
    "mstl": 3.0,
    "auto_ets": 0.5,
    "auto_arima": 3.0,
    "prophet": 2.0,
    "recurrent": 5.0,
    "tbats": 8.0,
}
"""Seconds of one fit and five forecasts of two years of days with a weekly season, before anything was measured."""
UNKNOWN = 1.0
"""The same for a model of the user's own."""
USUAL_DAYS = 730


def earlier_models(store: Store, settings: Settings, run: Run) -> DataFrame | None:
    """region, model, artefact of the newest successful run of this config up to `fleet.warm_days` before; None without.

    Only runs as of an earlier day count, so a run repeated finds what it found before. None also where the back-test
    asks for fits of its own: `backtest.refit`, blocked.
    """
    days, back = settings.fleet.warm_days, settings.backtest
    if not days or back.refit is not None or back.scheme == "blocked":
        return None
    if not (store.exists("runs") and store.exists("models")):
        return None
    names = [model.name for model in settings.regional_models]
    fits = store.read("models").where((F.col("region") != ALL_REGIONS) & F.col("artefact").isNotNull())
    fits = fits.where(F.col("model").isin(names))
    runs = store.read("runs").where(
        (F.col("status") == "ok")
        & (F.col("config_hash") == run.config_hash)
        & (F.col("as_of") < F.lit(run.as_of))
        & (F.col("as_of") >= F.lit(run.as_of - timedelta(days=days)))
    )
    newest = runs.join(fits.select("run_id").distinct(), "run_id", "left_semi").agg(
        F.max_by("run_id", F.struct("as_of", "started")).alias("run_id")
    )
    return fits.join(F.broadcast(newest), "run_id", "left_semi").select("region", "model", "artefact")


def predicted_seconds(frame: DataFrame, models: Sequence[str], store: Store, run: Run) -> DataFrame:
    """region, seconds: what fitting all `models` of a region of the learning frame will cost.

    As measured for the region in the newest earlier run that knows it; else the model's mean over regions, else
    SECONDS, by length of history.
    """
    sizes = frame.groupBy("region").agg((F.count("y") / F.lit(float(USUAL_DAYS))).alias("size"))
    guesses = [(name, SECONDS.get(name, UNKNOWN)) for name in models]
    wanted = frame.sparkSession.createDataFrame(guesses, "model string, guess double")
    pairs = sizes.crossJoin(F.broadcast(wanted))
    seconds = F.col("guess") * F.col("size")
    if store.exists("models"):
        measured = store.read("models").where((F.col("run_id") < F.lit(run.run_id)) & (F.col("fit_seconds") > 0))
        latest = measured.groupBy("region", "model").agg(F.max_by("fit_seconds", "run_id").alias("own"))
        usual = Window.partitionBy("model")
        pairs = pairs.join(latest, ["region", "model"], "left").withColumn("usual", F.avg("own").over(usual))
        seconds = F.coalesce("own", F.col("usual") * F.least("size", F.lit(1.0)), seconds)
    return pairs.groupBy("region").agg(F.sum(seconds).alias("seconds"))
