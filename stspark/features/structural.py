"""A level and a season that drift slowly: what a day is expected to be, from the days before it (Kalman filter).

Harvey 1989, Forecasting, Structural Time Series Models and the Kalman Filter, ch. 2.3 (local level, dummy season). The
variances are fixed ratios of the noise's, not estimated: an estimate from the whole history would let later days change
earlier ones. Only the filter is used, never the smoother, for the same reason.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVEL_RATIO, SEASON_RATIO = 0.05, 0.002
"""Variance of a day's step of level and season, over that of the noise: memories of about 4 and 20 weeks."""
DIFFUSE = 1e6
MEMORY = 364


def expected(y: Floats, season: int, days: NDArray[np.int64], memory: int = MEMORY) -> Floats:
    """Expectation of y at each of `days` from the `memory` days before it; NaN where none of those is known.

    y: [n], NaN = not known; all days of `days` are filtered at once.
    """
    return _run(y, season, days, memory, inclusive=False)


def filtered(y: Floats, season: int) -> Floats:
    """Level and season of each known day given it and the days before [n]: y without its noise; NaN stays NaN."""
    days = np.flatnonzero(np.isfinite(y))
    out = np.full(len(y), np.nan)
    out[days] = _run(y, season, days, MEMORY, inclusive=True)
    return out


def _run(y: Floats, season: int, days: NDArray[np.int64], memory: int, *, inclusive: bool) -> Floats:
    size = max(season, 1)  # the level and season - 1 seasonal states
    move, noise = _transition(size)
    seen = np.zeros(size)
    seen[: min(size, 2)] = 1.0
    padded = np.concatenate([np.full(memory, np.nan), y])
    state = np.zeros((len(days), size))  # [batch, size]
    spread = np.tile(np.eye(size) * DIFFUSE, (len(days), 1, 1))  # [batch, size, size]
    known = np.zeros(len(days), dtype=bool)
    for step in range(memory + inclusive):
        now = padded[days + step]  # [batch]
        has = np.isfinite(now)
        known |= has
        error = np.where(has, now - state @ seen, 0.0)
        cover = spread @ seen  # [batch, size]
        gain = cover / (cover @ seen + 1.0)[:, None] * has[:, None]
        state = state + gain * error[:, None]
        spread = spread - gain[:, :, None] * cover[:, None, :]
        if inclusive and step == memory:
            break
        state = state @ move.T
        spread = move @ spread @ move.T + noise
    return np.where(known, state @ seen, np.nan)


def _transition(size: int) -> tuple[Floats, Floats]:
    """State's step and its noise: the level stays, the season's states sum to about 0 over a season."""
    move, noise = np.zeros((size, size)), np.zeros((size, size))
    move[0, 0], noise[0, 0] = 1.0, LEVEL_RATIO
    if size > 1:
        move[1, 1:] = -1.0
        noise[1, 1] = SEASON_RATIO
        for k in range(2, size):
            move[k, k - 1] = 1.0
    return move, noise
