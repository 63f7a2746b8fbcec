"""Textbook metrics as Spark aggregates over long rows of forecasts beside what came. Only observed days count.

Rows have y, y_hat, one column per quantile, scale and scale_squared (`scale.naive_scale`: the seasonal naive's mean
absolute and mean squared error on the training days of the row's region and cutoff).

Sources: Hyndman & Koehler 2006, Int. J. Forecasting 22 (MAE, MSE, RMSE, MAPE, sMAPE, MASE, RMSSE); Kolassa & Schütz
2007, Foresight 6 (WAPE as MAD/mean); Makridakis et al. 2020 (sMAPE of the M4 competition, 0 to 2); Gneiting & Raftery
2007, JASA 102 (pinball, interval score, CRPS); Winkler 1972, JASA 67; Laio & Tamea 2007, HESS 11 (CRPS as twice the
integral of the pinball loss over its quantiles); Shchur et al. 2025, fev-bench (scaled quantile loss).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise

from pyspark.sql import Column
from pyspark.sql import functions as F

from stspark.names import quantile_column


def metric_columns(quantiles: Sequence[float]) -> dict[str, Column]:
    """Metric name -> aggregate over rows with y, y_hat, scale, scale_squared and quantile columns."""
    return point_metrics() | quantile_metrics(quantiles) | interval_metrics(quantiles)


def point_metrics() -> dict[str, Column]:
    """Metrics of the point forecast.

    mae, mse, rmse: in the target's unit. wape: Σ|e| / Σ|y|; accuracy: 1 − WAPE; bias: Σ(ŷ − y) / Σ|y|. mape: mean
    of |e| / |y| over days with y ≠ 0. smape: mean of 2|e| / (|y| + |ŷ|), 0 where both are 0. mase: mean of |e| / scale;
    rmsse: root of the mean of e² / scale_squared, over rows whose scale is known and not 0.
    """
    y, y_hat = F.col("y"), F.col("y_hat")
    error, square = F.abs(y - y_hat), (y - y_hat) * (y - y_hat)
    wape = F.try_divide(F.sum(error), F.sum(F.abs(y)))
    both = F.abs(y) + F.abs(y_hat)
    return {
        "mae": F.avg(error),
        "mse": F.avg(square),
        "rmse": F.sqrt(F.avg(square)),
        "mape": F.avg(error / _positive(F.abs(y))),
        "smape": F.avg(F.when(both > 0, 2 * error / both).otherwise(F.when(both == 0, 0.0))),
        "wape": wape,
        "accuracy": 1 - wape,
        "bias": F.try_divide(F.sum(y_hat - y), F.sum(F.abs(y))),
        "mase": F.avg(error / _positive(F.col("scale"))),
        "rmsse": F.sqrt(F.avg(square / _positive(F.col("scale_squared")))),
    }


def quantile_metrics(quantiles: Sequence[float]) -> dict[str, Column]:
    """Metrics of the quantiles together.

    pinball: mean loss over the quantiles, not doubled. sql: mean over quantiles of the doubled loss / scale (fev's
    scaled quantile loss). crps: twice the integral of the loss over (0, 1), each quantile standing for the levels that
    are nearest to it.
    """
    losses = [pinball(F.col("y"), F.col(quantile_column(q)), q) for q in quantiles]
    mean = reduce(lambda a, b: a + b, losses) / F.lit(float(len(losses)))
    weighted = [2 * w * loss for w, loss in zip(nearest_levels(quantiles), losses, strict=True)]
    return {
        "pinball": F.avg(mean),
        "sql": F.avg(2 * mean / _positive(F.col("scale"))),
        "crps": F.avg(reduce(lambda a, b: a + b, weighted)),
    }


def interval_metrics(quantiles: Sequence[float]) -> dict[str, Column]:
    """Of each central interval of 100·(1 − α) percent: coverage_K, width_K, winkler_K.

    coverage: share of days within the closed interval [l, u]; width: mean of u − l; winkler: mean of
    (u − l) + (2/α)·(l − y)₊ + (2/α)·(y − u)₊ (interval score, smaller is better).
    """
    y, metrics = F.col("y"), {}
    for low, high in central_intervals(quantiles):
        lower, upper = F.col(quantile_column(low)), F.col(quantile_column(high))
        level, reach = round(100 * (high - low)), 2 / (1 - (high - low))
        missed = F.greatest(lower - y, y - upper, F.lit(0.0))
        metrics[f"coverage_{level}"] = F.avg(((y >= lower) & (y <= upper)).cast("double"))
        metrics[f"width_{level}"] = F.avg(upper - lower)
        metrics[f"winkler_{level}"] = F.avg(upper - lower + reach * missed)
    return metrics


def central_intervals(quantiles: Sequence[float]) -> list[tuple[float, float]]:
    """Pairs of quantiles that enclose a central interval: (0.1, 0.9), (0.2, 0.8) …"""
    return [(q, p) for q in quantiles for p in quantiles if q < 0.5 and abs(q + p - 1) < 1e-9]


def nearest_levels(quantiles: Sequence[float]) -> list[float]:
    """The part of (0, 1) that lies nearest to each quantile; the parts add up to 1."""
    middles = [(a + b) / 2 for a, b in pairwise(quantiles)]
    return [high - low for low, high in zip([0.0, *middles], [*middles, 1.0], strict=True)]


def pinball(y: Column, quantile: Column, q: float) -> Column:
    """Pinball loss of one quantile: q·(y − z) where y is above z, (1 − q)·(z − y) below (not doubled)."""
    return F.greatest(q * (y - quantile), (q - 1) * (y - quantile))


def _positive(value: Column) -> Column:
    """The value where it is above 0, else null: a mean over the quotients leaves the row out."""
    return F.when(value > 0, value)
