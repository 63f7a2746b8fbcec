"""Days on which a region's level changed for good."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.diagnostic import breaks_cusumolsresid

from stspark.diagnostics.finding import LEVEL, Finding, NotApplicable

Floats = NDArray[np.float64]
LEAST = 4
"""Blocks (weeks) that a level must last."""
MOST = 20
"""Blocks that any number of breaks may cost: a penalty of this many variances would find only huge ones."""


def change_points(level: Floats, least: int = LEAST, penalty: float | None = None) -> list[int]:
    """Starts of new levels in [n]: optimal partitioning by squared error (Jackson et al. 2005), n of some hundreds.

    The penalty of a break is 3 log(n) variances of the noise, taken robustly from first differences, so that a
    steady series has none.
    """
    n = len(level)
    noise = float(np.median(np.abs(np.diff(level))) / 0.6745 / np.sqrt(2)) if n > 1 else 0.0
    scale = noise if noise > 0 else float(np.std(level))
    if n < 2 * least or scale == 0:
        return []
    x = level / scale
    cost_of_break = 3 * np.log(n) * _long_run(x) if penalty is None else penalty
    sums, squares = np.concatenate([[0], np.cumsum(x)]), np.concatenate([[0], np.cumsum(x * x)])
    best, last = np.full(n + 1, np.inf), np.zeros(n + 1, dtype=int)
    best[0] = -cost_of_break
    for end in range(least, n + 1):
        starts = np.arange(0, end - least + 1)
        length = end - starts
        error = squares[end] - squares[starts] - (sums[end] - sums[starts]) ** 2 / length
        total = best[starts] + error + cost_of_break
        last[end] = starts[np.argmin(total)]
        best[end] = total.min()
    points, end = [], n
    while last[end] > 0:
        end = int(last[end])
        points.append(end)
    return points[::-1]


def _long_run(x: Floats) -> float:
    """Inflation of the penalty by the autocorrelation of the differences' noise, between 1 and MOST."""
    steps = np.diff(x)
    steps = steps - np.median(steps)
    if len(steps) < 8 or not np.any(steps):
        return 1.0
    rho = float(np.clip(1 + 2 * np.dot(steps[1:], steps[:-1]) / np.dot(steps, steps), 0.0, 0.9))  # AR(1): rho of x
    return float(min((1 + rho) / (1 - rho), MOST))


def change_findings(y: Floats, dates: NDArray[np.datetime64], season: int) -> list[Finding]:
    """change_points of the means of whole seasons: how many, the p-value of the CUSUM test, when and how much."""
    block = max(season, 1)
    count = len(y) // block
    if count < 2 * LEAST:
        raise NotApplicable(f"{len(y)} days are fewer than {2 * LEAST} seasons")
    offset = len(y) - count * block
    level = y[offset:].reshape(count, block).mean(axis=1)
    points = change_points(level)
    p = float(breaks_cusumolsresid(level - level.mean())[1]) if np.ptp(level) > 0 else 1.0
    if not points:
        wander = "the level drifts, without a sudden change" if p < LEVEL else "the level has not changed"
        return [Finding("change_points", 0.0, p, wander)]
    edges = [0, *points, count]
    parts = [level[a:b].mean() for a, b in itertools.pairwise(edges)]
    told = [_told(dates[offset + block * at], parts[k], parts[k + 1]) for k, at in enumerate(points)]
    more = f" and {len(told) - 3} more before" if len(told) > 3 else ""
    return [Finding("change_points", float(len(points)), p, "the level changed " + "; ".join(told[-3:]) + more)]


def _told(day: np.datetime64, before: float, after: float) -> str:
    how = f"from {before:,.4g} to {after:,.4g}"
    return f"about {day.astype('datetime64[D]')} {how}"
