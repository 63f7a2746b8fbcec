"""Who lends to a region with little history: neighbours, regions under the same parent, and those that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.prepared import standardised
from stspark.snapshot import Integers, Snapshot

NEIGHBOURS, PARENT, ALIKE, ALL, BLEND = "neighbours", "parent", "alike", "all", "blend"
KINDS = (NEIGHBOURS, PARENT, ALIKE, ALL, BLEND)
SHARPNESS = 2.0
"""How fast a donor's weight falls with its distance, in distances that a quarter of the donors keep to."""


@dataclass(frozen=True)
class Donors:
    """Regions with enough history to lend from, of a panel cut at its cutoff. index: [M] their places in it."""

    panel: Snapshot
    index: Integers

    def weights(self, kind: str, borrowers: Integers, own: Floats) -> Floats:
        """[B, M] what each donor counts for each borrower (places in the panel): rows sum to 1, nobody lends to itself.

        own: [n, B] the borrowers' last days; alike are donors whose days of the same dates went up and down as they
        did. Where a kind knows no donor of a region, all count alike.
        """
        other = (borrowers[:, None] != self.index[None, :]).astype(float)
        if kind == NEIGHBOURS:
            given = self.panel.weights[np.ix_(borrowers, self.index)]
        elif kind == PARENT:
            parents = [self.panel.manifest.parents.get(name) for name in self.panel.manifest.regions]
            known = np.array([parent or "" for parent in parents])
            given = (known[borrowers][:, None] == known[self.index][None, :]) & (known[borrowers][:, None] != "")
        elif kind == ALIKE:
            given = self._alike(own, other)
        elif kind == ALL:
            given = other
        else:
            kinds = [part for part in KINDS if part not in (ALIKE, BLEND)]
            given = np.mean([self.weights(part, borrowers, own) for part in kinds], axis=0)
        given = given * other
        return standardised(np.where(given.sum(axis=1, keepdims=True) > 0, given, other))

    def _alike(self, own: Floats, other: Floats) -> Floats:
        """[B, M] by the mean absolute difference of days over their mean."""
        if not len(own):
            return other
        days = self.panel.y[len(self.panel.y) - len(own) :, self.index]
        mine, theirs = own / _size(own), days / _size(days)
        distance = np.zeros(other.shape)
        for day in range(len(own)):
            distance += np.abs(mine[day][:, None] - theirs[day][None, :]) / len(own)
        near = np.quantile(distance[other > 0], 0.25) if other.any() else 1.0
        return np.asarray(np.exp(-SHARPNESS * distance / max(float(near), 1e-9)))


def _size(days: Floats) -> Floats:
    mean = np.abs(days.mean(axis=0))
    return np.where(mean > 0, mean, 1.0)
