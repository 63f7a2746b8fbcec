"""What a regional model is: two functions, numpy in and numpy out, no Spark.

A fitted model is a plain JSON-able dict (its parameters), so it can be stored in a table, read in SQL
and used for scoring without a pickle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """One region's past up to a cutoff, gapless and in date order.

    dates: [n] datetime64[D]; y: [n] target in its own unit, no NaN (closed and missing days filled
    from the past); observed: [n] False where y was filled; covariates: [n, k] known-future covariates,
    columns named by `names`; season: periods in a season (7 for daily data with a weekly season).
    """

    dates: NDArray[np.datetime64]
    y: Floats
    observed: NDArray[np.bool_]
    covariates: Floats
    names: tuple[str, ...] = ()
    season: int = 7
    holidays: tuple[str, ...] = field(default=())
    """[n] name of the public holiday of each date, "" for none; empty when there is no calendar."""

    def __len__(self) -> int:
        return len(self.y)

    def until(self, cutoff: np.datetime64) -> Series:
        """The same region as known on `cutoff`: copies of the rows dated on or before it."""
        n = int(np.searchsorted(self.dates, cutoff, side="right"))
        return Series(
            self.dates[:n].copy(),
            self.y[:n].copy(),
            self.observed[:n].copy(),
            self.covariates[:n].copy(),
            self.names,
            self.season,
            self.holidays[:n],
        )

    def last(self, days: int) -> Series:
        """The same region from `days` days before its end on: copies."""
        n = max(len(self) - days, 0)
        return Series(
            self.dates[n:].copy(),
            self.y[n:].copy(),
            self.observed[n:].copy(),
            self.covariates[n:].copy(),
            self.names,
            self.season,
            self.holidays[n:],
        )


@dataclass(frozen=True)
class Future:
    """What is known ahead of the horizon: dates [h], covariates [h, k], holiday names [h]."""

    dates: NDArray[np.datetime64]
    covariates: Floats
    holidays: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.dates)


@dataclass(frozen=True)
class Forecast:
    """mean: [h]; quantiles: [h, q], not decreasing along q; both in the target's unit."""

    mean: Floats
    quantiles: Floats


class Forecaster(Protocol):
    """A model of one region.

    One with `closed_form = True` is a few array operations that cannot hang, crash or take memory: it is run in the
    worker itself, without the process that other fits are given.
    """

    @property
    def name(self) -> str:
        """The model's name in config and tables."""

    @property
    def min_length(self) -> int:
        """Fewest days of history that `fit` accepts."""

    @property
    def carries_forward(self) -> bool:
        """True when `predict` can take a longer history than `fit` saw, keeping the parameters."""

    def fit(self, history: Series) -> Parameters:
        """Estimate from `history`; raise ValueError where that is impossible."""

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Forecast the days of `future`, which follow `history`, with parameters from `fit`."""
