"""MFLES: gradient-boosted trend, Fourier season and smoothing (statsforecast's MFLES)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from stspark.models.base import Forecast, Future, Parameters, Series
from stspark.models.regional import options
from stspark.models.regional.empirical import empirical_forecast, error_facts
from stspark.models.regional.statsforecast_adapter import (
    fitted_days,
    new_mfles,
    statsforecast_errors,
    training_days,
)

_GRID = 99
"""Quantiles of the in-sample errors that are kept."""


@dataclass(frozen=True)
class Mfles:
    """Blume (2024), "MFLES": median, Fourier, linear, exponential smoothing, boosted in rounds.

    max_rounds: boosting rounds at most; multiplicative: true, false or null (where the target is above zero);
    changepoints: let the trend bend; max_history: fit on the most recent days only. Fitted anew at every cutoff.
    """

    max_rounds: int = 50
    multiplicative: bool | None = False
    changepoints: bool = True
    max_history: int | None = None

    name: ClassVar[str] = "mfles"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.whole("models.mfles.max_rounds", self.max_rounds, at_least=1)
        options.flag("models.mfles.changepoints", self.changepoints)
        if self.multiplicative is not None:
            options.flag("models.mfles.multiplicative", self.multiplicative)
        options.whole_or_none("models.mfles.max_history", self.max_history, at_least=self.min_length)

    def fit(self, history: Series) -> Parameters:
        """Boost on the target; raise ValueError when it is too short."""
        y = training_days(self.name, history, self.min_length, self.max_history)
        with statsforecast_errors(self.name):
            model = new_mfles(verbose=0)
            fitted = np.asarray(
                model.fit(
                    y,
                    seasonal_period=history.season if history.season > 1 else None,
                    max_rounds=self.max_rounds,
                    multiplicative=self.multiplicative,
                    changepoints=self.changepoints,
                )
            )
        errors = y - fitted
        seen = errors[history.observed[-len(y) :]]
        grid = np.quantile(seen if len(seen) else errors, np.arange(1, _GRID + 1) / (_GRID + 1))
        return {
            "model": "MFLES",
            "multiplicative": model.const is not None,
            "trend_per_day": float(model.trend[1] - model.trend[0]),
            "trend_kept": _trend_kept(model),
            **error_facts(errors),
            **fitted_days(history, y),
            "state": _state(model, history.season) | {"errors": grid.tolist()},
        }

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Continue trend and season; quantiles from the errors within the sample.

        Raises ValueError when `history` does not end where the fit's did.
        """
        if str(history.dates[-1]) != parameters["last_day"]:
            fitted, given = parameters["last_day"], history.dates[-1]
            raise ValueError(f"mfles was fitted up to {fitted}, the history ends on {given}; fit it again")
        state, steps = parameters["state"], np.arange(1, len(future) + 1)
        inner = state["last"] + parameters["trend_per_day"] * parameters["trend_kept"] * steps
        inner = inner + np.resize(np.array(state["season"]), len(future))
        mean = np.exp(inner) if parameters["multiplicative"] else state["mean"] + inner * state["sd"]
        return empirical_forecast(np.asarray(mean), np.array(state["errors"]), quantiles)


def _trend_kept(model: Any) -> float:
    """Share of the trend that goes on: all of it where it is not penalised."""
    return float(max(0.0, model.penalty)) if model.trend_penalty and model.penalty is not None else 1.0


def _state(model: Any, season: int) -> dict[str, Any]:
    """What statsforecast's own `predict` reads: the trend's last point, a cycle of the season, the scale."""
    cycle = np.zeros(season) if model.seasonality is None else np.resize(model.seasonality, season)
    scale = {"mean": 0.0, "sd": 1.0} if model.const is not None else {"mean": float(model.mean), "sd": float(model.std)}
    return {"last": float(model.trend[1]), "season": [float(v) for v in cycle], **scale}
