"""MSTL: several seasons taken out by LOESS, the rest forecast by exponential smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from stspark.errors import ConfigError
from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional.auto_ets import AutoEts
from stspark.models.regional.statsforecast_adapter import decompose, statsforecast_errors


@dataclass(frozen=True)
class Mstl:
    """Bandara, Hyndman & Bergmeir (2021), "MSTL: a seasonal-trend decomposition algorithm for time series with
    multiple seasonal patterns", arXiv 2107.13462.

    seasons: days of each season; those that the history does not hold twice are left out. Each repeats its last
    cycle; trend and remainder go on as ETS(A, chosen, N), whose parameters are kept when the history grows.
    """

    seasons: tuple[int, ...] = (7, 364)

    name: ClassVar[str] = "mstl"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.seasons or any(isinstance(s, bool) or not isinstance(s, int) or s < 2 for s in self.seasons):
            raise ConfigError(
                "models.mstl.seasons", f"is {self.seasons!r}", "give whole numbers of days, e.g. [7, 364]"
            )

    def fit(self, history: Series) -> Parameters:
        """Decompose and estimate the smoothing; raise ValueError when it is too short."""
        if len(history) < self.min_length:
            raise ValueError(f"{self.name} needs {self.min_length} days of history; there are {len(history)}")
        seasons = [s for s in sorted(self.seasons) if 2 * s <= len(history)]
        adjusted, cycles = _adjusted(history, seasons)
        strength = {f"amplitude_{s}": float(np.ptp(cycle)) for s, cycle in zip(seasons, cycles, strict=True)}
        smoothing = _level_model().fit(adjusted)
        state = smoothing.pop("state", {})
        smoothing["model"] = f"MSTL({','.join(map(str, seasons))})+{smoothing['model']}"
        return {"seasons": seasons, **strength, **smoothing, "state": state}

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Decompose `history` anew with the seasons of the fit, filter the smoothing forward, add the seasons."""
        adjusted, cycles = _adjusted(history, parameters["seasons"])
        level = _level_model().predict(parameters, adjusted, future, quantiles)
        season = np.sum([np.resize(cycle, len(future)) for cycle in cycles], axis=0) + np.zeros(len(future))
        return Forecast(level.mean + season, level.quantiles + season[:, None])


def _level_model() -> AutoEts:
    return AutoEts(components="AZN")


def _adjusted(history: Series, seasons: Sequence[int]) -> tuple[Series, list[Floats]]:
    """The history without its seasons, and each season's last cycle, from the first day ahead on: [season]."""
    if not seasons:
        return replace(history, season=1), []
    with statsforecast_errors("mstl"):
        parts = decompose(history.y, list(seasons))
    names = ["seasonal"] if len(seasons) == 1 else [f"seasonal{s}" for s in seasons]
    cycles = [np.asarray(parts[name])[-s:] for name, s in zip(names, seasons, strict=True)]
    rest = np.asarray(parts["trend"] + parts["remainder"], dtype=np.float64)
    return replace(history, y=rest, season=1), cycles
