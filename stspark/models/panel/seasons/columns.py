"""What a day's demand is explained by: columns whose effect all regions share, and those of each region's own.

Shapes: T days of history, N = T + H days, R regions; C common, V varying and P own columns; S = C + V.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stspark.models.base import Floats
from stspark.models.panel.seasons.easter import days_from_easter
from stspark.snapshot import Snapshot

STEP = 10
"""Days between the bends of a level."""
WAVES = 9
"""Sine and cosine pairs of the yearly season: it can turn within six weeks."""
SHIFTS = (0, -1, 1, -2, 2)
"""Days around a covariate's day that have an effect of their own."""
TURN = ("12-18", "01-06")
"""Around the turn of the year each day has an effect of its own."""
EASTER = range(-6, 3)
"""Days from Easter Sunday that have an effect of their own."""
LONGEST_SEASON = 31
"""Days of the longest season whose shape may change with the year: a longer one would need as many columns again."""
YEAR = 365.25


@dataclass(frozen=True)
class Strength:
    """How strongly coefficients are drawn to zero, in observations.

    year: those of the yearly season; wander: what a level moves in STEP days.
    """

    year: float
    wander: float


@dataclass(frozen=True)
class Columns:
    """common: [N, C] and varying: [N, R, V] have shared coefficients; own: [N, P]; kinds name the S and P columns."""

    common: Floats
    varying: Floats
    own: Floats
    kinds: tuple[str, ...]
    own_kinds: tuple[str, ...]

    def shared(self, region: int) -> Floats:
        """[N, S] of one region."""
        return np.concatenate([self.common, self.varying[:, region]], axis=1)

    def rows(self, days: slice) -> Columns:
        """The same columns on some of the days."""
        return replace(self, common=self.common[days], varying=self.varying[days], own=self.own[days])

    def penalties(self, strength: Strength) -> tuple[Floats, Floats]:
        """[S] and [P]: the ridge of every coefficient."""
        ridge = {"year": strength.year, "wander": strength.wander, "effect": 1.0, "season": 0.1, "season_in_year": 5.0}
        own = {"wander": strength.wander, "season": 4.0, "level": 1e-4}
        return np.array([ridge[kind] for kind in self.kinds]), np.array([own[kind] for kind in self.own_kinds])


def columns(panel: Snapshot) -> Columns:
    """The columns of a panel's days and of the horizon behind them."""
    days = len(panel.y)
    total = days + panel.manifest.horizon
    dates = np.datetime64(panel.manifest.first_date, "D") + np.arange(total)
    season = np.eye(panel.manifest.season)[(np.arange(total) - days) % panel.manifest.season]
    wander = _wander(days, total)
    common = [
        ("season", season),
        ("season_in_year", _season_in_year(season, dates)),
        ("year", _waves(dates, WAVES)),
        ("effect", _turn(dates)),
        ("effect", _around_easter(dates)),
        ("wander", wander),
    ]
    own = [("level", np.ones((total, 1))), ("season", season), ("wander", wander)]
    varying = covariates(panel)
    kinds = [kind for kind, part in common for _ in range(part.shape[1])] + ["effect"] * varying.shape[2]
    return Columns(
        np.concatenate([part for _, part in common], axis=1),
        varying,
        np.concatenate([part for _, part in own], axis=1),
        tuple(kinds),
        tuple(kind for kind, part in own for _ in range(part.shape[1])),
    )


def _waves(dates: NDArray[np.datetime64], pairs: int) -> Floats:
    angle = 2 * np.pi * (dates - dates.astype("datetime64[Y]")).astype(np.float64) / YEAR
    return np.stack([f(k * angle) for k in range(1, pairs + 1) for f in (np.sin, np.cos)], axis=1)


def _season_in_year(season: Floats, dates: NDArray[np.datetime64]) -> Floats:
    """[N, 2 · season]: each place in the season has a yearly wave, so Saturdays may differ in summer and winter."""
    if not 1 < season.shape[1] <= LONGEST_SEASON:
        return np.zeros((len(dates), 0))
    return np.concatenate([season * wave[:, None] for wave in _waves(dates, 1).T], axis=1)


def _turn(dates: NDArray[np.datetime64]) -> Floats:
    """One column per day around the year's end that the dates hold."""
    text = np.array([str(day)[5:] for day in dates])
    found = sorted({str(day) for day in text if day >= TURN[0] or day <= TURN[1]})
    return np.stack([text == day for day in found], axis=1).astype(np.float64) if found else np.zeros((len(dates), 0))


def _around_easter(dates: NDArray[np.datetime64]) -> Floats:
    """[N, days around Easter Sunday]: one column per day, in every year the same."""
    return np.asarray(days_from_easter(dates)[:, None] == np.array(EASTER), dtype=np.float64)


def _wander(days: int, total: int) -> Floats:
    """[N, K] ramps that have ended on the last day of history: a level is a broken line, and stays where it is then."""
    bends = np.arange(days - 1 - STEP, STEP - 1, -STEP)[::-1]
    return np.clip((np.arange(total)[:, None] - bends[None]) / STEP, 0, 1) - 1


def covariates(panel: Snapshot) -> Floats:
    """[N, R, K · shifts]: covariates in their standard deviations, on the day and around it; 0 where unknown.

    Coming days go no further than days of the history did: the day before an event that was never seen but once, on the
    last day, has an effect that nothing tells.
    """
    total = len(panel.y) + panel.manifest.horizon
    values = np.full((total, *panel.covariates.shape[1:]), np.nan)
    known = panel.covariates[:total]
    values[: len(known)] = known
    past = values[: len(panel.y)]
    seen = ~np.isnan(past)
    count = np.maximum(seen.sum(axis=(0, 1)), 1)
    mean = np.where(seen, past, 0.0).sum(axis=(0, 1)) / count
    spread = np.sqrt((np.where(seen, past - mean, 0.0) ** 2).sum(axis=(0, 1)) / count)
    varies = spread > 1e-9 * np.maximum(np.abs(mean), 1.0)
    scaled = np.nan_to_num((values[:, :, varies] - mean[varies]) / spread[varies])
    made = np.concatenate([_moved(scaled, shift) for shift in SHIFTS], axis=2)
    history, coming = made[: len(panel.y)], made[len(panel.y) :]
    coming[:] = coming.clip(history.min(axis=(0, 1)), history.max(axis=(0, 1)))
    return made


def _moved(values: Floats, days: int) -> Floats:
    """The values of `days` earlier (later where negative); 0 outside."""
    out = np.zeros_like(values)
    if days > 0:
        out[days:] = values[:-days]
    elif days < 0:
        out[:days] = values[-days:]
    else:
        out[:] = values
    return out
