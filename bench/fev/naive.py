"""The seasonal naive as fev-bench runs it: the last season repeated, statsforecast's normal intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsforecast.models import SeasonalNaive

Floats = NDArray[np.float64]


def seasonal_naive(history: Floats, horizon: int, season: int, quantiles: Sequence[float]) -> Floats:
    """[R, H, 1 + Q] from history [T, R]; a region's unknown days (NaN) take the last known value before them."""
    regions = [_one(column, horizon, season, quantiles) for column in history.T]
    return np.stack(regions)


def _one(y: Floats, horizon: int, season: int, quantiles: Sequence[float]) -> Floats:
    known = pd.Series(y[np.flatnonzero(~np.isnan(y))[0] :]).ffill().to_numpy()
    levels = sorted({round(100 * abs(2 * q - 1), 6) for q in quantiles if q != 0.5})
    made = SeasonalNaive(season_length=season).forecast(known, horizon, level=levels)
    columns = [made["mean"]]
    for q in quantiles:
        side, level = ("lo" if q < 0.5 else "hi"), round(100 * abs(2 * q - 1), 6)
        columns.append(made["mean"] if q == 0.5 else made[_key(made, side, level)])
    return np.stack(columns, axis=1)


def _key(made: dict[str, Floats], side: str, level: float) -> str:
    """statsforecast names intervals by the level's text (lo-80 or lo-80.0)."""
    return next(k for k in made if k.startswith(f"{side}-") and float(k.removeprefix(f"{side}-")) == level)
