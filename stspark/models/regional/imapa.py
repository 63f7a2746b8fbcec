"""IMAPA: intermittent demand summed over several periods, smoothed at each, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import intermittent
from stspark.models.regional.statsforecast_adapter import smooth_imapa, statsforecast_errors


@dataclass(frozen=True)
class Imapa:
    """Petropoulos & Kourentzes (2015), "Forecast combinations for intermittent demand", JORS 66(6). Flat.

    Errors are those of the final level on all days: fitted values at every level would cost n times the fit.
    """

    name: ClassVar[str] = "imapa"
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = True

    def fit(self, history: Series) -> Parameters:
        """Note level, interval and size of demand; raise ValueError for an empty history."""
        return intermittent.facts(self.name, history, self._smooth)

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Smooth the whole history anew; the level holds for every day ahead."""
        return intermittent.flat_forecast(history, future, quantiles, self._smooth)

    def _smooth(self, y: Floats) -> tuple[float, Floats]:
        if not y.any():
            return 0.0, np.zeros(len(y))
        with statsforecast_errors(self.name):
            level = float(smooth_imapa(y, 1, False)["mean"][0])
        return level, np.full(len(y), level)
