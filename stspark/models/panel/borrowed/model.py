"""Cold start: a region with little history borrows the level and the week's shape of other regions.

From whom, and how much, is settled by rehearsals with old regions, whose errors are the quantiles (split conformal;
Vovk, Gammerman & Shafer 2005). Only young regions are forecast; nothing stands in for the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stspark.models.base import Floats, Parameters
from stspark.models.panel.base import TooLittle
from stspark.models.panel.borrowed.donors import WINDOW, Donors, lenders
from stspark.models.panel.borrowed.rehearse import Borrowers, Way, nearest_age, rehearse
from stspark.models.panel.order import by_name
from stspark.models.panel.prepared import never_negative
from stspark.snapshot import Bools, Integers, Snapshot

SHARES = (np.arange(199) + 0.5) / 199
"""Quantiles that stand for a rehearsal's errors."""
NAMED = 5
"""Donors of a region that its parameters name."""


@dataclass(frozen=True)
class Borrowed:
    """days: a region with fewer days of history borrows."""

    days: int = WINDOW
    name = "borrowed"
    min_length = 1
    carries_forward = False

    def __post_init__(self) -> None:
        if isinstance(self.days, bool) or not isinstance(self.days, int) or not 1 <= self.days <= WINDOW:
            raise ValueError(f"days is {self.days!r}; give a whole number from 1 to {WINDOW}")

    def fit(self, panel: Snapshot) -> Parameters:
        """Rehearse for the ages of the young regions.

        Returns "days", "donors" (how many), "ages" (the way to borrow and its error), "regions" (of each young one its
        days, level, the borrowed share of it, the donors that count most) and "state" (errors, for scoring).
        Raises TooLittle where there are young regions and none that could lend.
        """
        ordered, _ = by_name(panel)
        days, donors = self._young(ordered), lenders(ordered)
        held = {age: rehearse(ordered, age) for age in sorted({nearest_age(int(n)) for n in days[days >= 0]})}
        found = {str(age): rehearsal for age, rehearsal in held.items() if rehearsal is not None}
        if held and not (found and len(donors.index)):
            raise TooLittle("no two regions have enough history to lend from")
        told: dict[str, Any] = {}
        for age, some in _borrowers(donors, days, found):
            told |= _told(some, found[age].way)
        return {
            "days": self.days,
            "donors": len(donors.index),
            "ages": {age: one.way.to_dict() | {"error": one.error} for age, one in found.items()},
            "regions": told,
            "state": {age: np.quantile(one.scores, SHARES).tolist() for age, one in found.items()},
        }

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        """[R, H, 1 + Q]; see `PanelForecaster`. NaN for all regions but the young ones."""
        ordered, back = by_name(panel)
        made = np.full((len(back), panel.manifest.horizon, 1 + len(quantiles)), np.nan)
        ways = parameters["ages"]
        for age, some in _borrowers(lenders(ordered), self._young(ordered), ways):
            found = some.by(Way.from_dict(ways[age]))
            off = np.interp([0.5, *quantiles], SHARES, parameters["state"][age])
            off[0] = 0.0
            made[some.index] = found.mean.T[:, :, None] + found.width[:, None, None] * off
        return (np.maximum(made, 0.0) if never_negative(ordered) else made)[back]

    def covers(self, panel: Snapshot) -> Bools:
        """[R] the young and the announced regions."""
        return np.asarray(self._young(panel) >= 0)

    def _young(self, panel: Snapshot) -> Integers:
        """[R] days of history of young regions, 0 for announced ones that open after the panel; -1 for all others."""
        days = panel.alive.sum(axis=0)
        announced = np.isin(np.array(panel.manifest.regions), panel.manifest.opening)
        opens = announced & np.isfinite(panel.covariates[len(panel.y) :]).all(axis=(0, 2))
        return np.where(np.where(panel.alive[-1], days < self.days, opens), days, -1)


def _borrowers(donors: Donors, days: Integers, ways: Mapping[str, object]) -> Iterator[tuple[str, Borrowers]]:
    """The young regions [R] by their number of days, and the age by whose rehearsal they go, where one was held."""
    for n in np.unique(days[days >= 0]):
        age = str(nearest_age(int(n)))
        if age in ways:
            yield age, Borrowers(donors, np.flatnonzero(days == n), int(n))


def _told(some: Borrowers, way: Way) -> dict[str, Any]:
    """What a reader wants to know of each region: its days, level, the borrowed share of it, from whom."""
    names, made, weights = some.donors.panel.manifest.regions, some.by(way), some.weights(way.kind)
    first = np.argsort(-weights, axis=1, kind="stable")[:, :NAMED]
    return {
        names[place]: {
            "days": some.n,
            "level": float(made.level[b]),
            "borrowed_share": float(made.borrowed[b]),
            "from": way.kind,
            "donors": {
                names[some.donors.index[m]]: round(float(weights[b, m]), 4) for m in first[b] if weights[b, m] > 0
            },
            "other_donors": int((weights[b] > 0).sum() - (weights[b, first[b]] > 0).sum()),
        }
        for b, place in enumerate(some.index)
    }
