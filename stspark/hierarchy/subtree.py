"""Minimum trace subtree by subtree: exact where errors of different subtrees are uncorrelated. No Spark.

With W block-diagonal over the subtrees (a node right below the total, with its regions) and the total apart, the whole
problem needs no matrix larger than a subtree's: each subtree first settles with its own parent (upwards), then the
total's surprise goes down to the subtrees by their variances (Gaussian conditioning on a tree; Pearl 1988, ch. 4).
Subtrees can so be worked on by different machines, which exchange two numbers a day each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stspark.hierarchy.reconcile import project
from stspark.hierarchy.tree import Floats


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
