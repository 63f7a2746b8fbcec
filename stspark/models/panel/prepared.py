"""A snapshot as the numbers that the spatial autoregressions work on; nothing later than its cutoff enters.

Shapes: V variables, T days, H horizon, R regions, K known columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stspark.models.base import Floats
from stspark.snapshot import Bools, Snapshot

FULLEST = 0.5
"""A day counts for the estimates where more than this share of the regions was observed."""
LIMIT = 8.0
DAYS = 730
SHORTEST = 60
FEWEST = 2 / 3
"""The estimates use the longest window of days in which this share of the regions takes part."""


@dataclass(frozen=True)
class Prepared:
    """z: [V, T, R] arcsinh(value / scale), scale [V, R] the usual size of a region's non-zero day (so that the noise
    of large and small demand is alike, zero and returns included); known: [T + H, R, K] weekday and covariates;
    usable: [T, R]; alive: [R]; weights: [R, R] rows standardised over the regions that have started.
    """

    z: Floats
    scale: Floats
    known: Floats
    usable: Bools
    alive: Bools
    weights: Floats
    floor: bool

    def backward(self, z: Floats) -> Floats:
        """The first variable's [..., R] in its own unit, not below zero where the past never was."""
        y = np.sinh(z) * self.scale[0]
        return np.maximum(y, 0.0) if self.floor else np.asarray(y)

    def window(self) -> tuple[slice, Bools]:
        """The days that estimates are made from, and the regions [R] that take part in all of them."""
        days = len(self.usable)
        begun = np.where(self.alive, np.argmax(self.usable, axis=0), days)
        length = min(DAYS, days)
        while length > SHORTEST and (begun <= days - length).sum() < FEWEST * self.alive.sum():
            length = max(length // 2, SHORTEST)
        members = begun <= max(days - length, begun.min())
        return slice(int(max(days - length, begun[members].max())), days), members

    def neighbours_within(self, members: Bools) -> Floats:
        """[M, M] weights among some regions, rows standardised again."""
        return standardised(self.weights[np.ix_(members, members)])


def prepare(panel: Snapshot, second: Floats | None = None) -> Prepared:
    """Scale the panel, fill what was not seen from before, and lay out what is known ahead.

    second: [T, R] another variable, NaN where unknown.
    """
    usable = panel.observed & panel.alive
    layers = [panel.y] if second is None else [panel.y, second]
    z, scale = [], []
    for values in layers:
        seen = usable & np.isfinite(values)
        size = np.array([_size(values[seen[:, r], r]) for r in range(values.shape[1])])
        z.append(_filled(np.arcsinh(np.where(seen, values, 0.0) / size), seen, panel.manifest.season))
        scale.append(size)
    alive = panel.alive[-1]
    weights = standardised(panel.weights * alive * alive[:, None])
    return Prepared(np.stack(z), np.stack(scale), _known(panel), usable, alive, weights, never_negative(panel))


def never_negative(panel: Snapshot) -> bool:
    """Whether the target never was below zero."""
    return not bool((panel.y[panel.observed] < 0.0).any())


def short_season(panel: Snapshot) -> int:
    """Days in the season; 1 where it is longer than a month and its places are too many to tell apart."""
    return panel.manifest.season if 1 < panel.manifest.season <= 31 else 1


def standardised(weights: Floats) -> Floats:
    """Rows that sum to 1, or to 0 for a region without neighbours."""
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1.0))


def _size(values: Floats) -> float:
    size = np.abs(values[values != 0.0])
    return float(np.median(size)) if len(size) else 1.0


def _filled(z: Floats, seen: Bools, season: int) -> Floats:
    """Unseen days take the last seen value of their weekday, else the last seen one, else the first that follows.

    The last only stands before a region's first seen day, which no estimate uses.
    """
    z = np.where(seen, z, np.nan)
    for t in range(season, len(z)):
        z[t] = np.where(np.isnan(z[t]), z[t - season], z[t])
    for t in range(1, len(z)):
        z[t] = np.where(np.isnan(z[t]), z[t - 1], z[t])
    first = np.where(seen.any(axis=0), np.argmax(seen, axis=0), 0)
    start = z[first, np.arange(z.shape[1])]
    return np.asarray(np.nan_to_num(np.where(np.isnan(z), start, z)))


def _known(panel: Snapshot) -> Floats:
    """[T + H, R, K]: place in the season (all but one, where the season is short), standardised covariates."""
    manifest, days = panel.manifest, len(panel.y)
    span = days + manifest.horizon
    season = short_season(panel)
    dummies = np.eye(season)[np.arange(span) % season][:, 1:]
    places = np.broadcast_to(dummies[:, None, :], (span, panel.y.shape[1], season - 1))
    covariates = np.full((span, panel.y.shape[1], len(manifest.covariates)), np.nan)
    covariates[: len(panel.covariates)] = panel.covariates[:span]
    past = np.ma.masked_invalid(covariates[:days])
    shift, width = past.mean(axis=(0, 1)).filled(0.0), past.std(axis=(0, 1)).filled(0.0)
    scaled = np.nan_to_num((covariates - shift) / np.where(width > 1e-9, width, np.inf))
    return np.concatenate([places, np.clip(scaled, -LIMIT, LIMIT)], axis=2)
