"""Who lends to a region with little history: neighbours, regions under the same parent, and those that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.prepared import short_season, standardised
from stspark.snapshot import Bools, Integers, Snapshot

NEIGHBOURS, PARENT, ALIKE, ALL, BLEND = "neighbours", "parent", "alike", "all", "blend"
KINDS = (NEIGHBOURS, PARENT, ALIKE, ALL, BLEND)
WINDOW = 56
"""Last days of a donor that are lent, where a season is not longer than a fortnight."""
SHARPNESS = 2.0
"""How fast a donor's weight falls with its distance, in distances that a quarter of the donors keep to."""


@dataclass(frozen=True)
class Donors:
    """Regions of a panel, cut at its cutoff, with enough history and sales to lend. index: [M] their places in it."""

    panel: Snapshot
    index: Integers

    @property
    def season(self) -> int:
        """Days in the season that is lent; a longer one than a month has no place in the window."""
        return short_season(self.panel)

    @property
    def days(self) -> Floats:
        """[W, M] what is lent."""
        return self.panel.y[-window_of(self.panel) :, self.index]

    @property
    def observed(self) -> Bools:
        """[W, M] which of these days were seen."""
        return self.panel.observed[-window_of(self.panel) :, self.index]

    def weights(self, kind: str, borrowers: Integers, n: int) -> Floats:
        """[B, M] what each donor counts for each borrower (places in the panel): rows sum to 1, nobody lends to itself.

        n: last days that borrowers have had; alike are donors whose days of the same dates went up and down as they
        did. Where a kind knows no donor of a region, all count alike; without another donor the row is 0.
        """
        other = (borrowers[:, None] != self.index[None, :]).astype(float)
        if kind == NEIGHBOURS:
            given = self.panel.weights[np.ix_(borrowers, self.index)]
        elif kind == PARENT:
            parents = self.panel.manifest.parents
            known = np.array([parents.get(name, "") for name in self.panel.manifest.regions])
            given = (known[borrowers][:, None] == known[self.index][None, :]) & (known[borrowers][:, None] != "")
        elif kind == ALIKE:
            given = self._alike(borrowers, n, other)
        elif kind == ALL:
            given = other
        else:
            kinds = [part for part in KINDS if part not in (ALIKE, BLEND)]
            given = np.mean([self.weights(part, borrowers, n) for part in kinds], axis=0)
        given = given * other
        return standardised(np.where(given.sum(axis=1, keepdims=True) > 0, given, other))

    def _alike(self, borrowers: Integers, n: int, other: Floats) -> Floats:
        """[B, M] by the mean absolute difference of days over their mean, of days on which both were seen."""
        days, seen = self.panel.y[len(self.panel.y) - n :], self.panel.observed[len(self.panel.y) - n :].astype(float)
        size = np.abs((days * seen).sum(axis=0)) / np.maximum(seen.sum(axis=0), 1.0)
        scaled = days / np.where(size > 0, size, 1.0)
        distance, both = np.zeros(other.shape), np.zeros(other.shape)
        for day in range(n):
            together = seen[day, borrowers][:, None] * seen[day, self.index][None, :]
            distance += together * np.abs(scaled[day, borrowers][:, None] - scaled[day, self.index][None, :])
            both += together
        distance = np.where(both > 0, distance / np.maximum(both, 1.0), np.inf)
        near = np.sort(np.where(other > 0, distance, np.inf), axis=1)[:, [(other.shape[1] - 1) // 4]]
        return np.asarray(np.exp(-SHARPNESS * distance / np.where(np.isfinite(near) & (near > 0), near, 1.0)))


def window_of(panel: Snapshot) -> int:
    """Days of a donor that are lent: eight weeks, four seasons where they are longer."""
    return max(WINDOW, 4 * short_season(panel))


def lenders(panel: Snapshot) -> Donors:
    """The regions that were there and sold over the whole window."""
    window = window_of(panel)
    if len(panel.y) < window:
        return Donors(panel, np.zeros(0, dtype=np.int64))
    seen = np.where(panel.observed, panel.y, 0.0)[-window:]
    return Donors(panel, np.flatnonzero(panel.alive[-window] & (seen.sum(axis=0) > 0)))
