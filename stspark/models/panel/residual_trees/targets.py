"""What is learned of the errors of earlier forecasts: all of an error, or only its pattern over the days ahead."""

from __future__ import annotations

import numpy as np

from stspark.models.base import Floats

FEWEST_FOR_A_LINE = 28
FEWEST = 14
"""Known days ahead of a region from which on its errors' line, or its median, are told from their pattern."""
OUTLYING = 4.0
SMALLEST_LIMIT = 1.0
"""A factor of 2.7: no error of a smaller size is ever cut."""


def limit(errors: Floats) -> float:
    """The size at which errors are cut: a day on which a shop broke down must not rule a squared loss."""
    seen = np.abs(errors[np.isfinite(errors)])
    usual = 1.4826 * float(np.median(seen)) if len(seen) else 0.0
    return max(SMALLEST_LIMIT, OUTLYING * usual)


def pattern(errors: Floats) -> Floats:
    """[R, H] errors less their own straight line over the days ahead, NaN where too few days are known.

    Where the level is off, all days ahead are off alike: no trees can foresee that from a region's few years, and it
    hides what they can. A region with too few days for a line loses its median.
    """
    ahead = np.arange(errors.shape[1], dtype=np.float64)
    known = np.isfinite(errors)
    count = known.sum(axis=1, keepdims=True)
    days = np.where(known, ahead, 0.0)
    seen = np.where(known, errors, 0.0)
    n = np.maximum(count, 1)
    middle, mean = days.sum(axis=1, keepdims=True) / n, seen.sum(axis=1, keepdims=True) / n
    off = np.where(known, ahead - middle, 0.0)
    slope = (off * seen).sum(axis=1, keepdims=True) / np.maximum((off**2).sum(axis=1, keepdims=True), 1e-9)
    line = errors - mean - slope * (ahead - middle)
    median = np.array([np.median(row[use]) if use.any() else np.nan for row, use in zip(errors, known, strict=True)])
    enough = count >= min(FEWEST, (errors.shape[1] + 1) // 2)
    return np.where(count >= FEWEST_FOR_A_LINE, line, np.where(enough, errors - median[:, None], np.nan))
