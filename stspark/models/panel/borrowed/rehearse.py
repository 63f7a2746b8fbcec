"""Rehearsals: old regions are forecast from earlier days as if they had started when a young region did.

What foresaw them best is how the young one borrows; their errors are its quantiles.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.borrowed.donors import ALIKE, BLEND, KINDS, Donors, lenders, window_of
from stspark.models.panel.borrowed.lend import Lent, Made, Trust, forecast, lend
from stspark.models.panel.prepared import never_negative
from stspark.snapshot import Bools, Integers, Snapshot

REHEARSALS, APART = 4, 7
"""Earlier days from which old regions are forecast, and the days between them."""
MOST = 100
"""Old regions that rehearse."""
AGES = (0, 1, 2, 3, 4, 5, 7, 10, 14, 21, 28, 42)
"""Days of history for which a rehearsal is held; a young region goes by the one nearest below its own."""
LEVEL_DAYS, SEASON_WEEKS = (0.02, 0.1, 0.5, 2.0), (0.1, 0.5, 2.0, 8.0, 32.0)
SHORTEST_SEASON, SHORTEST_ALIKE = 4, 3
"""Own days below which a week's shape of one's own, and a likeness, cannot be told."""


@dataclass(frozen=True)
class Way:
    """A way to borrow: from whom, only their level or their week's shape too, and how much."""

    kind: str
    flat: bool
    trust: Trust

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"from": self.kind, "shape": not self.flat} | vars(self.trust)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Way:
        """Read what `to_dict` returned."""
        return cls(raw["from"], not raw["shape"], Trust(raw["level_days"], raw["season_weeks"]))


@dataclass(frozen=True)
class Rehearsal:
    """The best way, its mean error in scales of the regions, and its errors in widths of its own, sorted."""

    way: Way
    error: float
    scores: Floats


@dataclass(frozen=True)
class Borrowers:
    """Regions of the donors' panel [B], by their last n days alone."""

    donors: Donors
    index: Integers
    n: int

    @property
    def own(self) -> Floats:
        """[n, B] their days."""
        return self.donors.panel.y[self._days, self.index]

    @property
    def observed(self) -> Bools:
        """[n, B] which of them were observed."""
        return self.donors.panel.observed[self._days, self.index]

    @property
    def _days(self) -> slice:
        last = len(self.donors.panel.y)
        return slice(last - self.n, last)

    def weights(self, kind: str) -> Floats:
        """[B, M] what each donor counts."""
        return self.donors.weights(kind, self.index, self.n)

    def lent(self, weights: Floats, *, flat: bool) -> Lent:
        """What the donors lend with these weights."""
        return lend(self.donors.days, self.donors.observed, weights, self.donors.season, flat=flat)

    def made(self, lent: Lent, trust: Trust) -> Made:
        """Their next horizon."""
        return forecast(self.own, self.observed, lent, trust, self.donors.panel.manifest.horizon)

    def by(self, way: Way) -> Made:
        """Their next horizon by a way to borrow."""
        return self.made(self.lent(self.weights(way.kind), flat=way.flat), way.trust)

    def ways(self) -> Iterator[tuple[Way, Made]]:
        """Every way that n days allow, and what it makes of their next horizon."""
        level_days = LEVEL_DAYS if self.n else LEVEL_DAYS[-1:]
        season_weeks = SEASON_WEEKS if self.n >= SHORTEST_SEASON else SEASON_WEEKS[-1:]
        for kind in KINDS:
            if kind == ALIKE and self.n < SHORTEST_ALIKE:
                continue
            weights = self.weights(kind)
            for flat in (False, True) if kind == BLEND else (False,):
                lent = self.lent(weights, flat=flat)
                for trust in itertools.starmap(Trust, itertools.product(level_days, season_weeks)):
                    yield Way(kind, flat, trust), self.made(lent, trust)


def nearest_age(days: int) -> int:
    """The age for which a rehearsal is held that a region with so many days goes by."""
    return max(age for age in AGES if age <= days)


def rehearse(panel: Snapshot, age: int) -> Rehearsal | None:
    """The best way for regions with `age` days; None where nothing can be told.

    Forecasts end at least a horizon before the panel's end, so that their days are known; each is made by what was
    known on its own day, by and for the regions that could lend then.
    """
    manifest, least = panel.manifest, 0.0 if never_negative(panel) else -np.inf
    losses: dict[Way, list[Floats]] = {}
    scores: dict[Way, list[Floats]] = {}
    for k in range(REHEARSALS):
        end = len(panel.y) - manifest.horizon - APART * k
        if end < 1:
            break
        donors = lenders(panel.known_on(manifest.day(end - 1)))
        if len(donors.index) < 2:
            break
        some = donors.index[np.unique(np.linspace(0, len(donors.index) - 1, MOST).round().astype(int))]
        days = slice(end, end + manifest.horizon)
        actual = np.where(panel.observed[days, some], panel.y[days, some], np.nan)
        scale = _scale(donors.panel.y[-window_of(panel) :, some], donors.season)
        for way, made in Borrowers(donors, some, age).ways():
            error = actual - np.maximum(made.mean, least)
            losses.setdefault(way, []).append((np.abs(error) / scale).ravel())
            scores.setdefault(way, []).append((error / made.width).ravel())
    joined = {way: np.concatenate(found) for way, found in losses.items()}
    mean = {way: float(np.nanmean(found)) for way, found in joined.items() if np.isfinite(found).any()}
    if not mean:
        return None
    best = min(mean, key=lambda way: mean[way])
    z = np.concatenate(scores[best])
    return Rehearsal(best, mean[best], np.sort(z[np.isfinite(z)]))


def _scale(days: Floats, season: int) -> Floats:
    """[B] the seasonal naive's mean absolute error; NaN where it is 0."""
    scale = np.abs(days[season:] - days[:-season]).mean(axis=0)
    return np.where(scale > 0, scale, np.nan)
