"""Complex exponential smoothing with a season chosen by AICc (statsforecast's AutoCES)."""

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
    fit_ces,
    fitted_days,
    forecast_ces,
    json_number,
    statsforecast_errors,
    training_days,
)

_WEIGHTS = ("alpha_0", "alpha_1", "beta_0", "beta_1")


@dataclass(frozen=True)
class AutoCes:
    """Svetunkov, Kourentzes & Ord (2022), "Complex exponential smoothing", Naval Research Logistics 69(8).

    season: N(one), S(imple), P(artial), F(ull) or Z, the best by AICc; max_history: fit on the most recent days only.
    """

    season: str = "Z"
    max_history: int | None = None

    name: ClassVar[str] = "auto_ces"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.one_of("models.auto_ces.season", self.season, tuple("NSPFZ"))
        options.whole_or_none("models.auto_ces.max_history", self.max_history, at_least=self.min_length)

    def fit(self, history: Series) -> Parameters:
        """Choose and estimate on the target; raise ValueError when it is too short or nothing fits.

        The same season again and again has nothing to estimate: it goes on.
        """
        y = training_days(self.name, history, self.min_length, self.max_history)
        if not (y[history.season :] != y[: -history.season]).any():
            return {"model": "CES(repeats)", "repeats": True, **fitted_days(history, y)}
        with statsforecast_errors(self.name):
            fitted = fit_ces(y, m=history.season, model=self.season if history.season > 1 else "N")
        quality = {key: json_number(fitted[key]) for key in ("sigma2", "aic", "aicc", "bic")}
        return {
            "model": f"CES({fitted['seasontype']})",
            "seasonality": fitted["seasontype"],
            **{name: json_number(fitted["par"][name]) for name in _WEIGHTS},
            **quality,
            **error_facts(np.asarray(fitted["residuals"])),
            **fitted_days(history, y),
        }

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Filter the states over `history` with the weights kept, then forecast.

        The model is linear in its errors, so a step's weight in later ones is how much the forecast moves when the
        last day is raised by one; variances are sums of their squares (Hyndman et al. 2008, 6.1).
        """
        h = len(future)
        if "repeats" in parameters:
            season = int(parameters["season"])
            sd = float(np.std(history.y[season:] - history.y[:-season]))
            return gaussian_forecast(np.resize(history.y[-season:], h), np.full(h, sd), quantiles)
        y = days_to_filter(self.name, parameters, history)
        with statsforecast_errors(self.name):
            filtered = _filtered(parameters, y)
            mean = np.asarray(forecast_ces(filtered, h=h)["mean"])
            raised = np.append(y[:-1], y[-1] + 1.0)
            moved = np.asarray(forecast_ces(_filtered(parameters, raised), h=h)["mean"]) - mean
        weights = np.concatenate([[1.0], moved[:-1]])
        spread: Floats = np.sqrt(float(filtered["sigma2"]) * np.cumsum(weights**2))
        return gaussian_forecast(mean, spread, quantiles)


def _filtered(parameters: Parameters, y: Floats) -> Fitted:
    """statsforecast's model over y with the weights kept."""
    kept = {name: parameters[name] for name in _WEIGHTS if parameters[name] is not None}
    return fit_ces(y, m=int(parameters["season"]), model=parameters["seasonality"], **kept)
