"""Joint sample paths of regions over the horizon, so that sums over regions and days have quantiles. No Spark.

A Gaussian copula: marginals are the regions' own published quantiles, dependence is that of back-test errors. A sum's
quantile is not the sum of quantiles (that holds only where all errors move as one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from stspark.hierarchy.tree import Floats
from stspark.hierarchy.weights import shrunk_correlation

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

    Each region's errors are divided by their root mean square over all windows and days, so that a level missed by a
    whole window shows as correlation between its days. Both matrices are shrunk (Schäfer & Strimmer 2005): regions
    towards none; days towards their mean correlation, below which nothing is known of their order.
    """
    known = np.nan_to_num(errors)
    scale = np.sqrt(np.mean(known**2, axis=(0, 1)))
    standard = known / np.where(scale > 0, scale, 1.0)
    windows, days, regions = standard.shape
    if windows * days < 3:
        return Dependence(np.eye(regions), np.eye(days))
    across = shrunk_correlation(_unit(standard.reshape(-1, regions)))
    by_day = _unit(standard.transpose(0, 2, 1).reshape(-1, days))
    return Dependence(across, _towards_mean(by_day) if len(by_day) >= 3 else np.eye(days))


def _unit(rows: Floats) -> Floats:
    size = np.sqrt(np.mean(rows**2, axis=0))
    scaled: Floats = rows / np.where(size > 0, size, 1.0)
    return scaled


def _towards_mean(standard: Floats) -> Floats:
    """Correlation of days, shrunk towards their mean (never below 0) by the intensity for that target."""
    m, n = standard.shape
    if n == 1:
        return np.ones((1, 1))
    correlation = standard.T @ standard / m
    off = ~np.eye(n, dtype=bool)
    mean = max(float(correlation[off].mean()), 0.0)
    spread = ((standard**2).T @ (standard**2) - m * correlation**2) / (m * (m - 1))
    distance = float(((correlation - mean)[off] ** 2).sum())
    intensity = 1.0 if distance == 0 else float(np.clip(spread[off].sum() / distance, 0.0, 1.0))
    shrunk: Floats = intensity * mean + (1 - intensity) * correlation
    np.fill_diagonal(shrunk, 1.0)
    return shrunk


def sample(joint: Dependence, quantiles: tuple[Floats, Sequence[float]], draws: int, seed: int) -> Floats:
    """Paths [draws, days, regions] with the given marginals and the dependence of `joint`.

    quantiles: values [days, regions, q] at levels [q]; between them linear, beyond the outermost a normal tail through
    the outermost and the middle one. Draws come in antithetic pairs, so medians do not wander.
    """
    values, levels = quantiles
    days, regions, _ = values.shape
    half = np.random.default_rng(seed).standard_normal((-(-draws // 2), days, regions))
    normal = np.concatenate([half, -half])[:draws]
    left, right = (_root(matrix) for matrix in (joint.days, joint.regions))
    scores = np.einsum("ij,djk,lk->dil", left, normal, right, optimize=True)
    return _at_scores(scores, values, ndtri(np.asarray(levels, dtype=float)))


def _root(correlation: Floats) -> Floats:
    return np.asarray(np.linalg.cholesky(correlation + JITTER * np.eye(len(correlation))), dtype=np.float64)


def _at_scores(scores: Floats, values: Floats, knots: Floats) -> Floats:
    """Values at normal scores [draws, days, regions], linear in the score between the quantiles' scores [q]."""
    if len(knots) == 1:
        return np.broadcast_to(values[None, :, :, 0], scores.shape).copy()
    place = np.clip(np.searchsorted(knots, scores) - 1, 0, len(knots) - 2)
    day, region = np.ogrid[: values.shape[0], : values.shape[1]]
    low, high = values[day, region, place], values[day, region, place + 1]
    inner: Floats = low + (high - low) * (scores - knots[place]) / (knots[place + 1] - knots[place])
    middle = len(knots) // 2
    for end, inside in ((0, max(middle, 1)), (-1, min(middle, len(knots) - 2))):
        width = (values[..., end] - values[..., inside]) / (knots[end] - knots[inside])
        beyond = scores < knots[0] if end == 0 else scores > knots[-1]
        tail = values[..., end] + (scores - knots[end]) * width
        inner = np.where(beyond, tail, inner).astype(np.float64)
    return inner
