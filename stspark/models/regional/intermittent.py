"""What models of intermittent demand share: a flat forecast from statsforecast, errors from its fitted values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional.empirical import empirical_forecast, error_facts

RECENT = 182
"""Days whose errors make the quantiles: a level that has grown erred otherwise before."""
Smoother = Callable[[Floats], tuple[float, Floats]]
"""y [n], not negative -> its level for all days ahead, and fitted values [n] (NaN where there is none)."""


def demand(history: Series) -> Floats:
    """The target as demand: net returns count as no demand, since sizes of demand are positive."""
    return np.maximum(history.y, 0.0)


def facts(model: str, history: Series, smoother: Smoother) -> Parameters:
    """Level, demand interval, mean size and errors of a history; raise ValueError where it is empty."""
    if not len(history):
        raise ValueError(f"{model} needs 1 day of history; there is none")
    y = demand(history)
    level, fitted = smoother(y)
    sizes = y[y > 0]
    return {
        "model": model,
        "level": level,
        "days_with_demand": len(sizes),
        "demand_interval": len(y) / len(sizes) if len(sizes) else None,
        "mean_size": float(sizes.mean()) if len(sizes) else None,
        **error_facts((y - fitted)[history.observed]),
        "days": len(history),
        "last_day": str(history.dates[-1]),
    }


def flat_forecast(history: Series, future: Future, quantiles: Sequence[float], smoother: Smoother) -> Forecast:
    """The level on every day; quantiles from the errors that the fitted values made lately."""
    y = demand(history)
    level, fitted = smoother(y)
    errors = (y - fitted)[-RECENT:][history.observed[-RECENT:]]
    return empirical_forecast(np.full(len(future), level), errors, quantiles)
