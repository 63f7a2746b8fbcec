"""Window average: the mean of the same weekdays, or of all days, of the last weeks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import options
from stspark.models.regional.empirical import empirical_forecast, error_facts


@dataclass(frozen=True)
class WindowAverage:
    """The mean method on a window (Hyndman & Athanasopoulos, FPP3, 5.2), by place in the season or over all days.

    seasons: length of the window in seasons; seasonal: true averages each weekday by itself. Intervals come from
    the errors that the same average made one season ahead in the past.
    """

    seasons: int = 8
    seasonal: bool = True

    name: ClassVar[str] = "window_average"
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = True
    closed_form: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.whole("models.window_average.seasons", self.seasons, at_least=1)
        options.flag("models.window_average.seasonal", self.seasonal)

    def fit(self, history: Series) -> Parameters:
        """Note the window and its past errors; raise ValueError for an empty history."""
        if not len(history):
            raise ValueError("window_average needs 1 day of history; there is none")
        return {
            "model": f"WindowAverage({self.seasons} seasons{', by weekday' if self.seasonal else ''})",
            "season": history.season,
            "seasons": self.seasons,
            "seasonal": self.seasonal,
            **error_facts(self._errors(history)),
            "days": len(history),
            "last_day": str(history.dates[-1]),
        }

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """The window's mean for each day; a place of the season without a day takes the mean of all."""
        y, season = history.y[-self.seasons * history.season :], history.season
        if self.seasonal:
            places = (np.arange(len(y)) - len(y)) % season  # 0 = the first day ahead
            means = [y[places == p].mean() if (places == p).any() else y.mean() for p in range(season)]
            mean = np.resize(np.array(means), len(future))
        else:
            mean = np.full(len(future), y.mean())
        return empirical_forecast(mean, self._errors(history), quantiles)

    def _errors(self, history: Series) -> Floats:
        """[at most n] y[t] minus the mean of the window that ends before it, over observed days."""
        y, season = history.y, history.season
        if len(y) < 2 * season:
            return np.asarray(y[history.observed] - (y.mean() if len(y) else 0.0))
        step = season if self.seasonal else 1
        most = self.seasons if self.seasonal else self.seasons * season
        sums = np.zeros(len(y))
        counts = np.zeros(len(y))
        for back in range(1, most + 1):
            if back * step >= len(y):
                break
            sums[back * step :] += y[: -back * step]
            counts[back * step :] += 1
        usable = (counts > 0) & history.observed
        return np.asarray(y[usable] - sums[usable] / counts[usable])
