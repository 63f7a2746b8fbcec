"""Seasonal ARIMA of a given order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stspark.models.base import Forecast, Future, Parameters, Series
from stspark.models.regional import arima_codec, options
from stspark.models.regional.arima_estimate import CSS, METHODS, estimate
from stspark.models.regional.statsforecast_adapter import statsforecast_errors, training_days


@dataclass(frozen=True)
class Sarima:
    """ARIMA(p,d,q)(P,D,Q)[season] (Box & Jenkins).

    order: (p, d, q); seasonal_order: (P, D, Q), ignored where the season is 1; include_mean: with an
    intercept when nothing is differenced; include_drift: with a linear trend when d + D is 1;
    estimation: css, or css-ml (see arima_estimate); max_history: fit on the most recent days only.
    """

    order: tuple[int, int, int] = (1, 0, 1)
    seasonal_order: tuple[int, int, int] = (0, 1, 1)
    include_mean: bool = True
    include_drift: bool = False
    estimation: str = CSS
    max_history: int | None = None

    name: ClassVar[str] = "sarima"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.triple("models.sarima.order", self.order)
        options.triple("models.sarima.seasonal_order", self.seasonal_order)
        options.flag("models.sarima.include_mean", self.include_mean)
        options.flag("models.sarima.include_drift", self.include_drift)
        options.one_of("models.sarima.estimation", self.estimation, METHODS)
        options.whole_or_none("models.sarima.max_history", self.max_history, at_least=self.min_length)

    def fit(self, history: Series) -> Parameters:
        """Estimate on the target; raise ValueError when it is too short, constant or not estimable."""
        y = training_days(self.name, history, self.min_length, self.max_history)
        seasonal = self.seasonal_order if history.season > 1 else (0, 0, 0)
        order = {"order": self.order, "seasonal": {"order": seasonal, "period": history.season}}
        constant = {"include_mean": self.include_mean, "include_drift": self.include_drift}
        with statsforecast_errors(self.name):
            return estimate(self.estimation, history, y, order | constant)

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Filter the state over `history` with the coefficients kept, then forecast."""
        return arima_codec.forward(parameters, history, future, quantiles)
