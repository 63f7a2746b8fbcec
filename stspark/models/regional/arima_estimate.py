"""Two ways to estimate an ARIMA: conditional least squares, or maximum likelihood that starts from them.

Least squares start from the first days as they are (CSS; Box, Jenkins, Reinsel & Ljung, 2015, 7.1) and cost a fifth of
the likelihood, whose every step runs a Kalman filter; with months of days the two agree but for noise (decision 20).
Either way the criteria are those of the exact likelihood, and forecasts come from the filter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stspark.models.base import Floats, Parameters, Series
from stspark.models.regional import arima_codec
from stspark.models.regional.empirical import error_facts
from stspark.models.regional.statsforecast_adapter import Fitted, fit_arima, fitted_days

CSS, CSS_ML = "css", "css-ml"
ESTIMATIONS = (CSS, CSS_ML)


def estimate(
    estimation: str, history: Series, y: Floats, model: dict[str, Any], xreg: Floats | None = None
) -> Parameters:
    """Coefficients, sigma2 and criteria of an ARIMA of given order, as `arima_codec.encode` names them, and its days.

    y: [n], the end of `history`; xreg: [n, k] or None; model: order, seasonal and what else statsforecast's Arima
    takes.
    """
    if estimation == CSS:
        return from_least_squares(fit_arima(y, xreg=xreg, method="CSS", **model), history, y, model, xreg)
    return arima_codec.encode(fit_arima(y, xreg=xreg, method="CSS-ML", **model)) | fitted_days(history, y)


def from_least_squares(
    fitted: Fitted, history: Series, y: Floats, model: dict[str, Any], xreg: Floats | None = None
) -> Parameters:
    """The same of a least-squares fit.

    Where it left the stationary region, maximum likelihood from zero, which cannot, stands in.
    """
    days = fitted_days(history, y)
    if _stationary(fitted):
        return _with_likelihood(arima_codec.encode(fitted) | days, y, xreg)
    return arima_codec.encode(fit_arima(y, xreg=xreg, method="ML", **model)) | days


def _with_likelihood(parameters: Parameters, y: Floats, xreg: Floats | None = None) -> Parameters:
    """The parameters, with sigma2, criteria and errors of the exact likelihood at their coefficients."""
    filtered = arima_codec.filtered(parameters, y, xreg)
    errors = np.asarray(filtered["residuals"], dtype=np.float64)
    free = len(filtered["coef"]) + 1
    used = len(y) - parameters["d"] - parameters["D"] * parameters["season"]
    aic = 2 * free - 2 * float(filtered["loglik"])
    criteria = {
        "aic": aic,
        "aicc": aic + 2 * free * (free + 1) / (used - free - 1) if used > free + 1 else math.inf,
        "bic": aic + free * (math.log(used) - 2),
    }
    finite = {name: value if math.isfinite(value) else None for name, value in criteria.items()}
    return parameters | finite | {"sigma2": float(errors @ errors) / (used - free + 1)} | error_facts(errors)


def _stationary(fitted: Fitted) -> bool:
    """Whether the roots of the AR polynomial, seasonal factor included, lie outside the unit circle."""
    phi = np.trim_zeros(np.asarray(fitted["model"]["phi"], dtype=np.float64), "b")
    return not len(phi) or bool(np.abs(np.roots(np.append(-phi[::-1], 1.0))).min() > 1.0)
