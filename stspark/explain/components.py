"""One region's forecast as a sum of components, for any model that can be asked again with other inputs. No Spark.

What the calendar and covariates do is found by counterfactuals: the forecast with them less the forecast with them at
their usual value; where several act in the same horizon, by Shapley values over the groups (Shapley 1953; Lundberg &
Lee 2017), which add up exactly. What is left is split by time: the level of the last season, the trend away from it,
and the season about it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stspark.models.base import Floats, Future, Series
from stspark.names import BORROWED

LEVEL, TREND, SEASON, HOLIDAY, EVENT, CLOSED, LIMIT = (
    "level", "trend", "season", "holiday", "event", "closed", "limit",
)  # fmt: skip
OTHER = "covariates and neighbours"
"""What a model that cannot be asked again does beside level, trend and season."""
MOST_GROUPS = 4
"""Groups by Shapley values (16 forecasts); further ones join the last."""


@dataclass(frozen=True)
class Group:
    """Inputs that are set to their usual value together: columns of the covariates, and holiday names or not."""

    name: str
    columns: tuple[int, ...]
    holidays: bool = False


def groups_of(names: Sequence[str], events: Sequence[str]) -> list[Group]:
    """holiday (flag and names), event (all shopping events), and each other covariate by its own name."""
    column = {name: i for i, name in enumerate(names)}
    listed = [Group(HOLIDAY, tuple(column[n] for n in ("holiday",) if n in column), holidays=True)]
    if found := tuple(column[n] for n in names if n in events):
        listed.append(Group(EVENT, found))
    return listed + [Group(n, (i,)) for n, i in column.items() if n != "holiday" and n not in events]


def usual(history: Series) -> Floats:
    """[k] median of each covariate over the observed days: 0 for a flag."""
    seen = history.covariates[history.observed] if history.observed.any() else history.covariates
    return np.median(seen, axis=0) if len(seen) else np.zeros(history.covariates.shape[1])


def active(groups: Sequence[Group], future: Future, at: Floats) -> list[Group]:
    """The groups that differ from their usual value on any coming day; at most MOST_GROUPS, the last ones joined."""

    def acts(group: Group) -> bool:
        columns = list(group.columns)
        return bool((future.covariates[:, columns] != at[columns]).any()) or (group.holidays and any(future.holidays))

    found = [group for group in groups if acts(group)]
    if len(found) <= MOST_GROUPS:
        return found
    last = found[MOST_GROUPS - 1 :]
    joined = Group(
        " and ".join(g.name for g in last), tuple(c for g in last for c in g.columns), any(g.holidays for g in last)
    )
    return [*found[: MOST_GROUPS - 1], joined]


def without(future: Future, groups: Sequence[Group], at: Floats) -> Future:
    """The coming days with the groups at their usual value."""
    covariates = future.covariates.copy()
    for group in groups:
        columns = list(group.columns)
        covariates[:, columns] = at[columns]
    names = ("",) * len(future.holidays) if any(g.holidays for g in groups) else future.holidays
    return replace(future, covariates=covariates, holidays=names)


def shapley(forecast: Callable[[Sequence[Group]], Floats], groups: Sequence[Group]) -> tuple[Floats, dict[str, Floats]]:
    """The forecast without any group, and each group's Shapley value [h]; they add up to the forecast with all.

    forecast: the mean [h] with the given groups taken out.
    """
    n = len(groups)
    made = {
        kept: forecast([g for i, g in enumerate(groups) if i not in kept])
        for size in range(n + 1)
        for kept in map(frozenset, itertools.combinations(range(n), size))
    }
    values = {}
    for i, group in enumerate(groups):
        share = np.zeros_like(made[frozenset()])
        for kept, mean in made.items():
            if i not in kept:
                weight = math.factorial(len(kept)) * math.factorial(n - len(kept) - 1) / math.factorial(n)
                share = share + weight * (made[kept | {i}] - mean)
        values[group.name] = share
    return made[frozenset()], values


def over_time(path: Floats, history: Series) -> dict[str, Floats]:
    """Level (mean of the last season known), trend (the path's moving mean less it) and season (the rest), [h] each."""
    season = max(history.season, 1)
    level = float(history.y[-season:].mean())
    span = min(season, len(path))
    means = np.convolve(path, np.full(span, 1 / span), mode="valid")
    centre = np.clip(np.arange(len(path)) - span // 2, 0, len(means) - 1)
    moving = means[centre]
    return {LEVEL: np.full(len(path), level), TREND: moving - level, SEASON: path - moving}


def by_weekday(published: Floats, history: Series) -> dict[str, Floats]:
    """As `over_time` for a forecast of which only the path is known: the season is the past weeks', OTHER the rest."""
    season, h = max(history.season, 1), len(published)
    weeks = min(len(history) // season, 8)
    if weeks < 2:
        return over_time(published, history)
    table = history.y[-weeks * season :].reshape(weeks, season)
    profile = np.resize(np.median(table - table.mean(axis=1, keepdims=True), axis=0), h)
    parts = over_time(published - profile, history)
    return {LEVEL: parts[LEVEL], TREND: parts[TREND], SEASON: profile, OTHER: parts[SEASON]}


def by_donors(published: Floats, history: Series) -> dict[str, Floats]:
    """The mean of the region's own last season, which may be short or have no day, and what others add to it."""
    own = history.y[-history.season :]
    level = np.full(len(published), float(own.mean()) if len(own) else 0.0)
    return {LEVEL: level, BORROWED: published - level}


def to_published(parts: Mapping[str, Floats], published: Floats, closed: Floats) -> dict[str, Floats]:
    """The components with what closure and limits (no negative counts) do, so that they add up to `published` [h]."""
    rest = published - np.sum(list(parts.values()), axis=0)
    shut = np.where(closed > 0, rest, 0.0)
    return {**parts, CLOSED: shut, LIMIT: rest - shut}
