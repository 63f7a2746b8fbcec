"""A fitted ARIMA as plain numbers, and forecasts from them: what auto_arima and sarima share.

Box, Jenkins, Reinsel & Ljung, "Time Series Analysis" (5th ed., 2015); likelihood and forecasts by
the Kalman filter (Gardner, Harvey & Phillips, 1980), as in R's `arima` and statsforecast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional.empirical import error_facts
from stspark.models.regional.gaussian import gaussian_forecast
from stspark.models.regional.statsforecast_adapter import (
    Fitted,
    days_to_filter,
    forecast_arima,
    forward_arima,
    json_number,
    statsforecast_errors,
)

_ORDER = ("p", "q", "P", "Q", "season", "d", "D")
"""The places of statsforecast's `arma`."""

_NOTHING = 1e-10
"""An AR or MA coefficient below it is 0: the start of Gardner's filter divides by it, and loses every digit."""

_ONE_SD = 68.26894921370858
"""Level in percent of the interval from -1 to +1 standard deviation."""


def encode(fitted: Fitted) -> Parameters:
    """Return orders, coefficients by name (ar1, ma1, sar1, sma1, ex_1, intercept or drift), sigma2, aic, aicc, bic.

    Raises ValueError for a coefficient that is not finite.
    """
    order = dict(zip(_ORDER, (int(v) for v in fitted["arma"]), strict=True))
    coefficients = {name: _settled(name, float(value)) for name, value in fitted["coef"].items()}
    if not all(math.isfinite(value) for value in coefficients.values()):
        raise ValueError(f"the estimate is not finite: {coefficients}")
    quality = {name: json_number(fitted.get(name)) for name in ("sigma2", "aic", "aicc", "bic")}
    errors = error_facts(np.asarray(fitted["residuals"], dtype=np.float64))
    return {"model": _title(order), **order, **coefficients, **quality, **errors}


def _settled(name: str, value: float) -> float:
    return 0.0 if name.startswith(("ar", "ma", "sar", "sma")) and abs(value) < _NOTHING else value


Regressors = tuple[Floats, Floats]
"""Columns beside the target, of the whole history [n, k] and of the days ahead [h, k]."""


def forward(
    parameters: Parameters,
    history: Series,
    future: Future,
    quantiles: Sequence[float],
    regressors: Regressors | None = None,
) -> Forecast:
    """Filter the state over `history` with the coefficients and sigma2 kept, then forecast.

    Raises ValueError when the history lacks the fit's first day or the result is not finite.
    """
    model = parameters["model"].split("(")[0]
    y = days_to_filter(model, parameters, history)
    past, ahead = (None, None) if regressors is None else regressors
    with statsforecast_errors(model):
        state = filtered(parameters, y, None if past is None else past[-len(y) :])
        result = forecast_arima(state, h=len(future), xreg=ahead, level=[_ONE_SD])
        mean = np.asarray(result["mean"], dtype=np.float64)
        sd = result["upper"].to_numpy()[:, 0] - mean
    return gaussian_forecast(mean, sd, quantiles)


def filtered(parameters: Parameters, y: Floats, xreg: Floats | None) -> Fitted:
    """Statsforecast's model after `y` [n] with the coefficients kept; xreg: [n, k] or None."""
    return forward_arima(_decode(parameters), y, xreg=xreg, method="CSS-ML")


def _decode(parameters: Parameters) -> Fitted:
    """The entries of statsforecast's fitted model that its filter reads."""
    days = int(parameters["days"])
    drift = np.arange(1, days + 1, dtype=np.float64).reshape(-1, 1)
    return {
        "arma": tuple(parameters[name] for name in _ORDER),
        "coef": {name: parameters[name] for name in _coefficient_names(parameters)},
        "sigma2": parameters["sigma2"],
        "xreg": drift if "drift" in parameters else _like_regressors(parameters, days),
        "x": np.empty(days),
        "lambda": None,
    }


def _coefficient_names(parameters: Parameters) -> list[str]:
    """The names in statsforecast's order: its filter takes coefficients by place."""
    kinds = {"ar": "p", "ma": "q", "sar": "P", "sma": "Q"}
    names = [f"{kind}{i + 1}" for kind, order in kinds.items() for i in range(parameters[order])]
    names += [name for name in ("intercept", "drift") if name in parameters]
    return names + [name for name in parameters if name.startswith("ex_")]


def _like_regressors(parameters: Parameters, days: int) -> Floats | None:
    """Nothing but the shape, which is all that the filter reads of the fit's regressors."""
    count = sum(name.startswith("ex_") for name in parameters)
    return np.empty((days, count)) if count else None


def _title(order: dict[str, int]) -> str:
    """ARIMA(1,0,1)(0,1,1)[7]."""
    inner = ",".join(str(order[name]) for name in "pdq")
    outer = ",".join(str(order[name]) for name in "PDQ")
    return f"ARIMA({inner})({outer})[{order['season']}]"
