"""A fitted ARIMA as plain numbers, and forecasts from them: what auto_arima and sarima share.

Box, Jenkins, Reinsel & Ljung, "Time Series Analysis" (5th ed., 2015); likelihood and forecasts by
the Kalman filter (Gardner, Harvey & Phillips, 1980), as in R's `arima` and statsforecast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stspark.models.base import Forecast, Future, Parameters, Series
from stspark.models.regional.gaussian import gaussian_forecast
from stspark.models.regional.statsforecast_adapter import (
    Fitted,
    days_to_filter,
    forecast_arima,
    forward_arima,
    statsforecast_errors,
)

_ORDER = ("p", "q", "P", "Q", "season", "d", "D")
"""The places of statsforecast's `arma`."""

_ONE_SD = 68.26894921370858
"""Level in percent of the interval from -1 to +1 standard deviation."""


def encode(fitted: Fitted) -> Parameters:
    """Return orders, coefficients by name (ar1, ma1, sar1, sma1, intercept or drift), sigma2, aic, aicc.

    Raises ValueError for a coefficient that is not finite.
    """
    order = dict(zip(_ORDER, (int(v) for v in fitted["arma"]), strict=True))
    coefficients = {name: float(value) for name, value in fitted["coef"].items()}
    if not all(math.isfinite(value) for value in coefficients.values()):
        raise ValueError(f"the estimate is not finite: {coefficients}")
    quality = {name: _number(fitted.get(name)) for name in ("sigma2", "aic", "aicc")}
    return {"model": _title(order), **order, **coefficients, **quality}


def forward(
    model: str, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]
) -> Forecast:
    """Filter the state over `history` with the coefficients and sigma2 kept, then forecast.

    Raises ValueError when the history lacks the fit's first day or the result is not finite.
    """
    y = days_to_filter(model, parameters, history)
    with statsforecast_errors(model):
        filtered = forward_arima(_decode(parameters), y, method="CSS-ML")
        result = forecast_arima(filtered, h=len(future), level=[_ONE_SD])
        mean = np.asarray(result["mean"], dtype=np.float64)
        sd = result["upper"].to_numpy()[:, 0] - mean
    return gaussian_forecast(mean, sd, quantiles)


def _decode(parameters: Parameters) -> Fitted:
    """The entries of statsforecast's fitted model that its filter reads."""
    days = int(parameters["days"])
    drift = np.arange(1, days + 1, dtype=np.float64).reshape(-1, 1)
    return {
        "arma": tuple(parameters[name] for name in _ORDER),
        "coef": {name: parameters[name] for name in _coefficient_names(parameters)},
        "sigma2": parameters["sigma2"],
        "xreg": drift if "drift" in parameters else None,
        "x": np.empty(days),
        "lambda": None,
    }


def _coefficient_names(parameters: Parameters) -> list[str]:
    """The names in statsforecast's order: its filter takes coefficients by place."""
    kinds = {"ar": "p", "ma": "q", "sar": "P", "sma": "Q"}
    names = [f"{kind}{i + 1}" for kind, order in kinds.items() for i in range(parameters[order])]
    return names + [name for name in ("intercept", "drift") if name in parameters]


def _title(order: dict[str, int]) -> str:
    """ARIMA(1,0,1)(0,1,1)[7]."""
    inner = ",".join(str(order[name]) for name in "pdq")
    outer = ",".join(str(order[name]) for name in "PDQ")
    return f"ARIMA({inner})({outer})[{order['season']}]"


def _number(value: float | None) -> float | None:
    """A float that JSON can hold: None for NaN and infinity."""
    return float(value) if value is not None and math.isfinite(value) else None
