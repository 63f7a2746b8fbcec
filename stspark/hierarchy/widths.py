"""How wide the intervals of sums must be to hold what they promise, by what earlier windows' held. No Spark.

Joint paths say how wide a sum's band is if errors move together as they usually do. Bands are widened, level by level,
by the root mean square of what paths missed. A level that has many sums behind it may take less than that: as much as
would have held their share of them (split conformal prediction: Vovk et al. 2005; misses in units of the band's own
width: Romano, Patterson & Candès 2019). It never takes more: where demand is intermittent some bands have hardly any
width, and a miss is any number of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stspark.hierarchy.tree import Floats, Tree
from stspark.metrics.definitions import central_intervals

FEWEST = 20
"""Known sums of a level, of nodes and windows, from which they may narrow bands: one of them lies outside of 95%."""


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

    @property
    def intervals(self) -> list[tuple[int, int]]:
        """Places of the quantiles that enclose a central interval."""
        place = list(self.levels).index
        return [(place(low), place(high)) for low, high in central_intervals(self.levels)]

    def add(self, band: Band, y: Floats) -> None:
        """Note a window of which the actuals y [n, days] have come, NaN where they are not known."""
        if not self.intervals:
            return
        error = np.concatenate([y.sum(axis=1, keepdims=True), y], axis=1) - band.middle
        reach = band.quantiles - band.middle[:, :, None]
        missed = np.stack([_missed(error, reach[..., high], reach[..., low]) for low, high in self.intervals], axis=2)
        for level in set(self.tree.levels):
            here = self.tree.of_level(level)
            horizons, days = self.misses.setdefault(level, ([], []))
            horizons.append(missed[here, 0])
            days.append(missed[here, 1:].reshape(-1, missed.shape[2]))

    def stretched(self, band: Band, plain: Floats) -> Floats:
        """A coming window's quantiles [n, 1 + days, q]; plain: [n, 2] factors of root mean squares, never exceeded."""
        factors = np.repeat(plain[:, :, None], len(self.levels), axis=2)  # [n, 2, q]
        for level, kinds in self.misses.items():
            here = self.tree.of_level(level)
            for kind, parts in enumerate(kinds):
                for (low, high), misses in zip(self.intervals, np.concatenate(parts).T, strict=True):
                    held = self._share_held(misses, self.levels[high] - self.levels[low])
                    factors[here, kind, low] = factors[here, kind, high] = np.minimum(plain[here, kind], held)
        days = band.middle.shape[1] - 1
        each = np.concatenate([factors[:, :1], np.repeat(factors[:, 1:], days, axis=1)], axis=1)
        middle = band.middle[:, :, None]
        return np.asarray(np.sort(middle + each * (band.quantiles - middle), axis=2))

    def _share_held(self, misses: Floats, share: float) -> float:
        """The factor at which bands would have held this share of the sums; infinite where too few are known."""
        known = np.sort(misses[~np.isnan(misses)])
        rank = int(np.ceil(round((len(known) + 1) * share, 9))) - 1
        return float(known[rank]) if len(known) >= FEWEST and rank < len(known) else np.inf


def _missed(error: Floats, up: Floats, down: Floats) -> Floats:
    """How many half widths an error lies from the median: up >= 0 and down <= 0 are its interval's ends.

    NaN for a sum foreseen to the last digit: zeros of what is closed or never sells say nothing of a width.
    """
    half = np.where(error > 0, up, -down)
    with np.errstate(divide="ignore", invalid="ignore"):
        missed: Floats = np.where(error == 0, np.nan, np.abs(error) / half)
    return missed
