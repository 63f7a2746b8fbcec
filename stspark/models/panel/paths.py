"""Forecasts of the spatial autoregressions: a path without shocks, and quantiles of simulated ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.lags import Equations, iterate, residuals
from stspark.models.panel.prepared import Prepared

RECENT_DAYS = 182


def forecast(equations: Equations, made: Prepared, quantiles: Sequence[float], seed: int, paths: int) -> Floats:
    """[R, H, 1 + Q] in the first variable's unit, from so many simulated paths.

    The point forecast is the path without shocks, carried back to the target's scale: its median, as the back
    transform keeps the order. Shocks are whole days of past residuals, drawn anew for every step (a bootstrap), so
    that each region has the spread of its own residuals and regions move together as they did.
    """
    days = made.z.shape[1]
    known = made.known[days:]
    shape = (len(made.z), 1, len(known), len(made.alive))
    point = iterate(equations, made.z, known, made.weights, np.zeros(shape))[0, 0]  # [H, R]
    pool = shock_days(equations, made, seed)
    draw = np.random.default_rng([seed, 1]).integers(0, pool.shape[1], size=(paths, len(known)))
    simulated = iterate(equations, made.z, known, made.weights, pool[:, draw])[0]  # [S, H, R]
    band = np.quantile(simulated, list(quantiles), axis=0)  # [Q, H, R]
    values = made.backward(np.concatenate([point[None], band]))  # [1 + Q, H, R]
    return np.asarray(np.where(made.alive[:, None, None], values.transpose(2, 1, 0), np.nan))


def shock_days(equations: Equations, made: Prepared, seed: int) -> Floats:
    """[V, D, R] residuals of the last half year's days; what a region has not of its own is drawn from the others'."""
    left = residuals(equations, made.z, made.known[: made.z.shape[1]], made.weights)
    warm = min(equations.terms.shape[1], left.shape[1] - 1)
    left, seen = left[:, warm:][:, -RECENT_DAYS:].copy(), made.usable[warm:][-RECENT_DAYS:]
    some = seen.any(axis=1)
    left, seen = left[:, some], seen[some]
    if not seen.any():
        raise ValueError("no observed day to take the spread of errors from")
    others = np.argwhere(seen)
    rows, columns = np.nonzero(~seen)
    pick = others[np.random.default_rng([seed, 0]).integers(0, len(others), size=len(rows))]
    left[:, rows, columns] = left[:, pick[:, 0], pick[:, 1]]
    return np.asarray(left - left.mean(axis=1, keepdims=True))
