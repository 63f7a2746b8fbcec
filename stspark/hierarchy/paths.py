"""Joint sample paths of regions over the horizon, so that sums over regions and days have quantiles. No Spark.

A Gaussian copula: marginals are the regions' own published quantiles, dependence is that of back-test errors. A sum's
quantile is not the sum of quantiles (that holds only where all errors move as one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from stspark.hierarchy.tree import Floats

JITTER = 1e-9


@dataclass(frozen=True)
class Dependence:
    """Correlation of errors across regions [regions, regions] and across days ahead [days, days].

    Their Kronecker product is taken for the whole (a matrix normal): same pattern of regions on every day.
    """

    regions: Floats
    days: Floats


def dependence(errors: Floats) -> Dependence:
    """Estimate from errors [windows, days, regions] of back-tests (NaN = not observed counts as no error).

    Both matrices are shrunk (Schäfer & Strimmer 2005) towards one common correlation: the average in which pairs count
    by their size, so that the variance of the sum over all regions is kept. Errors are about zero, not about their
    mean: a level that a whole window missed shows as correlation between its days. Days are pooled over the regions
    and their sum, in the target's unit, so that those that carry the sum decide.
    """
    known = np.nan_to_num(errors)
    windows, days, regions = known.shape
    if windows * days < 3:
        return Dependence(np.eye(regions), np.eye(days))
    by_day = np.concatenate([known, known.sum(axis=2, keepdims=True)], axis=2).transpose(0, 2, 1).reshape(-1, days)
    return Dependence(_towards_mean(known.reshape(-1, regions)), _towards_mean(by_day))


def _towards_mean(rows: Floats) -> Floats:
    """Correlation [n, n] of rows [m, n] about zero, shrunk towards the size-weighted mean correlation (at least 0)."""
    m, n = rows.shape
    if n == 1 or m < 3:
        return np.eye(n)
    size = np.sqrt(np.mean(rows**2, axis=0))
    standard = rows / np.where(size > 0, size, 1.0)
    off = ~np.eye(n, dtype=bool)
    product, weight = rows.T @ rows / m, np.outer(size, size)
    total = float(weight[off].sum())
    mean = float(np.clip(product[off].sum() / total, 0.0, 0.99)) if total > 0 else 0.0
    correlation = standard.T @ standard / m
    spread = ((standard**2).T @ (standard**2) - m * correlation**2) / (m * (m - 1))
    distance = float(((correlation - mean)[off] ** 2).sum())
    intensity = 1.0 if distance == 0 else float(np.clip(spread[off].sum() / distance, 0.0, 1.0))
    shrunk: Floats = intensity * mean + (1 - intensity) * correlation
    np.fill_diagonal(shrunk, 1.0)
    return shrunk


def inflation(joint: Dependence, spreads: Floats, errors: Floats, summing: Floats) -> tuple[Floats, Floats]:
    """Root mean square of back-test errors of sums in units of what `joint` implies: by node, of days and of horizons.

    spreads, errors: [windows, days, regions], standard deviations of the regions' forecasts, and what came; summing:
    [n, regions]. Returns [n] and [n]; 1 where the paths are as wide as they should be, or nothing is known.
    """
    known = np.nan_to_num(errors)
    daily, whole = np.ones(len(summing)), np.ones(len(summing))
    for node, row in enumerate(summing):
        part = spreads * row
        blocks = np.einsum("wdr,rs,wes->wde", part, joint.regions, part, optimize=True)
        missed = known @ row
        by_day = np.einsum("wdd->wd", blocks)
        over_all = np.einsum("wde,de->w", blocks, joint.days)
        daily[node] = _ratio(missed, by_day)
        whole[node] = _ratio(missed.sum(axis=1), over_all)
    return daily, whole


def _ratio(missed: Floats, variance: Floats) -> float:
    usable = variance > 0
    return float(np.sqrt(np.mean(missed[usable] ** 2 / variance[usable]))) if usable.any() else 1.0


def spread_of(values: Floats, levels: Sequence[float]) -> Floats:
    """Standard deviations [days, regions] that quantiles [days, regions, q] imply, from the outermost two."""
    if len(levels) < 2:
        return np.zeros(values.shape[:2])
    wide: Floats = (values[..., -1] - values[..., 0]) / (ndtri(levels[-1]) - ndtri(levels[0]))
    return wide


def sample(
    joint: Dependence,
    quantiles: tuple[Floats, Sequence[float]],
    draws: int,
    seed: int,
    steady: NDArray[np.bool_] | None = None,
) -> Floats:
    """Paths [draws, days, regions] with the given marginals and the dependence of `joint`.

    steady: [regions] those that err alike on all days, for it is their level that is not known.

    quantiles: values [days, regions, q] at levels [q]; between them linear, beyond the outermost a normal tail through
    the outermost and the middle one. Draws come in antithetic pairs, so medians do not wander.
    """
    values, levels = quantiles
    days, regions, _ = values.shape
    half = np.random.default_rng(seed).standard_normal((-(-draws // 2), days, regions))
    normal = np.concatenate([half, -half])[:draws]
    left, right = (_root(matrix) for matrix in (joint.days, joint.regions))
    scores = np.einsum("ij,djk,lk->dil", left, normal, right, optimize=True)
    if steady is not None:
        scores = np.where(steady, scores[:, :1], scores)
    return _at_scores(scores, values, ndtri(np.asarray(levels, dtype=float)))


def _root(correlation: Floats) -> Floats:
    root: Floats = np.linalg.cholesky(correlation + JITTER * np.eye(len(correlation))).astype(np.float64)
    return root


def _at_scores(scores: Floats, values: Floats, knots: Floats) -> Floats:
    """Values at normal scores [draws, days, regions], linear in the score between the quantiles' scores [q]."""
    if len(knots) == 1:
        return np.broadcast_to(values[None, :, :, 0], scores.shape).copy()
    place = np.clip(np.searchsorted(knots, scores) - 1, 0, len(knots) - 2)
    day, region = np.ogrid[: values.shape[0], : values.shape[1]]
    low, high = values[day, region, place], values[day, region, place + 1]
    share = (scores - knots[place]) / (knots[place + 1] - knots[place])
    inner: Floats = (low + (high - low) * share).astype(np.float64)
    middle = len(knots) // 2
    for end, inside in ((0, max(middle, 1)), (-1, min(middle, len(knots) - 2))):
        width = (values[..., end] - values[..., inside]) / (knots[end] - knots[inside])
        beyond = scores < knots[0] if end == 0 else scores > knots[-1]
        tail = values[..., end] + (scores - knots[end]) * width
        inner = np.where(beyond, tail, inner).astype(np.float64)
    return inner
