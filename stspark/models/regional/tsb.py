"""TSB: intermittent demand that may die out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stspark.errors import ConfigError
from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import intermittent
from stspark.models.regional.statsforecast_adapter import level_and_fitted, smooth_tsb, statsforecast_errors


@dataclass(frozen=True)
class Tsb:
    """Teunter, Syntetos & Babai (2011), "Intermittent demand: linking forecasting to inventory obsolescence", EJOR
    214(3): the probability of demand is smoothed every day, its size on days with demand.

    alpha_d, alpha_p: smoothing of size and probability, within (0, 1]. Flat: no weekly season.
    """

    alpha_d: float = 0.1
    alpha_p: float = 0.1

    name: ClassVar[str] = "tsb"
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for option in ("alpha_d", "alpha_p"):
            value = getattr(self, option)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
                raise ConfigError(f"models.tsb.{option}", f"is {value!r}", "give a number above 0, at most 1")

    def fit(self, history: Series) -> Parameters:
        """Note level, interval and size of demand; raise ValueError for an empty history."""
        weights = {"alpha_d": self.alpha_d, "alpha_p": self.alpha_p}
        return intermittent.facts(self.name, history, self._smooth) | weights

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Smooth the whole history anew (microseconds); the level holds for every day ahead."""
        return intermittent.flat_forecast(history, future, quantiles, self._smooth)

    def _smooth(self, y: Floats) -> tuple[float, Floats]:
        with statsforecast_errors(self.name):
            return level_and_fitted(smooth_tsb(y, 1, True, self.alpha_d, self.alpha_p))
