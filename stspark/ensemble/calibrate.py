"""Quantiles whose intervals hold what they promise: split conformal, normalised and pooled, adapted window by window.

The score of a past day is its error in units of the model's own interval there: z = (y − point) / width. A coming
day's quantile is point + width · quantile of z. (Papadopoulos et al. 2008 and Lei et al. 2018, JASA 113: normalised
conformal prediction; Romano et al. 2019: widths from the model's quantiles; Gibbs & Candès 2021 and Zaffran et al.
2022: adapting the level to the misses seen so far, since demand is not exchangeable over time.)

A region has few scores of its own: those of similar regions count as TRUST days beside them. Scores of event days and
of each week of the horizon are kept apart where there are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stspark.ensemble.windows import Floats, Windows
from stspark.metrics.definitions import central_intervals

TRUST = 60.0
"""Days of its own at which a region's scores weigh as much as those of similar regions."""
POINTS = 199
"""Quantiles that stand for the scores of similar regions."""
FEWEST_REGIONS = 4
"""Regions that a class of demand needs for scores of its own."""
FEWEST = 40
"""Scores that a group needs; below, the scores of all groups stand for it."""
RATE = 0.5
"""Share of a window's missed coverage by which the next window's level is moved."""
WEEKS = 4
"""Weeks of the horizon that are told apart; later ones count as the last."""
NARROWEST = 0.1
"""Narrowest interval that an error is divided by, in scales of the region."""


@dataclass(frozen=True)
class Scores:
    """Scores of similar regions before each window: grid [K, G, M, POINTS] rising, and levels [K, M, Q] to aim at."""

    grid: Floats
    levels: Floats


def groups(windows: Windows) -> NDArray[np.int_]:
    """[R, K, H] group of a day: its week of the horizon, and whether it is an event day."""
    week = np.minimum((np.asarray(windows.horizons) - 1) // 7, WEEKS - 1)
    kinds: NDArray[np.int_] = 2 * week[None, None, :] + windows.event
    return kinds


def widths(windows: Windows) -> Floats:
    """[R, K, H, M] the model's own interval nearest to 80%, not below a part of the region's scale; NaN if unknown."""
    pairs = central_intervals(windows.levels)
    if not pairs:
        spread = np.abs(windows.point)
    else:
        low, high = min(pairs, key=lambda pair: abs(pair[1] - pair[0] - 0.8))
        at = [windows.levels.index(q) for q in (low, high)]
        spread = windows.quantiles[..., at[1]] - windows.quantiles[..., at[0]]
    floor: Floats = NARROWEST * windows.scale()[:, :, None, None]
    return np.maximum(spread, floor)


def learn(windows: Windows, rate: float = RATE) -> Scores:
    """Scores and levels from a sample of similar regions; window k learns from the windows before it.

    rate: share of a window's missed coverage by which the next level moves; 0 = split conformal, levels as they are.
    """
    z, group = _scores(windows), groups(windows)
    n, kinds = len(windows.cutoffs), 2 * WEEKS
    grid = np.full((n, kinds, len(windows.models), POINTS), np.nan)
    for k in range(1, n):
        for kind in range(kinds):
            grid[k, kind] = _grid(windows.before(z, k), group[:, :k] == kind)
    levels = np.broadcast_to(np.asarray(windows.levels), (n, len(windows.models), len(windows.levels))).copy()
    scores = Scores(grid, levels)
    for k in range(1, n - 1):
        made = _window(windows, scores, z, group, k)
        levels[k + 1 :] = _moved(levels[k], made, windows, k, rate)
    return scores


def calibrate(windows: Windows, scores: Scores, non_negative: bool, first: int = 0) -> Floats:
    """[R, K, H, M, Q] calibrated quantiles; as the model made them where no earlier window was observed.

    first: windows before it are left as the models made them.
    """
    z, group, first = _scores(windows), groups(windows), max(first, 1)
    made = [windows.quantiles[:, k] for k in range(min(first, len(windows.cutoffs)))]
    made += [_window(windows, scores, z, group, k) for k in range(first, len(windows.cutoffs))]
    quantiles = np.sort(np.stack(made, axis=1), axis=-1)
    return np.maximum(quantiles, 0.0) if non_negative else quantiles


def _scores(windows: Windows) -> Floats:
    """[R, K, H, M] errors in units of the model's own interval."""
    return -windows.errors() / widths(windows)


def _grid(z: Floats, here: NDArray[np.bool_]) -> Floats:
    """[M, POINTS] quantiles of the scores [R, k, H, M] of these days, of all days where they are too few.

    NaN for a model that made less than FEWEST of them, and less than others did.
    """
    chosen = z[here] if np.isfinite(z[here]).any(axis=-1).sum() >= FEWEST else z.reshape(-1, z.shape[-1])
    known = chosen[np.isfinite(chosen).any(axis=1)]
    if not len(known):
        return np.full((z.shape[-1], POINTS), np.nan)
    count = np.isfinite(known).sum(axis=0)
    enough = count >= min(FEWEST, len(known))
    grid = np.nanquantile(np.where(enough, known, 0.0), (np.arange(POINTS) + 0.5) / POINTS, axis=0).T
    return np.where(enough[:, None], grid, np.nan)


def _window(windows: Windows, scores: Scores, z: Floats, group: NDArray[np.int_], k: int) -> Floats:
    """[R, H, M, Q] calibrated quantiles of window k, learnt from the windows before it."""
    raw, width, point = windows.quantiles[:, k], widths(windows)[:, k], windows.point[:, k]
    known = windows.before(z, k)
    made = raw.copy()
    for r in range(len(raw)):
        for kind in np.unique(group[r, k]):
            days = group[r, k] == kind
            own = known[r][group[r, :k] == kind]
            shift = blended_quantiles(own.T, scores.grid[k, kind], scores.levels[k])
            calibrated = point[r, days][..., None] + width[r, days][..., None] * shift[None]
            made[r, days] = np.where(np.isfinite(calibrated), calibrated, raw[r, days])
    return made


def blended_quantiles(own: Floats, grid: Floats, levels: Floats) -> Floats:
    """[M, Q] quantiles of a mixture: own scores [M, n] of weight 1 each, and the grid [M, POINTS] of weight TRUST."""
    n = np.isfinite(own).sum(axis=1)
    values = np.concatenate([own, grid], axis=1)
    weight = np.concatenate([np.ones(own.shape), np.full(grid.shape, TRUST / POINTS)], axis=1)
    weight = np.where(np.isfinite(values), weight, 0.0)
    order = np.argsort(values, axis=1)  # NaN last, with weight 0
    values, weight = np.take_along_axis(values, order, axis=1), np.take_along_axis(weight, order, axis=1)
    found = np.full(levels.shape, np.nan)
    for m in range(len(values)):
        total = weight[m].sum()
        if total > 0 and (n[m] >= FEWEST or np.isfinite(grid[m]).any()):
            kept = weight[m] > 0
            share = (np.cumsum(weight[m]) - 0.5 * weight[m]) / total
            found[m] = np.interp(levels[m], share[kept], values[m][kept])
    return found


def _moved(levels: Floats, made: Floats, windows: Windows, k: int, rate: float) -> Floats:
    """[M, Q] the next window's levels: a central interval is widened where window k missed too much, or narrowed.

    It is judged by the days that had come by the next cutoff.
    """
    moved, y = levels.copy(), windows.before(windows.y, k + 1)[:, k, :, None]
    for low, high in central_intervals(windows.levels):
        i, j = windows.levels.index(low), windows.levels.index(high)
        inside = (y >= made[..., i]) & (y <= made[..., j])
        known = np.isfinite(y) & np.isfinite(made[..., j])
        n = known.sum(axis=(0, 1))
        held = np.where(n > 0, (inside & known).sum(axis=(0, 1)) / np.maximum(n, 1), high - low)
        change = rate * (held - (high - low)) / 2
        moved[:, i] = np.clip(levels[:, i] + change, low / 4, 0.49)
        moved[:, j] = np.clip(levels[:, j] - change, 0.51, 1 - low / 4)
    return np.sort(moved, axis=1)
