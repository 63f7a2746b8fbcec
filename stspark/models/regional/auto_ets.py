"""Exponential smoothing with components chosen by AICc (statsforecast's AutoETS)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stspark.errors import ConfigError
from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import options
from stspark.models.regional.empirical import error_facts
from stspark.models.regional.gaussian import gaussian_forecast
from stspark.models.regional.statsforecast_adapter import (
    Fitted,
    days_to_filter,
    fit_ets,
    fitted_days,
    forecast_ets,
    json_number,
    statsforecast_errors,
    training_days,
)

_SMOOTHING = ("alpha", "beta", "gamma", "phi")


@dataclass(frozen=True)
class AutoEts:
    """ETS(error, trend, season) of Hyndman, Koehler, Ord & Snyder, "Forecasting with Exponential
    Smoothing" (2008), chosen by AICc.

    components: error A; trend N, A or Z (chosen); season N, A or Z. Only additive ones: they take
    zeros, and their intervals have a closed form. damped: true, false or null (chosen).
    max_history: fit on the most recent days only.
    """

    components: str = "AZA"
    damped: bool | None = None
    max_history: int | None = None

    name: ClassVar[str] = "auto_ets"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        allowed = [f"A{trend}{season}" for trend in "NAZ" for season in "NAZ"]
        options.one_of("models.auto_ets.components", self.components, allowed)
        options.whole_or_none("models.auto_ets.max_history", self.max_history, at_least=self.min_length)
        if self.damped is not None:
            options.flag("models.auto_ets.damped", self.damped)
        if self.damped and self.components[1] == "N":
            raise ConfigError("models.auto_ets.damped", "is true without a trend", "use components AAA or AZA")

    def fit(self, history: Series) -> Parameters:
        """Choose and estimate on the target; raise ValueError when it is too short or nothing fits."""
        y = training_days(self.name, history, self.min_length, self.max_history)
        components = self.components if history.season > 1 else self.components[:2] + "N"
        with statsforecast_errors(self.name):
            fitted = fit_ets(y, m=history.season, model=components, damped=self.damped)
        return _encode(fitted) | fitted_days(history, y) | _state(fitted)

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Filter the states over `history` with the parameters kept, then forecast.

        sigma2 is that of the whole filtered history, as in statsforecast's `forward`.
        """
        y = days_to_filter(self.name, parameters, history)
        with statsforecast_errors(self.name):
            filtered = fit_ets(y, m=int(parameters["season"]), model=_decode(parameters))
            mean = forecast_ets(filtered, h=len(future))["mean"]
        sd = math.sqrt(filtered["sigma2"]) * np.sqrt(_variance_factors(filtered, len(future)))
        return gaussian_forecast(mean, sd, quantiles)


def _encode(fitted: Fitted) -> Parameters:
    """Readable entries: components, smoothing parameters (None where absent), sigma2, aic, aicc, bic."""
    error, trend, season, damped = fitted["components"]
    smoothing = {k: json_number(v) for k, v in zip(_SMOOTHING, fitted["par"][:4], strict=True)}
    return {
        "model": f"ETS({error},{trend}{'d' if damped == 'D' else ''},{season})",
        "error": error,
        "trend": trend,
        "seasonality": season,
        "damped": damped == "D",
        **smoothing,
        "sigma2": json_number(fitted["sigma2"]),
        **{name: json_number(fitted[name]) for name in ("aic", "aicc", "bic")},
        **error_facts(np.asarray(fitted["residuals"], dtype=np.float64)),
    }


def _state(fitted: Fitted) -> Parameters:
    """What filtering needs besides: level, trend and season before the first day, and n_params."""
    initial = [float(v) for v in fitted["par"][4:]]
    return {"state": {"initial": initial, "n_params": int(fitted["n_params"]), "m": int(fitted["m"])}}


def _decode(parameters: Parameters) -> Fitted:
    """The entries of statsforecast's fitted model that its filter reads."""
    smoothing = [math.nan if parameters[k] is None else parameters[k] for k in _SMOOTHING]
    components = [parameters[k] for k in ("error", "trend", "seasonality")]
    return {
        "m": parameters["state"]["m"],
        "components": "".join([*components, "D" if parameters["damped"] else "N"]),
        "par": np.array([*smoothing, *parameters["state"]["initial"]]),
        "n_params": parameters["state"]["n_params"],
        "fit": None,
    }


def _variance_factors(model: Fitted, h: int) -> Floats:
    """[h] variance of step 1..h in units of sigma2: 1 + sum of c_j squared for j below the step.

    c_j = alpha + beta * (phi + ... + phi**j) + gamma * [j is a whole number of seasons], for linear
    homoscedastic models (Hyndman et al. 2008, 6.1). statsforecast's own intervals count the
    seasons of the last step at all steps, so they differ when h is longer than a season.
    """
    alpha, beta, gamma, phi = (float(v) for v in model["par"][:4])
    j = np.arange(1, h)
    c = np.full(h - 1, alpha)
    if model["components"][1] == "A":
        c += beta * np.cumsum((phi if model["components"][3] == "D" else 1.0) ** j)
    if model["components"][2] == "A":
        c += gamma * (j % model["m"] == 0)
    return np.concatenate([[1.0], 1.0 + np.cumsum(c**2)])
