"""One region's forecasts, finished: the combination added, quantiles calibrated, the champion marked. No Spark.

What many regions share (`Pool`) is learnt once from a sample of them; every window of a region then learns from its
own earlier windows and those of the pool, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stspark.ensemble import calibrate, choose, weights
from stspark.ensemble.windows import Flags, Floats, Windows, weeks
from stspark.names import COMBINATION

LEAST = 0.1
"""Smallest size of a window, relative to the mean: one that was foreseen exactly does not outweigh all others."""
EVERYBODY = ""
"""Name of the pool's scores of all regions, whatever their demand."""


@dataclass(frozen=True)
class Plan:
    """How to combine, calibrate and choose; see `settings.Ensemble`."""

    combination: Literal["stacked", "inverse", "equal", "none"]
    calibration: Literal["adaptive", "split", "none"]
    metric: choose.Metric
    guard: float
    fewest: int
    non_negative: bool
    partial: tuple[str, ...] = ()
    """Models for some regions only: they take no part in the combination, and are those regions' default."""


@dataclass(frozen=True)
class Pool:
    """What regions share. sizes: [K, K] (see `window_sizes`); around: [K, W, M] weights and together: [K, W, M, M] mean
    products of all regions' errors by window and week of the horizon; scores: by class of demand; default: [K] place of
    the model for regions whose own windows say nothing."""

    sizes: Floats
    around: Floats
    together: Floats
    scores: Mapping[str, calibrate.Scores]
    default: tuple[int, ...]


@dataclass(frozen=True)
class Finished:
    """Windows with the combination (last model), calibrated quantiles [R, K, H, M, Q], champions and weights.

    champion: [R, K] place of the chosen model; weights: [R, K, W, M] of the combination (without itself); losses:
    [R, K, M]."""

    windows: Windows
    quantiles: Floats
    champion: np.ndarray[Any, np.dtype[np.int_]]
    weights: Floats
    losses: Floats

    @property
    def point(self) -> Floats:
        """[R, K, H, M] points as they are published: none lies beyond the outermost of its model's quantiles.

        Calibration moves the quantiles of a model that is always too low to where demand was, and leaves its point.
        """
        return np.fmax(np.fmin(self.windows.point, self.quantiles[..., -1]), self.quantiles[..., 0])


def learn(windows: Windows, classes: Mapping[str, str], plan: Plan) -> Pool:
    """The pool of a sample of regions; classes: region -> class of demand."""
    sizes = window_sizes(windows, _whole(windows, plan))
    around, together = _pooled_weights(windows, sizes, plan)
    combined, _ = _combined(windows, (sizes, around, together), plan)
    kinds = np.array([classes.get(region, EVERYBODY) for region in combined.regions])
    scores = {}
    if plan.calibration != "none":
        rate = calibrate.RATE if plan.calibration == "adaptive" else 0.0
        scores[EVERYBODY] = calibrate.learn(combined, rate)
        for kind in sorted(set(kinds) - {EVERYBODY}):
            if (kinds == kind).sum() >= calibrate.FEWEST_REGIONS:
                scores[kind] = calibrate.learn(combined.of_regions(kinds == kind), rate)
    pool = Pool(sizes, around, together, scores, ())
    quantiles = combined.quantiles
    if plan.metric == "pinball":
        alone = [combined.of_regions(np.arange(len(kinds)) == r) for r in range(len(kinds))]
        quantiles = np.concatenate([_calibrated(one, kind, pool, plan) for one, kind in zip(alone, kinds, strict=True)])
    losses = choose.day_losses(combined, quantiles, plan.metric)
    scale = combined.scale() if plan.metric == "mase" else np.ones(losses.shape[:2])
    place, whole = choose.combination_place(combined), _whole(combined, plan)
    default = tuple(
        choose.default_model(
            np.where(whole, _losses_before(combined, losses, k, sizes, plan), np.nan),
            scale[:, k],
            windows.naive,
            place,
        )
        for k in range(len(windows.cutoffs))
    )
    return Pool(sizes, around, together, scores, default)


def finish(windows: Windows, kind: str, pool: Pool, plan: Plan, first: int = 0) -> Finished:
    """Finish the windows of one region [R = 1] of this class of demand; quantiles from window `first` on."""
    combined, mixed = _combined(windows, (pool.sizes, pool.around, pool.together), plan)
    quantiles = _calibrated(combined, kind, pool, plan, 0 if plan.metric == "pinball" else first)
    losses = choose.day_losses(combined, quantiles, plan.metric)
    chosen = []
    for k in range(len(combined.cutoffs)):
        known = _losses_before(combined, losses, k, pool.sizes, plan)[0]
        default = _default(combined, k, pool, plan)
        if default != pool.default[k]:  # of a region that it covers: judged by the windows that it covered
            known = known[np.isfinite(known[:, default])]
        best = choose.champion(known, default, combined.naive, plan.fewest, plan.guard)
        chosen.append(_there(combined, k, best))
    return Finished(combined, quantiles, np.array([chosen]), mixed, choose.window_losses(losses, combined.own))


def _losses_before(windows: Windows, losses: Floats, k: int, sizes: Floats, plan: Plan) -> Floats:
    """[R, k, M] losses of the windows before the k-th, of days that had come by its cutoff, over the window's size.

    NaN for the first ones, up to `fewest` and so that as many are left: the combination that is chosen now has more to
    learn its weights from than it had there.
    """
    known = choose.window_losses(windows.before(losses, k), windows.own[:, :k])
    if plan.combination in ("stacked", "inverse"):
        known[:, : min(plan.fewest, max(0, k - plan.fewest))] = np.nan
    size = sizes[k, :k, None]
    return known / (size**2 if plan.metric == "rmse" else size)


def _default(windows: Windows, k: int, pool: Pool, plan: Plan) -> int:
    """A partial model that forecast the region in window k, else the pool's."""
    made = windows.made(0, k)
    return next((m for m, name in enumerate(windows.models) if name in plan.partial and made[m]), pool.default[k])


def _whole(windows: Windows, plan: Plan) -> Flags:
    """[M] models that may be combined: those for all regions."""
    return np.array([name not in plan.partial for name in windows.models])


def _there(windows: Windows, k: int, chosen: int) -> int:
    """The chosen model, where it made its own forecast in window k; else the combination or the naive."""
    made = windows.made(0, k)
    place = choose.combination_place(windows)
    candidates = [chosen, *([] if place is None else [place])]
    return next((m for m in candidates if made[m]), windows.naive)


def _calibrated(windows: Windows, kind: str, pool: Pool, plan: Plan, first: int = 0) -> Floats:
    if plan.calibration == "none":
        return windows.quantiles
    scores = pool.scores.get(kind, pool.scores[EVERYBODY])
    return calibrate.calibrate(windows, scores, plan.non_negative, first)


def window_sizes(windows: Windows, whole: Flags) -> Floats:
    """[K, K] how large errors were in window j by what is known at the k-th's cutoff, relative to the mean of windows.

    The median over regions, days and `whole` models [M], in scales, of errors other than zero; 1 where there is none,
    LEAST at least. Divided by it, windows count alike: one Christmas does not choose for the quiet weeks after it.
    """
    error, scale = np.abs(windows.errors()[..., whole]), windows.scale()
    sizes = np.ones((len(windows.cutoffs), len(windows.cutoffs)))
    for k in range(1, len(windows.cutoffs)):
        scaled = windows.before(error, k) / scale[:, k, None, None, None]
        size = np.array([_middle(scaled[:, j]) for j in range(k)])
        if (size > 0).any():
            sizes[k, :k] = np.where(size > 0, np.maximum(size / size[size > 0].mean(), LEAST), 1.0)
    return sizes


def _middle(values: Floats) -> float:
    """Median of the values above 0; 0 where none is."""
    known = values[values > 0]
    return float(np.median(known)) if len(known) else 0.0


def _pooled_weights(windows: Windows, sizes: Floats, plan: Plan) -> tuple[Floats, Floats]:
    """[K, W, M] and [K, W, M, M]: by window and week of the horizon, learnt from the windows before."""
    error, scale, parts, m = windows.errors(), windows.scale(), weeks(windows.horizons), len(windows.models)
    around = np.full((len(windows.cutoffs), len(parts), m), 1 / m)
    together = np.zeros((len(windows.cutoffs), len(parts), m, m))
    for k in range(1, len(windows.cutoffs)):
        own = windows.own[:, :k, None] & _whole(windows, plan)
        scaled = np.where(own, windows.before(error, k), np.nan) / scale[:, k, None, None, None]
        scaled = scaled / sizes[k, :k, None, None]
        for w, days in enumerate(parts):
            around[k, w], together[k, w] = weights.pooled(scaled[:, :, days].reshape(-1, m))
    return around, together


def _combined(windows: Windows, shared: tuple[Floats, ...], plan: Plan) -> tuple[Windows, Floats]:
    """The windows with the combination as one more model, and its weights [R, K, W, M]; shared: as in Pool.

    Quantiles are averaged level by level (vincentization; Lichtendahl et al. 2013, Management Science 59).
    """
    if plan.combination == "none":
        return windows, np.zeros((*windows.own.shape[:2], len(weeks(windows.horizons)), len(windows.models)))
    mixed = np.stack(
        [
            np.stack(
                [_weights(windows, (r, k), [part[k] for part in shared], plan) for k in range(len(windows.cutoffs))]
            )
            for r in range(len(windows.regions))
        ]
    )  # [R, K, W, M]
    by_day = np.einsum("rkwm,wh->rkhm", mixed, weeks(windows.horizons).astype(float))
    point = (by_day * np.where(by_day > 0, windows.point, 0.0)).sum(axis=3)
    quantiles = (by_day[..., None] * np.where(by_day[..., None] > 0, windows.quantiles, 0.0)).sum(axis=3)
    known = by_day.sum(axis=3) > 0
    point, quantiles = np.where(known, point, np.nan), np.where(known[..., None], quantiles, np.nan)
    return windows.with_model(COMBINATION, point, quantiles), mixed


def _weights(windows: Windows, place: tuple[int, int], shared: Sequence[Floats], plan: Plan) -> Floats:
    """[W, M] a region's weights in window k, by week of the horizon; zero where no model has a forecast.

    Only models take part that made their own forecasts here and in all earlier windows of the region.
    """
    (r, k), (sizes, around, together) = place, shared
    there = windows.made(r, k) & _whole(windows, plan)
    was = np.isfinite(windows.point[r, :k]).any(axis=(1, 2))
    usable = there & windows.own[r, :k][was].all(axis=0)
    usable = usable if usable.any() else there
    parts = weeks(windows.horizons)
    if not usable.any():
        return np.zeros((len(parts), len(usable)))
    scaled = windows.before(windows.errors(), k)[r] / windows.scale()[r, k] / sizes[:k, None, None]  # [k, H, M]
    found = []
    for w, days in enumerate(parts):
        errors = scaled[:, days].reshape(-1, len(usable))
        if plan.combination == "equal" or not np.isfinite(scaled).any():
            found.append(weights.equal(usable))
        elif plan.combination == "inverse":
            own, n = weights.products(np.where(usable, errors, 0.0), weights.equal(usable))
            blend = (n * own + weights.TRUST * together[w]) / (n + weights.TRUST)
            found.append(weights.inverse_error(np.diag(blend), usable))
        else:
            found.append(weights.of_region(errors, around[w], together[w], usable))
    return np.stack(found)
