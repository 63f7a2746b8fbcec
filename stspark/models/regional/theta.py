"""The dynamic optimised theta model (statsforecast's DynamicOptimizedTheta)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import options
from stspark.models.regional.empirical import error_facts
from stspark.models.regional.gaussian import gaussian_forecast
from stspark.models.regional.statsforecast_adapter import (
    Fitted,
    days_to_filter,
    fit_theta,
    fitted_days,
    forecast_theta,
    statsforecast_errors,
    training_days,
)

_BURN_IN = 3
"""First residuals that say more of the start than of the fit; statsforecast drops as many."""


@dataclass(frozen=True)
class Theta:
    """DOTM of Fiorucci, Pellegrini, Louzada, Petropoulos & Koehler (2016), "Models for optimising the
    theta method and their relationship to state space models", IJF 32(4).

    A season that an autocorrelation test (90 %, Assimakopoulos & Nikolopoulos 2000) finds is taken out
    first by classical decomposition. decomposition: multiplicative (additive where the target is
    not positive throughout) or additive; max_history: fit on the most recent days only.
    """

    decomposition: str = "multiplicative"
    max_history: int | None = None

    name: ClassVar[str] = "theta"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.one_of("models.theta.decomposition", self.decomposition, ("multiplicative", "additive"))
        options.whole_or_none("models.theta.max_history", self.max_history, at_least=self.min_length)

    def fit(self, history: Series) -> Parameters:
        """Estimate level, alpha and theta on the target; raise ValueError when it is too short."""
        y = training_days(self.name, history, self.min_length, self.max_history)
        with statsforecast_errors(self.name):
            fitted = fit_theta(y, history.season, model="DOTM", decomposition_type=self.decomposition)
            return {
                "model": "DOTM",
                "alpha": float(fitted["par"]["alpha"]),
                "theta": float(fitted["par"]["theta"]),
                "initial_smoothed": float(fitted["par"]["initial_smoothed"]),
                "decomposition": fitted.get("decomposition_type", "none"),
                "sigma": _sigma(fitted),
                **error_facts(np.asarray(fitted["residuals"][_BURN_IN:], dtype=np.float64)),
                **fitted_days(history, y),
                "state": {"decomposition_asked": self.decomposition},
            }

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Take the season out of `history` anew, filter the states with the parameters kept, forecast.

        Step h has the variance sigma**2 * (1 + (h - 1) * alpha**2) of simple exponential smoothing
        (Hyndman & Billah 2003), times the square of a multiplicative season; sigma is that of
        the filtered history.
        """
        y = days_to_filter(self.name, parameters, history)
        with statsforecast_errors(self.name):
            filtered = fit_theta(
                y,
                int(parameters["season"]),
                model="DOTM",
                initial_smoothed=parameters["initial_smoothed"],
                alpha=parameters["alpha"],
                theta=parameters["theta"],
                decomposition_type=parameters["state"]["decomposition_asked"],
            )
            mean = forecast_theta(filtered, h=len(future))["mean"]
            sd = _sigma(filtered) * np.sqrt(1.0 + np.arange(len(future)) * parameters["alpha"] ** 2)
        if filtered.get("decomposition_type") == "multiplicative":
            sd = sd * np.resize(filtered["seas_forecast"]["mean"], len(future))
        return gaussian_forecast(mean, sd, quantiles)


def _sigma(model: Fitted) -> float:
    """The standard deviation of the residuals of the series without its season.

    statsforecast puts the season back into the residuals: rightly as a factor, but in an additive
    decomposition as a summand, which widens its own intervals by the season's amplitude.
    """
    residuals: Floats = model["residuals"]
    if model.get("decompose", False):
        season = model["seas_forecast"]["mean"]
        season_of_day = np.resize(np.roll(season, len(residuals) % len(season)), len(residuals))
        multiplicative = model["decomposition_type"] == "multiplicative"
        residuals = residuals / season_of_day if multiplicative else residuals - season_of_day
    return float(np.std(residuals[_BURN_IN:], ddof=1))
