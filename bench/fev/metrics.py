"""Losses of one window in fev-bench's protocol, over the known cells of a [T, R] panel.

Sources: Hyndman & Koehler 2006 (MASE), Kolassa & Schütz 2007 (WAPE), Shchur et al. 2025, fev-bench (SQL, the scaled
quantile loss, in which a quantile's pinball loss is doubled so that the median's is the absolute error).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Losses:
    """One window's, or the windows' mean: scaled quantile loss, mean absolute scaled error, weighted share error."""

    sql: float
    mase: float
    wape: float


def seasonal_scale(y: Floats, season: int) -> Floats:
    """[R] mean |y_t − y_(t−season)| over the days of y [T, R] on which both are known (NaN = unknown)."""
    return np.asarray(np.nanmean(np.abs(y[season:] - y[:-season]), axis=0))


def window_losses(truth: Floats, forecast: Floats, quantiles: Sequence[float], scale: Floats) -> Losses:
    """Losses of `forecast` [R, H, 1 + Q] (point, then quantiles) against truth [H, R], NaN where unknown.

    All known cells weigh alike, whatever their region; WAPE divides the mean absolute error by the mean of the truth.
    """
    known = ~np.isnan(truth)
    y = truth[known]
    unit = np.broadcast_to(scale, truth.shape)[known]
    cells = forecast.transpose(1, 0, 2)[known]  # [cells, 1 + Q]
    error = np.abs(y - cells[:, 0])
    surplus = y[:, None] - cells[:, 1:]
    q = np.asarray(quantiles)
    pinball = 2 * np.maximum(q * surplus, (q - 1) * surplus).mean(axis=1)
    return Losses(float(np.mean(pinball / unit)), float(np.mean(error / unit)), float(error.mean() / y.mean()))


def mean_losses(windows: Sequence[Losses]) -> Losses:
    """The plain mean over windows, as fev-bench takes it within a task."""
    return Losses(*(float(np.mean([getattr(w, name) for w in windows])) for name in ("sql", "mase", "wape")))
