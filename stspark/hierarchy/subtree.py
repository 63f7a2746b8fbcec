"""Minimum trace subtree by subtree: exact where errors of different subtrees are uncorrelated. No Spark.

With W block-diagonal over the subtrees (a node right below the total, with its regions) and the total apart, the whole
problem needs no matrix larger than a subtree's: each subtree first settles with its own parent (upwards), then the
total's surprise goes down to the subtrees by their variances (Gaussian conditioning on a tree; Pearl 1988, ch. 4).
Subtrees can so be worked on by different machines, which exchange two numbers a day each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stspark.hierarchy.reconcile import project
from stspark.hierarchy.tree import Floats, Tree
from stspark.hierarchy.weights import shrunk_covariance, variances

LARGE = 1000
"""Nodes beyond which a hierarchy is reconciled subtree by subtree: W of all nodes would be larger than it is worth."""


@dataclass(frozen=True)
class Settled:
    """A subtree that adds up within itself: regions [regions, days], gain [regions], and its sum's variance."""

    bottom: Floats
    gain: Floats
    """Covariance of each region's error with that of the subtree's sum."""
    variance: float

    @property
    def sums(self) -> Floats:
        """[days] the subtree's sum before it hears of the total."""
        summed: Floats = self.bottom.sum(axis=0)
        return summed


def settle(base: Floats, summing: Floats, covariance: Floats) -> Settled:
    """Upwards: reconcile a subtree alone. base: [nodes, days], upper nodes first; a lone region has one row."""
    bottom = project(base, summing, covariance) if len(summing) > summing.shape[1] else base.copy()
    whitened = np.linalg.solve(covariance, summing)
    posterior = np.linalg.inv(summing.T @ whitened)
    gain = posterior.sum(axis=1)
    return Settled(bottom, gain, float(gain.sum()))


def surprise(total: Floats, total_variance: float, sums: Floats, variances: Floats) -> Floats:
    """[days] of the total beyond the subtrees' sums [subtrees, days], per unit of variance [subtrees]."""
    beyond: Floats = (total - sums.sum(axis=0)) / (total_variance + float(variances.sum()))
    return beyond


def told(settled: Settled, beyond: Floats, floor: bool) -> Floats:
    """Downwards: the regions [regions, days] of a subtree after it has heard of the total.

    floor: negative regions become zero and the others of the subtree give what that adds, in proportion, so that the
    subtree keeps its sum (itself at least zero): a projection onto the simplex's scale, not the least-squares optimum.
    """
    bottom = settled.bottom + np.outer(settled.gain, beyond)
    if not floor:
        return bottom
    wanted = np.maximum(bottom.sum(axis=0), 0.0)
    positive = np.maximum(bottom, 0.0)
    held = positive.sum(axis=0)
    scaled: Floats = positive * np.where(held > 0, wanted / np.where(held > 0, held, 1.0), 0.0)
    return scaled


def by_subtrees(method: str, tree: Tree, base: Floats, closed: NDArray[np.bool_], errors: Floats) -> Floats:
    """Regions' forecasts [regions, days] as of reconcile.reconcile, with errors of different subtrees uncorrelated.

    base: [n, days]; closed: [regions, days]; errors: [observations, n].
    """
    parts = [members(tree, child) for child in tree.children(0)]
    total = _total_variance(method, tree, errors)
    blocks = [_block(method, tree, part, errors) for part in parts]
    floor, upper = bool((base[tree.n_upper :] >= 0).all()), tree.n_upper
    bottom = np.zeros((tree.n_regions, base.shape[1]))
    for pattern in np.unique(closed, axis=1).T:
        days = np.flatnonzero((closed == pattern[:, None]).all(axis=0))
        kept = np.concatenate([tree.summing[:upper][:, ~pattern].any(axis=1), ~pattern])
        settled, places = [], []
        for part, block in zip(parts, blocks, strict=True):
            on = kept[part]
            open_part = np.array(part)[on]
            regions = open_part[open_part >= upper] - upper
            if not len(regions):
                continue
            summing = tree.summing[np.ix_(open_part, regions)]
            settled.append(settle(base[np.ix_(open_part, days)], summing, block[np.ix_(on, on)]))
            places.append(regions)
        if not settled:
            continue
        spread = np.array([s.variance for s in settled])
        beyond = surprise(base[0, days], total, np.array([s.sums for s in settled]), spread)
        for part_settled, regions in zip(settled, places, strict=True):
            bottom[np.ix_(regions, days)] = told(part_settled, beyond, floor)
    return bottom


def members(tree: Tree, child: int) -> list[int]:
    """The child and all nodes below it, in the tree's order (parents before children, regions last)."""
    found = {child}
    for node in range(child + 1, len(tree.nodes)):
        if tree.above[node] in found:
            found.add(node)
    return sorted(found)


def _block(method: str, tree: Tree, part: list[int], errors: Floats) -> Floats:
    nodes = np.array(part)
    regions = nodes[nodes >= tree.n_upper] - tree.n_upper
    if method == "wls_struct":
        return np.diag(tree.summing[np.ix_(nodes, regions)].sum(axis=1))
    if method == "ols":
        return np.eye(len(part))
    return shrunk_covariance(errors[:, part]) if method == "mint_shrink" else np.diag(variances(errors[:, part]))


def _total_variance(method: str, tree: Tree, errors: Floats) -> float:
    if method in ("ols", "wls_struct"):
        return 1.0 if method == "ols" else float(tree.n_regions)
    return float(variances(errors[:, :1])[0])
