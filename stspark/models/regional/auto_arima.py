"""ARIMA whose orders are searched stepwise by AICc (statsforecast's AutoARIMA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stspark.errors import ConfigError
from stspark.models.base import Forecast, Future, Parameters, Series
from stspark.models.regional import arima_codec, options
from stspark.models.regional.arima_estimate import CSS, CSS_ML, METHODS, finished
from stspark.models.regional.statsforecast_adapter import (
    search_arima,
    statsforecast_errors,
    training_days,
)


@dataclass(frozen=True)
class AutoArima:
    """The stepwise search of Hyndman & Khandakar (2008), "Automatic time series forecasting", JSS 27(3).

    max_p, max_q, max_P, max_Q: bounds of the search; d: order of differencing, null to test for it;
    D: order of seasonal differencing, null to test for it (on noisy days the test often misses a weekly season);
    estimation: css, or css-ml (see arima_estimate); approximation (css-ml only): compare candidates by least squares,
    and estimate only the best one by the likelihood; max_models: candidates at most (statsforecast's own bound is 94;
    sparse series take long); max_history: fit on the most recent days only.
    """

    max_p: int = 3
    max_q: int = 3
    max_P: int = 1
    max_Q: int = 1
    d: int | None = None
    D: int | None = 1
    estimation: str = CSS
    approximation: bool = True
    max_models: int = 20
    max_history: int | None = None

    name: ClassVar[str] = "auto_arima"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for bound in ("max_p", "max_q", "max_P", "max_Q"):
            options.whole(f"models.auto_arima.{bound}", getattr(self, bound), at_least=0)
        for differences in ("d", "D"):
            options.whole_or_none(f"models.auto_arima.{differences}", getattr(self, differences), at_least=0)
        options.whole("models.auto_arima.max_models", self.max_models, at_least=6)
        options.one_of("models.auto_arima.estimation", self.estimation, METHODS)
        options.flag("models.auto_arima.approximation", self.approximation)
        if self.estimation == CSS and not self.approximation:
            where, fix = "models.auto_arima.approximation", "set estimation: css-ml, or leave the key out"
            raise ConfigError(where, "is false, while candidates are compared by least squares", fix)
        options.whole_or_none("models.auto_arima.max_history", self.max_history, at_least=self.min_length)

    def fit(self, history: Series) -> Parameters:
        """Search and estimate on the target; raise ValueError when it is too short or nothing fits."""
        y = training_days(self.name, history, self.min_length, self.max_history)
        with statsforecast_errors(self.name):
            fitted = search_arima(
                y,
                d=self.d,
                D=self.D if history.season > 1 else 0,
                max_p=self.max_p,
                max_q=self.max_q,
                max_P=self.max_P,
                max_Q=self.max_Q,
                approximation=self.estimation == CSS_ML and self.approximation,
                nmodels=self.max_models,
                period=history.season,
                method="CSS" if self.estimation == CSS else None,
            )
            if "arma" not in fitted:
                raise ValueError("no candidate can be estimated")
            return finished(self.estimation, fitted, history, y)

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Filter the state over `history` with the coefficients kept, then forecast."""
        return arima_codec.forward(parameters, history, future, quantiles)
