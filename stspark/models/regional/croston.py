"""Croston's method for intermittent demand, with its two corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import intermittent, options
from stspark.models.regional.statsforecast_adapter import level_and_fitted, smooth_croston, statsforecast_errors


@dataclass(frozen=True)
class Croston:
    """Croston (1972), "Forecasting and stock control for intermittent demands", ORQ 23(3): sizes and intervals of
    demand are smoothed apart.

    variant: classic (0.1 for both), optimized (both chosen by squared error) or sba (classic times 0.95, Syntetos &
    Boylan 2005, which takes out its bias). Flat: no weekly season.
    """

    variant: str = "sba"

    name: ClassVar[str] = "croston"
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.one_of("models.croston.variant", self.variant, tuple(smooth_croston))

    def fit(self, history: Series) -> Parameters:
        """Note level, interval and size of demand; raise ValueError for an empty history."""
        return intermittent.facts(self.name, history, self._smooth) | {"variant": self.variant}

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Smooth the whole history anew (microseconds); the level holds for every day ahead."""
        return intermittent.flat_forecast(history, future, quantiles, self._smooth)

    def _smooth(self, y: Floats) -> tuple[float, Floats]:
        with statsforecast_errors(self.name):
            return level_and_fitted(smooth_croston[self.variant](y, 1, True))
