"""One region's days to target_clean: outliers judged, gaps filled, noise filtered, always from earlier days only.

numpy in, numpy out. A day's values depend on nothing later than the day, so a model at a cutoff may learn from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stspark.features.declared import FILL_DAYS
from stspark.features.structural import expected, filtered
from stspark.names import CLOSED, IMPUTED, MISSING, OBSERVED
from stspark.settings import Panel

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
WEEK = 7
LIKE_DAYS, LEAST_LIKE = 8, 3
"""An outlier's reference is the median of the same weekday of 8 weeks before, of which 3 must be known."""
WINDOW, LEAST = 28, 14
"""Its distance is judged against those of the 28 days before, of which 14 must be known."""
LEARNED_WEEKS = 4
"""A weekday without rows for this many weeks is closed."""
NORMAL = 1.4826
"""Median absolute deviation to standard deviation, for normal noise."""


@dataclass(frozen=True)
class Rules:
    """How to clean: the config's choices, the season in days, whether the target can be negative."""

    panel: Panel = field(default_factory=Panel)
    season: int = 7
    non_negative: bool = True
    learned_weekdays: bool = False


@dataclass(frozen=True)
class Cleaned:
    """status [n]; target_clean [n], NaN where nothing can be said; is_outlier [n]."""

    status: NDArray[np.object_]
    target_clean: Floats
    is_outlier: Bools


def clean(target: Floats, status: NDArray[np.object_], excepted: Bools, rules: Rules) -> Cleaned:
    """Clean a region's gapless days [n] in order of date.

    target: NaN where not observed; excepted: days that are no outliers whatever their value (holidays, events).
    """
    panel = rules.panel
    if rules.learned_weekdays:
        status = np.where((status == MISSING) & closed_weekdays(target), CLOSED, status)
    value, outlier = target, np.zeros(len(target), dtype=bool)
    if panel.outliers.method == "hampel":
        low, high = fences(target, panel.outliers.threshold)
        outlier = (status == OBSERVED) & ~excepted & ((target < low) | (target > high))
        value = np.where(outlier & panel.outliers.clean, np.clip(target, low, high), target)
    if panel.noise_filter:
        value = filtered(value, rules.season)
    fill = fill_of(value, status, rules)
    imputed = (status == MISSING) & np.isfinite(fill)
    made = np.where(np.isfinite(target), value, fill).astype(float).round(6)
    return Cleaned(np.where(imputed, IMPUTED, status), made, outlier)


def fences(target: Floats, threshold: float) -> tuple[Floats, Floats]:
    """Lowest and highest usual value of each day [n]; infinite where the past says too little (Hampel 1974).

    The season is taken out by the median of the same weekday; median and absolute deviation of what is left are those
    of the days before. A spread of 0 (mostly zeros) judges nothing.
    """
    n = len(target)
    like = np.full((LIKE_DAYS, n), np.nan)
    for k in range(LIKE_DAYS):
        back = WEEK * (k + 1)
        like[k, back:] = target[: max(n - back, 0)]
    reference = _median(like, LEAST_LIKE, axis=0)
    left = target - reference
    padded = np.concatenate([np.full(WINDOW, np.nan), left[: max(n - 1, 0)]])
    windows = sliding_window_view(padded, WINDOW)[:n] if n else np.zeros((0, WINDOW))
    middle = _median(windows, LEAST, axis=1)
    spread = NORMAL * _median(np.abs(windows - middle[:, None]), LEAST, axis=1)
    reach = np.where(spread > 0, threshold * spread, np.inf)
    low, high = reference + middle - reach, reference + middle + reach
    return np.where(np.isfinite(low), low, -np.inf), np.where(np.isfinite(high), high, np.inf)


def _median(values: Floats, least: int, axis: int) -> Floats:
    """Median without NaN along an axis; NaN where fewer than `least` values are known."""
    ordered = np.sort(values, axis=axis)  # NaN goes last
    known = np.expand_dims(np.isfinite(values).sum(axis=axis), axis)
    middle = [np.take_along_axis(ordered, place, axis) for place in (np.maximum(known - 1, 0) // 2, known // 2)]
    found = np.where(known >= least, (middle[0] + middle[1]) / 2, np.nan)
    return np.asarray(found.squeeze(axis))


def fill_of(value: Floats, status: NDArray[np.object_], rules: Rules) -> Floats:
    """What a day without a target would have had [n], from at most FILL_DAYS before; NaN = cannot be said."""
    if rules.panel.fill == "none":
        return np.full(len(value), np.nan)
    weekly = last_known(value, WEEK)
    if rules.panel.fill == "kalman":
        gaps = np.flatnonzero(~np.isfinite(value) & (np.isfinite(weekly) | (status != CLOSED)))
        fill = np.where(status == CLOSED, 0.0, np.nan)
        fill[gaps] = expected(value, rules.season, gaps, FILL_DAYS)
        return np.maximum(fill, 0.0) if rules.non_negative else fill
    without = np.where(status == CLOSED, 0.0, last_known(value, 1))
    return np.where(np.isfinite(weekly), weekly, without)


def last_known(value: Floats, step: int) -> Floats:
    """The newest known of value[t - step], value[t - 2 step], … [n], at most FILL_DAYS back."""
    n, rows = len(value), -(-len(value) // step)
    known = np.full(rows * step, -1)
    known[:n] = np.where(np.isfinite(value), np.arange(n), -1)
    newest = np.maximum.accumulate(known.reshape(rows, step))  # up to this day, of those `step` apart
    place = np.concatenate([np.full(step, -1), newest.ravel()])[:n]
    near = (place >= 0) & (np.arange(n) - place <= FILL_DAYS)
    return np.where(near, value[place], np.nan)


def closed_weekdays(target: Floats) -> Bools:
    """Days without a target whose weekday had none on the 4 weeks before, while half of the other days had [n].

    Within the region's own days: the first weeks of a pattern are not known to be one yet.
    """
    known = np.isfinite(target)
    n, span = len(known), WEEK * LEARNED_WEEKS
    closed = np.zeros(n, dtype=bool)
    if n <= span:
        return closed
    same = np.stack([known[span - WEEK * k : n - WEEK * k] for k in range(1, LEARNED_WEEKS + 1)])
    count = np.concatenate([[0], np.cumsum(known)])
    usual = count[span:n] - count[: n - span]  # known among the 28 days before
    closed[span:] = ~known[span:] & ~same.any(axis=0) & (usual >= (span - LEARNED_WEEKS) / 2)
    return closed
