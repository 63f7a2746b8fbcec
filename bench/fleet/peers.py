"""What the fleet is measured beside: statsforecast by itself and through Fugue, and a groupBy per model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from statsforecast import StatsForecast
from statsforecast.models import ARIMA, AutoARIMA, AutoETS, DynamicOptimizedTheta, SeasonalNaive, WindowAverage
from statsforecast.utils import ConformalIntervals

from bench.fleet.panels import HORIZON, SEASON

LEVEL = [80]
PEERS: dict[str, Callable[[], Any]] = {
    "seasonal_naive": lambda: SeasonalNaive(SEASON),
    "window_average": lambda: WindowAverage(56, prediction_intervals=ConformalIntervals(h=HORIZON)),
    "theta": lambda: DynamicOptimizedTheta(SEASON),
    "auto_ets": lambda: AutoETS(SEASON, "AZA"),
    "sarima": lambda: ARIMA((1, 0, 1), SEASON, (0, 1, 1)),
    "auto_arima": lambda: AutoARIMA(
        season_length=SEASON, max_p=3, max_q=3, max_P=1, max_Q=1, D=1, approximation=True, nmodels=20
    ),
}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    made = work()
    return time.perf_counter() - begun, made


def alone(data: pd.DataFrame, models: Sequence[str], slots: int, windows: int = 3) -> float:
    """statsforecast on all cores of this machine, without Spark; without a stand-in one odd series would end it."""
    peer = StatsForecast([PEERS[m]() for m in models], freq="D", n_jobs=slots, fallback_model=SeasonalNaive(SEASON))
    work = lambda: peer.cross_validation(  # noqa: E731
        df=data, h=HORIZON, step_size=HORIZON, n_windows=windows, refit=True, level=LEVEL
    )
    return timed(work)[0]


def through_fugue(frame: DataFrame, models: Sequence[str], windows: int = 3) -> float:
    """statsforecast on Spark through Fugue, whose engine it finds by the frame's type."""
    peer = StatsForecast([PEERS[m]() for m in models], freq="D")
    rows = frame.where("y is not null").selectExpr("region as unique_id", "cast(date as timestamp_ntz) as ds", "y")

    def work() -> None:
        made = peer.cross_validation(df=rows, h=HORIZON, step_size=HORIZON, n_windows=windows, refit=True, level=LEVEL)
        made.write.format("noop").mode("overwrite").save()

    return timed(work)[0]


def per_group(frame: DataFrame, models: Sequence[str], windows: int = 3) -> float:
    """groupBy(region).applyInPandas, one job per model, as most write it."""
    schema = "region string, cutoff int, step int, y_hat double, lo double, hi double"
    rows = frame.where("y is not null").select("region", "date", "y")

    def job(name: str) -> None:
        def fit(group: pd.DataFrame) -> pd.DataFrame:
            y = group.sort_values("date")["y"].to_numpy()
            parts = []
            for window in range(windows, 0, -1):
                made = PEERS[name]().forecast(y=y[: len(y) - HORIZON * window], h=HORIZON, level=LEVEL)
                parts.append(
                    pd.DataFrame({
                        "region": group["region"].iloc[0], "cutoff": window, "step": range(HORIZON),
                        "y_hat": made["mean"], "lo": made["lo-80"], "hi": made["hi-80"],
                    })
                )  # fmt: skip
            return pd.concat(parts)

        made = rows.groupBy("region").applyInPandas(fit, schema)
        made.write.format("noop").mode("overwrite").save()

    return timed(lambda: [job(name) for name in models])[0]
