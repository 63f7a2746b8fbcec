"""Two ways to estimate an ARIMA: conditional least squares, or maximum likelihood that starts from them.

Least squares start from the first days as they are (CSS; Box, Jenkins, Reinsel & Ljung, 2015, 7.1) and cost a fifth of
the likelihood, whose every step runs a Kalman filter (decision 20). They know no bounds: an AR part beyond the
stationary region is drawn back into it, and an MA part is taken in its invertible form. Their criteria are those of the
exact likelihood at the coefficients, and forecasts come from the filter either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stspark.models.base import Floats, Parameters, Series
from stspark.models.regional import arima_codec
from stspark.models.regional.empirical import error_facts
from stspark.models.regional.statsforecast_adapter import Fitted, fit_arima, fitted_days, json_number

CSS, CSS_ML = "css", "css-ml"
METHODS = {CSS: "CSS", CSS_ML: "CSS-ML"}
"""Estimations, and what statsforecast calls them."""
NEAREST = 0.99
"""Share of the way to the unit circle at which an AR root that lay beyond it is put."""


def estimate(
    estimation: str, history: Series, y: Floats, model: dict[str, Any], xreg: Floats | None = None
) -> Parameters:
    """Coefficients, sigma2 and criteria of an ARIMA of given order, as `arima_codec.encode` names them, and its days.

    y: [n], the end of `history`; xreg: [n, k] or None; model: order, seasonal and what else statsforecast's Arima
    takes.
    """
    fitted = fit_arima(y, xreg=xreg, method=METHODS[estimation], **model)
    return finished(estimation, fitted, history, y, xreg)


def finished(estimation: str, fitted: Fitted, history: Series, y: Floats, xreg: Floats | None = None) -> Parameters:
    """The same of a model that statsforecast has fitted; ValueError where least squares leave no days to judge by."""
    parameters = arima_codec.encode(fitted) | fitted_days(history, y)
    if estimation == CSS_ML:
        return parameters
    for kind, bounded in (("ar", stationary), ("sar", stationary), ("ma", invertible), ("sma", invertible)):
        parameters |= _bounded(parameters, kind, bounded)
    return _with_likelihood(parameters, y, xreg)


def _bounded(parameters: Parameters, kind: str, bounded: Callable[[Floats], Floats]) -> Parameters:
    """The coefficients kind1, kind2 … as `bounded` has them."""
    names = [name for name in parameters if name.removeprefix(kind).isdigit()]
    values = np.array([parameters[name] for name in names], dtype=np.float64)
    return dict(zip(names, map(float, bounded(values)), strict=True)) if names else {}


def stationary(phi: Floats) -> Floats:
    """AR coefficients [p] whose polynomial's roots lie beyond the unit circle, moved out by one factor where needed."""
    nearest = float(np.abs(_roots(-phi)).min(initial=math.inf))
    return phi if nearest > 1.0 else phi * (NEAREST * nearest) ** np.arange(1, len(phi) + 1)


def invertible(theta: Floats) -> Floats:
    """MA coefficients [q] of the same process with all roots beyond the unit circle (Hamilton 1994, 3.7)."""
    roots = _roots(theta)
    inside = np.abs(roots) < 1.0
    if not inside.any():
        return theta
    polynomial = np.poly(np.where(inside, 1.0 / np.conj(roots), roots)).real[::-1]  # by rising powers
    found = np.zeros(len(theta))
    found[: len(roots)] = polynomial[1:] / polynomial[0]
    return found


def _roots(coefficients: Floats) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """Roots of 1 + c_1 B + c_2 B² + …"""
    known = np.trim_zeros(coefficients, "b")
    return np.asarray(np.roots(np.append(known[::-1], 1.0)), dtype=np.complex128)


def _with_likelihood(parameters: Parameters, y: Floats, xreg: Floats | None = None) -> Parameters:
    """The parameters, with sigma2, criteria and errors of the exact likelihood at their coefficients."""
    season = parameters["season"]
    filtered = arima_codec.filtered(parameters, y, xreg)
    errors = np.asarray(filtered["residuals"], dtype=np.float64)
    free = len(filtered["coef"]) + 1
    used = len(y) - parameters["d"] - parameters["D"] * season
    if used - parameters["p"] - parameters["P"] * season <= free:
        raise ValueError(f"{len(y)} days are too few for {parameters['model']}")
    aic = 2 * free - 2 * float(filtered["loglik"])
    criteria = {
        "aic": aic,
        "aicc": aic + 2 * free * (free + 1) / (used - free - 1) if used > free + 1 else math.inf,
        "bic": aic + free * (math.log(used) - 2),
    }
    finite = {name: json_number(value) for name, value in criteria.items()}
    return parameters | finite | {"sigma2": float(errors @ errors) / (used - free + 1)} | error_facts(errors)
