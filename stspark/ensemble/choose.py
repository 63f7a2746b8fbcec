"""Each region's champion: the combination, or the best single model, unless the region's own windows speak clearly.

One standard error: Breiman et al. 1984, CART. Test against the seasonal naive: Diebold & Mariano 1995, JBES 13, with
the small-sample correction of Harvey, Leybourne & Newbold 1997, Int. J. Forecasting 13.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from stspark.ensemble.windows import Flags, Floats, Windows
from stspark.names import COMBINATION

Metric = Literal["wape", "mase", "rmse", "pinball"]
FEW = 0.1
"""Share of windows in which a model may have been stood in for, to be every region's default."""
TIE = 9
"""Decimals of a loss in scales beyond which two models are equal."""


def day_losses(windows: Windows, quantiles: Floats, metric: Metric) -> Floats:
    """[R, K, H, M] each day's loss in the target's unit; quantiles: [R, K, H, M, Q] as published (calibrated)."""
    error = windows.errors()
    if metric == "pinball":
        levels = np.asarray(windows.levels)
        gap = windows.y[..., None, None] - quantiles
        return np.asarray(np.maximum(levels * gap, (levels - 1) * gap).mean(axis=-1))
    return np.abs(error) if metric != "rmse" else error**2


def window_losses(loss: Floats, own: Flags) -> Floats:
    """[R, k, M] each window's mean of the days' losses [R, k, H, M] that are known; NaN where none is.

    own: [R, k, M], False where another model stood in: NaN too.
    """
    known = np.isfinite(loss)
    n = known.sum(axis=2)
    mean = np.divide(np.where(known, loss, 0.0).sum(axis=2), n, out=np.full(n.shape, np.nan), where=n > 0)
    return np.where(own, mean, np.nan)


def default_model(losses: Floats, scale: Floats, naive: int, combination: int | None) -> int:
    """The model for regions whose windows say nothing: the combination where it beats naive and is near the best.

    losses: [R, k, M] of many regions' earlier windows; scale: [R], what a region's losses are divided by. The
    combination is near the best single model when it is not worse by more than one standard error over windows; else
    the best one is taken, the naive where there are no losses. Models that stood in for more than FEW of the windows
    take no part: they must not take the others' windows away from the comparison.
    """
    scaled = losses / scale[:, None, None]
    there = np.isfinite(scaled[..., naive])
    own = np.isfinite(scaled[there]).mean(axis=0) if there.any() else np.zeros(losses.shape[2])
    part = np.flatnonzero(own >= 1 - FEW)
    known = np.isfinite(scaled[..., part]).all(axis=2) & there
    rows = [scaled[:, j][known[:, j]].mean(axis=0) for j in range(losses.shape[1]) if known[:, j].any()]
    if not rows:
        return naive
    table = np.round(np.array(rows), TIE)
    mean = np.full(losses.shape[2], np.inf)
    mean[part] = table[:, part].mean(axis=0)
    best = _smallest(mean, naive)
    if combination is None or mean[combination] >= mean[naive]:
        return best
    behind = table[:, combination] - table[:, best]
    return combination if behind.mean() <= _standard_error(behind) else best


def champion(losses: Floats, default: int, naive: int, fewest: int, guard: float) -> int:
    """A region's model from its earlier windows [k, M]: the default, unless another is clearly better.

    Clearly: by more than `guard` standard errors of their difference over windows.
    Fewer than `fewest` observed windows, or differences that are noise, leave the default. Models that stood in
    anywhere (NaN) take no part; where the default itself did, the best of the others is taken, at last the naive.
    """
    seen = losses[np.isfinite(losses[:, naive])]
    if not len(seen):
        return default
    size = max(float(np.nanmean(seen[:, naive])), 1e-12)
    table = np.round(seen / size, TIE)
    mean = np.where(np.isfinite(table).all(axis=0), table.mean(axis=0), np.inf)
    best = _smallest(mean, naive)
    if not np.isfinite(mean[default]):
        return best
    ahead = table[:, default] - table[:, best]
    clear = len(seen) >= fewest and ahead.mean() > guard * _standard_error(ahead)
    return best if clear else default


def diebold_mariano(losses: Floats, model: int, naive: int) -> tuple[float, float]:
    """Statistic and two-sided p-value of equal loss of a model and the naive: below 0 the model is better.

    losses: [k, M] mean losses of windows that do not overlap, so that their differences are taken as uncorrelated.
    NaN where there are fewer than 3 windows or no difference.
    """
    difference = (losses[:, model] - losses[:, naive])[np.isfinite(losses[:, [model, naive]]).all(axis=1)]
    n = len(difference)
    if n < 3 or not np.ptp(difference) > 0:
        return float("nan"), float("nan")
    statistic = difference.mean() / np.sqrt(difference.var() / n) * np.sqrt((n - 1) / n)
    return float(statistic), float(2 * student.sf(abs(statistic), n - 1))


def combination_place(windows: Windows) -> int | None:
    """Place of the combination among the models."""
    return windows.models.index(COMBINATION) if COMBINATION in windows.models else None


def _smallest(means: Floats, naive: int) -> int:
    """Place of the smallest mean; the naive wins ties."""
    best = int(np.argmin(means))
    return naive if means[naive] <= means[best] or not np.isfinite(means[best]) else best


def _standard_error(differences: NDArray[np.float64]) -> float:
    n = len(differences)
    return float(differences.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
