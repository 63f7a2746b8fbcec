"""TBATS: trigonometric seasons, Box-Cox, ARMA errors (statsforecast's AutoTBATS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import options
from stspark.models.regional.empirical import error_facts
from stspark.models.regional.gaussian import checked
from stspark.models.regional.statsforecast_adapter import (
    Fitted,
    days_to_filter,
    fit_tbats,
    fitted_days,
    statsforecast_errors,
    training_days,
)


@dataclass(frozen=True)
class Tbats:
    """De Livera, Hyndman & Snyder (2011), "Forecasting time series with complex seasonal patterns using exponential
    smoothing", JASA 106(496).

    box_cox, trend, damped: true, false or null (chosen by AIC); arma_errors: search ARMA orders of the errors too
    (about doubles the time). Box-Cox needs a target above zero throughout. Slow: 1 to 10 s a fit.
    """

    box_cox: bool | None = False
    trend: bool | None = None
    damped: bool | None = None
    arma_errors: bool = True
    max_history: int | None = None

    name: ClassVar[str] = "tbats"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for option in ("box_cox", "trend", "damped"):
            if getattr(self, option) is not None:
                options.flag(f"models.tbats.{option}", getattr(self, option))
        options.flag("models.tbats.arma_errors", self.arma_errors)
        options.whole_or_none("models.tbats.max_history", self.max_history, at_least=self.min_length)

    def fit(self, history: Series) -> Parameters:
        """Choose and estimate on the target; raise ValueError when it is too short or nothing fits.

        A constant has nothing to estimate: its level goes on.
        """
        y = training_days(self.name, history, self.min_length, self.max_history)
        if np.ptp(y) == 0:
            return {"model": "TBATS(constant)", "level": float(y[0]), **fitted_days(history, y)}
        with statsforecast_errors(self.name):
            fitted = fit_tbats(
                y,
                seasonal_periods=np.array([history.season]) if history.season > 1 else np.array([], dtype=int),
                use_boxcox=self.box_cox,
                bc_lower_bound=0.0,
                bc_upper_bound=1.0,
                use_trend=self.trend,
                use_damped_trend=self.damped,
                use_arma_errors=self.arma_errors,
            )
            return _readable(fitted) | fitted_days(history, y) | {"state": _state(fitted)}

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Filter the states over `history` from its seed on with the matrices kept, then forecast.

        Quantiles are those of a Gaussian on the Box-Cox scale, transformed back.
        """
        h = len(future)
        if "level" in parameters:
            sd = float(np.std(history.y))
            z = np.array([NormalDist().inv_cdf(q) for q in quantiles])
            level = np.full(h, history.y[-1])
            return checked(Forecast(level, level[:, None] + sd * z[None, :]))
        state = {key: np.array(value) for key, value in parameters["state"].items()}
        y = _transformed(days_to_filter(self.name, parameters, history), parameters["box_cox_lambda"])
        mean, spread = _ahead(_filtered(y, state), state, h)
        sd = np.sqrt(parameters["sigma2"]) * spread
        z = np.array([NormalDist().inv_cdf(q) for q in quantiles])
        back = parameters["box_cox_lambda"]
        return checked(Forecast(_restored(mean, back), _restored(mean[:, None] + sd[:, None] * z[None, :], back)))


def _readable(fitted: Fitted) -> Parameters:
    """Components, harmonics, orders of the errors, sigma2 (of the Box-Cox scale) and AIC."""
    chosen = fitted["description"]
    power = fitted["BoxCox_lambda"]
    return {
        "model": f"TBATS({'-' if power is None else round(float(power), 3)},{{{fitted['p']},{fitted['q']}}})",
        "box_cox_lambda": None if power is None else float(power),
        "trend": bool(chosen["use_trend"]),
        "damped": bool(chosen["use_damped_trend"]),
        "p": int(fitted["p"]),
        "q": int(fitted["q"]),
        "harmonics": [int(k) for k in fitted["k_vector"]],
        "coefficients": [float(v) for v in fitted["optim_params"]],
        "sigma2": float(fitted["sigma2"]),
        "aic": float(fitted["aic"]),
        **error_facts(np.asarray(fitted["errors"][0])),
    }


def _state(fitted: Fitted) -> dict[str, Any]:
    """The innovations form: x[t] = F x[t-1] + g e[t], y[t] = w x[t-1] + e[t], and x before the first day."""
    return {
        "F": fitted["F"].tolist(),
        "w": fitted["w_transpose"][0].tolist(),
        "g": fitted["g"][:, 0].tolist(),
        "seed": np.ravel(fitted["seed_states"]).tolist(),
    }


def _filtered(y: Floats, state: dict[str, Floats]) -> Floats:
    """The states after the last day: [states]."""
    x = state["seed"]
    for value in y:
        x = state["F"] @ x + state["g"] * (value - state["w"] @ x)
    return x


def _ahead(x: Floats, state: dict[str, Floats], h: int) -> tuple[Floats, Floats]:
    """[h] means, and [h] standard deviations in units of sigma."""
    mean, weights, effect = np.empty(h), np.ones(h), state["g"]
    for step in range(h):
        mean[step] = state["w"] @ x
        x = state["F"] @ x
        if step + 1 < h:
            weights[step + 1] = state["w"] @ effect
            effect = state["F"] @ effect
    return mean, np.sqrt(np.cumsum(weights**2))


def _transformed(y: Floats, power: float | None) -> Floats:
    """Box & Cox (1964); zero and below, which the fit did not have, count as the smallest value above."""
    if power is None:
        return y
    positive = np.maximum(y, y[y > 0].min())
    return np.asarray(np.log(positive) if power == 0 else (positive**power - 1) / power)


def _restored(values: Floats, power: float | None) -> Floats:
    if power is None:
        return values
    return np.asarray(np.exp(values) if power == 0 else np.maximum(values * power + 1, 0.0) ** (1 / power))
