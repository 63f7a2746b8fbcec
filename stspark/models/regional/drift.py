"""Drift: the season repeats, and goes on rising or falling as it has done on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stspark.models.base import Forecast, Future, Parameters, Series
from stspark.models.regional.empirical import error_facts
from stspark.models.regional.gaussian import gaussian_forecast


@dataclass(frozen=True)
class Drift:
    """The seasonal random walk with drift: y[t] = y[t - m] + c + e (FPP3, 5.2 and 9.5: ARIMA(0,0,0)(0,1,0)[m]).

    With a season of 1 it is the drift method. c is the mean seasonal change over days observed at both ends.
    """

    name: ClassVar[str] = "drift"
    min_length: ClassVar[int] = 2
    carries_forward: ClassVar[bool] = True
    closed_form: ClassVar[bool] = True

    def fit(self, history: Series) -> Parameters:
        """Estimate c and sigma; a history of less than two seasons has no drift. ValueError below 2 days."""
        if len(history) < self.min_length:
            raise ValueError(f"drift needs 2 days of history; there are {len(history)}")
        y, m, seen = history.y, min(history.season, len(history) - 1), history.observed
        steps = (y[m:] - y[:-m])[seen[m:] & seen[:-m]]
        slope = float(steps.mean()) if len(history) >= 2 * history.season and len(steps) else 0.0
        errors = steps - slope
        return {
            "model": "Drift",
            "season": m,
            "drift_per_season": slope,
            "sigma": float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0,
            "steps_used": len(steps),
            **error_facts(errors),
            "days": len(history),
            "last_day": str(history.dates[-1]),
        }

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Last season plus c for each season ahead; variance sigma**2 * k * (1 + k / seasons used), k seasons ahead."""
        m = int(parameters["season"])
        ahead = np.arange(len(future)) // m + 1.0
        mean = history.y[-m:][np.arange(len(future)) % m] + ahead * parameters["drift_per_season"]
        used = max(parameters["steps_used"], 1)
        return gaussian_forecast(mean, parameters["sigma"] * np.sqrt(ahead * (1 + ahead / used)), quantiles)
