"""Forecasts from earlier days of a panel: their errors are the quantiles of the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.boosted.rolling import days_at
from stspark.models.panel.boosted.transform import to_learn
from stspark.models.panel.seasons.columns import STEP
from stspark.snapshot import Snapshot

Forecast = Callable[[Snapshot], tuple[Floats, Floats]]
"""A panel cut at its cutoff -> [R, H] forecasts on the scale of `to_learn`, and [R] the size that scales them."""

SHORTEST = 8 * STEP
LIKE_ALL = 100.0
"""Errors of a region that weigh as much as those of all."""


@dataclass(frozen=True)
class Spread:
    """Sizes of errors on the scale of `to_learn`. by_day: [H]; by_region: [R]; shape: [101] percentiles of the rest."""

    by_day: Floats
    by_region: Floats
    shape: Floats

    def at(self, quantiles: Sequence[float], regions: Sequence[int]) -> Floats:
        """[regions, H, Q] what lies between the point and each quantile; it is 0 at the median."""
        standard = np.interp(np.asarray(quantiles), np.linspace(0, 1, len(self.shape)), self.shape)
        size = self.by_region[list(regions)][:, None] * self.by_day  # [regions, H]
        return np.asarray(size[:, :, None] * standard)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Spread:
        """Read what `to_dict` returned."""
        return cls(**{name: np.asarray(value, dtype=np.float64) for name, value in raw.items()})


def origins(panel: Snapshot, windows: int) -> list[int]:
    """Last known days, as indices, newest first: half a horizon apart in whole seasons, so far as history goes."""
    manifest = panel.manifest
    apart = manifest.season * max(1, round(manifest.horizon / 2 / manifest.season))
    last = len(panel.y) - 1
    return [last - k * apart for k in range(1, windows + 1) if last - k * apart + 1 >= SHORTEST]


def errors(panel: Snapshot, forecast: Forecast, windows: int) -> Floats:
    """[windows, R, H] truth less forecast on the scale of `to_learn`; NaN where not observed or not yet begun."""
    truth = np.where(panel.observed, panel.y, np.nan)
    ahead = np.arange(1, panel.manifest.horizon + 1)
    made = [np.full((0, truth.shape[1], len(ahead)), np.nan)]
    for cutoff in origins(panel, windows):
        known = panel.known_on(panel.manifest.first_date + timedelta(days=cutoff))
        values, size = forecast(known)
        begun = known.observed.sum(axis=0) >= SHORTEST
        off = to_learn(days_at(truth, cutoff + ahead).T, size[:, None]) - values
        made.append(np.where(begun[:, None], off, np.nan)[None])
    return np.concatenate(made)


def spread(found: Floats) -> Spread:
    """Sizes of errors [windows, R, H]: by day ahead (never falling), by region (drawn to all), and their shape.

    The shape is symmetric: earlier windows are few, and their common bias says nothing of the next one's.
    """
    regions, horizon = found.shape[1:]
    seen = np.abs(found[np.isfinite(found)])
    if not len(seen):
        return Spread(np.full(horizon, 0.1), np.ones(regions), np.linspace(-2.0, 2.0, 101))
    usual = float(seen.mean()) or 1e-9
    half = max(1, horizon // 8)
    near = [np.abs(found[:, :, max(0, h - half) : h + half + 1]) for h in range(horizon)]
    by_day = np.array([np.nanmean(part) if np.isfinite(part).any() else usual for part in near])
    by_day = np.maximum(np.maximum.accumulate(by_day), 1e-9)
    relative = np.abs(found) / by_day
    count = np.isfinite(relative).sum(axis=(0, 2))
    total = np.where(np.isfinite(relative), relative, 0.0).sum(axis=(0, 2))
    by_region = (total + LIKE_ALL) / (count + LIKE_ALL)
    rest = (relative / by_region[:, None])[np.isfinite(relative)]
    shape = np.quantile(np.concatenate([rest, -rest]), np.linspace(0, 1, 101))
    return Spread(by_day, by_region, shape)
