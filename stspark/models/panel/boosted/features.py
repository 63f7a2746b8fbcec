"""What the boosted trees see of a region on a cutoff, for each of the days ahead.

Everything is relative to the region's level (mean of its last 28 observed days), so that regions of any size teach
one another. Days further ahead than the horizon are never looked at, past-only covariates never at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.boosted.rolling import Integers, centred_mean, days_at, trailing_mean
from stspark.snapshot import Snapshot

LEVEL_DAYS = 28
WINDOWS = (7, 14, 56, 84, 364)
YEAR = 364
"""52 weeks: the same weekday of last year."""
AROUND = (0, -1, 1, -2, 2, -3, 3)
"""Days around the target day whose known-ahead covariates are looked at."""
AGE_LIMIT = 365
TIME_OF_YEAR = (2, 4)
"""Positions in `Design.rows` of the day of the year and the month."""


@dataclass(frozen=True)
class Design:
    """A panel prepared for features: y [T, R] with NaN where not observed, code [R] numbers the regions by identity.

    covariates: positions of those known-ahead columns of the panel that are looked at.
    """

    panel: Snapshot
    code: Floats
    covariates: tuple[int, ...]

    @cached_property
    def y(self) -> Floats:
        return np.where(self.panel.observed, self.panel.y, np.nan)

    @cached_property
    def dates(self) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
        """Every day that a target day can be, from the panel's first."""
        n = len(self.y) + self.panel.manifest.horizon
        return np.datetime64(self.panel.manifest.first_date, "D") + np.arange(n)

    @cached_property
    def weekday(self) -> Integers:
        """Monday is 0."""
        return np.asarray((self.dates.astype(np.int64) + 3) % 7)

    @cached_property
    def means(self) -> dict[int, Floats]:
        return {n: trailing_mean(self.y, n, max(1, n // 4)) for n in (LEVEL_DAYS, *WINDOWS)}

    @cached_property
    def around(self) -> dict[int, Floats]:
        return {n: centred_mean(self.y, n) for n in (1, 7, 21)}

    @cached_property
    def level(self) -> Floats:
        """[T, R] positive size of a region on each day, in the target's unit; NaN before anything was observed."""
        longest = trailing_mean(np.abs(self.y), len(self.y))
        size = np.array(self.means[LEVEL_DAYS])
        for longer in (self.means[84], self.means[364], longest):
            size = np.where(np.isnan(size) | (size <= 0.02 * longest), longer, size)
        size = np.where(size <= 0.02 * longest, longest, size)
        return np.where(size == 0, 1.0, size)

    @cached_property
    def age(self) -> Floats:
        """[T, R] days observed so far, up to AGE_LIMIT."""
        return np.minimum(np.cumsum(self.panel.observed, axis=0), AGE_LIMIT).astype(np.float64)

    def rows(self, origin: int) -> Floats:
        """[R, H, F] features of the days after day index `origin`, seen from it; NaN where there is nothing to see."""
        level = self.level[origin]  # [R]
        ahead = np.arange(1, self.panel.manifest.horizon + 1)
        target = origin + ahead  # [H]
        per_day = [ahead.astype(np.float64), self.weekday[target], *_calendar(self.dates[target])]
        per_region = [self.code, self.age[origin], *self._levels(origin, level)]
        both = [*self._profiles(origin, target), *self._last_year(origin, target), *self._known_ahead(origin, target)]
        shape = (len(level), len(ahead))
        columns = [np.broadcast_to(np.asarray(c, dtype=np.float64), shape) for c in per_day]
        columns += [np.broadcast_to(c[:, None], shape) for c in per_region]
        return np.stack([*columns, *both], axis=-1)

    def _levels(self, origin: int, level: Floats) -> list[Floats]:
        """[R] each: means of other windows and earlier days, and the neighbours' last week, relative to the level."""
        means = [self.means[n][origin] / level for n in WINDOWS]
        earlier = [days_at(self.means[n], np.array(origin - lag)) for n, lag in ((28, 28), (7, 7), (28, YEAR))]
        week = np.nan_to_num(means[0], nan=1.0)
        return [*means, *(m / level for m in earlier), self.panel.weights @ week]

    def _profiles(self, origin: int, target: Integers) -> list[Floats]:
        """Mean of the target's weekday over the last 4 and 8 weeks relative to those weeks' mean: [R, H] each."""
        back = (self.weekday[origin] - self.weekday[target]) % 7
        out = []
        for weeks in (4, 8):
            index = origin - back[None, :] - 7 * np.arange(weeks)[:, None]  # [weeks, H]
            values = days_at(self.y, index)  # [weeks, H, R]
            known = ~np.isnan(values)
            mean = np.where(known, values, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
            span = self.means[LEVEL_DAYS if weeks == 4 else 56][origin]
            out.append(_ratio(mean.T, span[:, None]))
        return out

    def _last_year(self, origin: int, target: Integers) -> list[Floats]:
        """Last year's target day and the days around it, relative to last year's level; the regions' mean of it."""
        before = days_at(self.level, np.array(origin - YEAR))[:, None]
        own = []
        for n in (1, 7, 21):
            index = np.where(target - YEAR + n // 2 <= origin, target - YEAR, -1)  # a mean of days known by then
            own.append(_ratio(days_at(self.around[n], index).T, before))
        known = ~np.isnan(own[2])
        total = np.where(known, own[2], 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        return [*own, np.broadcast_to(total, own[2].shape)]

    def _known_ahead(self, origin: int, target: Integers) -> list[Floats]:
        """[R, H] each: covariates of the target day, of days around it up to the horizon, of last year's day."""
        last = origin + self.panel.manifest.horizon
        values = self.panel.covariates[:, :, list(self.covariates)]  # [T', R, K]
        out: list[Floats] = []
        for shift in AROUND:
            index = np.where(target + shift <= last, target + shift, -1)
            out.extend(days_at(values, index).transpose(2, 1, 0))
        out.extend(days_at(values, target - YEAR).transpose(2, 1, 0))
        return out


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.asarray(a / np.where(np.abs(b) > 0, b, np.nan))


def _calendar(days: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> list[Floats]:
    """Day of the year, day of the month, month: [H] each, counted from 0."""
    months = days.astype("datetime64[M]")
    year = (days - days.astype("datetime64[Y]")).astype(np.float64)
    return [year, (days - months).astype(np.float64), (months.astype(np.int64) % 12).astype(np.float64)]
