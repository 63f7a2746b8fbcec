"""Means over the days that were observed: [T, R] arrays in which NaN is a day that was not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stspark.models.base import Floats

Integers = NDArray[np.int64]


def trailing_mean(y: Floats, days: int, at_least: int = 1) -> Floats:
    """[T, R] mean of the `days` days up to and including each; NaN with fewer than `at_least` observed."""
    known = ~np.isnan(y)
    zero = np.zeros((1, y.shape[1]))
    total = np.concatenate([zero, np.cumsum(np.where(known, y, 0.0), axis=0)])
    count = np.concatenate([zero, np.cumsum(known, axis=0)])
    end = np.arange(1, len(y) + 1)
    begin = np.maximum(end - days, 0)
    n = count[end] - count[begin]
    return np.where(n >= at_least, (total[end] - total[begin]) / np.maximum(n, 1), np.nan)


def centred_mean(y: Floats, days: int) -> Floats:
    """[T, R] mean of the odd number of `days` around each; NaN where the days after it are not all there."""
    half = days // 2
    out = np.full_like(y, np.nan)
    if len(y) > half:
        out[: len(y) - half] = trailing_mean(y, days)[half:]
    return out


def days_at(values: Floats, index: Integers) -> Floats:
    """Rows of `values` [T, …] at `index` (any shape); NaN where the index lies outside."""
    inside = (index >= 0) & (index < len(values))
    picked = values[np.clip(index, 0, len(values) - 1)]
    return np.where(inside.reshape(index.shape + (1,) * (values.ndim - 1)), picked, np.nan)
