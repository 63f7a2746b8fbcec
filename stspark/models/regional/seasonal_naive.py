"""Seasonal naive: the value of the same day one season ago, and what every other model has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional.gaussian import gaussian_forecast


@dataclass(frozen=True)
class SeasonalNaive:
    """A seasonal random walk (Hyndman & Athanasopoulos, FPP3, 5.2 and 5.5).

    It is the fallback of all other models, so any history of one day or more will do, also a
    constant or an empty shop's zeros. min_length is therefore 1, not one season.
    """

    name: ClassVar[str] = "seasonal_naive"
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = True
    closed_form: ClassVar[bool] = True

    def fit(self, history: Series) -> Parameters:
        """Estimate the one-step sigma: the root mean square of y[t] - y[t - season].

        Only pairs count of which both days were observed. Where there is none, sigma is the
        standard deviation of the observed days (of all days where none was observed).
        Raises ValueError for an empty history.
        """
        if len(history) == 0:
            raise ValueError("seasonal_naive needs at least 1 day of history; there is none")
        steps = _seasonal_steps(history)
        if len(steps):
            sigma, source = float(np.sqrt(np.mean(steps**2))), "seasonal steps"
        else:
            kept = history.y[history.observed] if history.observed.any() else history.y
            sigma, source = float(np.std(kept)), "spread of days"
        return {
            "season": history.season,
            "sigma": sigma,
            "sigma_source": source,
            "steps_used": len(steps),
            "days": len(history),
            "last_day": str(history.dates[-1]),
        }

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Repeat the last season; step h has the standard deviation sigma * sqrt(k + 1), k whole seasons ahead.

        k = floor((h - 1) / season) (FPP3, table 5.2).
        """
        season, steps_ahead = int(parameters["season"]), np.arange(len(future))
        mean = _last_season(history.y, season)[steps_ahead % season]
        sd = float(parameters["sigma"]) * np.sqrt(steps_ahead // season + 1.0)
        return gaussian_forecast(mean, sd, quantiles)


def _seasonal_steps(history: Series) -> Floats:
    """y[t] - y[t - season] where both days were observed: [at most n - season]."""
    y, seen, season = history.y, history.observed, history.season
    if len(y) <= season:
        return np.empty(0)
    steps: Floats = (y[season:] - y[:-season])[seen[season:] & seen[:-season]]
    return steps


def _last_season(y: Floats, season: int) -> Floats:
    """[season] the season that ends with y; days before the first are the mean of what there is."""
    missing = max(season - len(y), 0)
    return np.concatenate([np.full(missing, np.mean(y)), y[-season:]])
