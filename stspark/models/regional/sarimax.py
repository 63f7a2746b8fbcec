"""Seasonal ARIMA of a given order around a regression on covariates known ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import arima_codec, options
from stspark.models.regional.arima_estimate import CSS, METHODS, estimate
from stspark.models.regional.statsforecast_adapter import statsforecast_errors, training_days

_HOLIDAY = "public_holiday"


@dataclass(frozen=True)
class Sarimax:
    """Regression with ARIMA errors (FPP3, 10; Box & Jenkins).

    Columns: whether the day is a public holiday, and every covariate that varies and is no sum of the others.
    order, seasonal_order, estimation, max_history: as in sarima. The covariates of the fit stand in the parameters as
    `regressors`, their coefficients as ex_1, ex_2 … in that order.
    """

    order: tuple[int, int, int] = (1, 0, 1)
    seasonal_order: tuple[int, int, int] = (0, 1, 1)
    estimation: str = CSS
    max_history: int | None = None

    name: ClassVar[str] = "sarimax"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.triple("models.sarimax.order", self.order)
        options.triple("models.sarimax.seasonal_order", self.seasonal_order)
        options.one_of("models.sarimax.estimation", self.estimation, METHODS)
        options.whole_or_none("models.sarimax.max_history", self.max_history, at_least=self.min_length)

    def fit(self, history: Series) -> Parameters:
        """Estimate on target and columns; raise ValueError when it is too short, constant or not estimable."""
        y = training_days(self.name, history, self.min_length, self.max_history)
        columns = _columns(history.covariates, history.names, history.holidays)
        regressors = _independent({name: values[-len(y) :] for name, values in columns.items()}, history.season)
        seasonal = self.seasonal_order if history.season > 1 else (0, 0, 0)
        order = {"order": self.order, "seasonal": {"order": seasonal, "period": history.season}, "include_mean": True}
        values = np.column_stack([columns[name][-len(y) :] for name in regressors]) if regressors else None
        with statsforecast_errors(self.name):
            return estimate(self.estimation, history, y, order, values) | {"regressors": regressors}

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Filter the state over `history` with the coefficients kept, then forecast with the columns of the future."""
        names = parameters["regressors"]
        if not names:
            return arima_codec.forward(parameters, history, future, quantiles)
        past = _columns(history.covariates, history.names, history.holidays)
        ahead = _columns(future.covariates, history.names, future.holidays)
        both = tuple(np.column_stack([side[name] for name in names]) for side in (past, ahead))
        return arima_codec.forward(parameters, history, future, quantiles, (both[0], both[1]))


def _columns(covariates: Floats, names: Sequence[str], holidays: Sequence[str]) -> dict[str, Floats]:
    """Name -> [n]."""
    columns = {name: covariates[:, i] for i, name in enumerate(names)}
    named = np.array([day != "" for day in holidays]) if holidays else np.zeros(len(covariates))
    return columns | {_HOLIDAY: named * 1.0}


def _independent(columns: dict[str, Floats], season: int) -> list[str]:
    """Names of columns that still vary after the seasonal difference and add something to those before them."""
    kept: list[str] = []
    basis = np.zeros((0, 0))
    for name, values in columns.items():
        moved = values[season:] - values[:-season]
        wider = moved[:, None] if not kept else np.column_stack([basis, moved])
        if np.linalg.matrix_rank(wider, tol=1e-6 * len(moved)) > len(kept):
            kept.append(name)
            basis = wider
    return kept
