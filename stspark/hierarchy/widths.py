"""How wide the intervals of sums must be to hold what they promise, by what earlier windows' held. No Spark.

Joint paths say how wide a sum's band is if errors move together as they usually do. Bands are widened, level by level,
by the root mean square of what paths missed. A level that has many sums behind it may take less than that: as much as
would have held their share of them (split conformal prediction: Vovk et al. 2005; misses in units of the band's own
width: Romano, Patterson & Candès 2019). It never takes more, for where demand is intermittent some bands have hardly any
width, and a miss is any number of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stspark.hierarchy.tree import Floats, Tree

FEWEST = 20
"""Sums of a level, nodes times windows, from which their record may narrow bands: one of them lies outside of 95%."""


@dataclass(frozen=True)
class Band:
    """What paths say of every node's sum over the horizon, then of its days: quantiles [n, 1 + days, q], median."""

    quantiles: Floats
    middle: Floats


@dataclass
class Record:
    """Misses of earlier windows, in half widths of their bands: by level, of horizons and of days.

    levels: the quantiles, rising; those at q and 1 - q are the ends of one interval.
    """

    tree: Tree
    levels: Sequence[float]
    misses: dict[str, tuple[list[Floats], list[Floats]]] = field(default_factory=dict)

    def add(self, band: Band, y: Floats) -> None:
        """Note a window of which the actuals y [n, days] have come, NaN where they are not known."""
        if len(self.levels) < 2:
            return
        every = np.concatenate([y.sum(axis=1, keepdims=True), y], axis=1) - band.middle
        reach = band.quantiles - band.middle[:, :, None]
        missed = np.stack([_missed(every, reach[..., -1 - j], reach[..., j]) for j in range(len(self.levels) // 2)], -1)
        for level in set(self.tree.levels):
            here = np.array([own == level for own in self.tree.levels])
            horizons, days = self.misses.setdefault(level, ([], []))
            horizons.append(missed[here, 0])
            days.append(missed[here, 1:].reshape(-1, missed.shape[2]))

    def stretched(self, band: Band, plain: Floats) -> Floats:
        """A coming window's quantiles [n, 1 + days, q]; plain: [n, 2] factors of root mean squares, never exceeded."""
        factors = np.repeat(plain[:, :, None], len(self.levels), axis=2)  # [n, 2, q]
        for level, kinds in self.misses.items():
            if sum(map(len, kinds[0])) >= FEWEST:
                here = np.array([own == level for own in self.tree.levels])
                for kind, parts in enumerate(kinds):
                    factors[here, kind] = self._share_held(np.concatenate(parts), factors[here, kind])
        days = band.middle.shape[1] - 1
        each = np.concatenate([factors[:, :1], np.repeat(factors[:, 1:], days, axis=1)], axis=1)
        middle = band.middle[:, :, None]
        return np.asarray(np.sort(middle + each * (band.quantiles - middle), axis=2))

    def _share_held(self, misses: Floats, plain: Floats) -> Floats:
        """[nodes, q] factors at which a band would have held its share of the sums; `plain` where that is less."""
        found = plain.copy()
        for j, misses_of in enumerate(misses.T):
            known = np.sort(misses_of[~np.isnan(misses_of)])
            rank = int(np.ceil((len(known) + 1) * (self.levels[-1 - j] - self.levels[j]))) - 1
            if rank < len(known) and np.isfinite(known[rank]):
                found[:, [j, -1 - j]] = np.minimum(plain[:, [j, -1 - j]], known[rank])
        return found


def _missed(error: Floats, up: Floats, down: Floats) -> Floats:
    """How many half widths an error lies from the median: up >= 0 and down <= 0 are its interval's ends."""
    half = np.where(error > 0, up, -down)
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.abs(error) / half
    missed: Floats = np.where(error == 0, 0.0, units)
    return missed
