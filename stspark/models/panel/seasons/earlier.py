"""Forecasts from earlier days of a panel: their errors are the quantiles of the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.boosted.rolling import days_at
from stspark.models.panel.boosted.transform import to_learn
from stspark.snapshot import Snapshot

Forecast = Callable[[Snapshot], tuple[Floats, Floats]]
"""A panel cut at its cutoff -> [R, H] forecasts on the scale of `to_learn`, and [R] the size that scales them."""

SHORTEST = 56
"""Days of history, and observed days of a region, without which an earlier forecast tells nothing of later errors."""
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


@dataclass(frozen=True)
class Earlier:
    """A forecast from day index `origin`. values: [R, H] on the scale of `to_learn`; size: [R] what scales them."""

    origin: int
    values: Floats
    size: Floats

    def errors(self, panel: Snapshot, fewest: int) -> Floats:
        """[R, H] truth less forecast; NaN where not observed, and for regions seen on fewer days than `fewest` then."""
        truth = np.where(panel.observed, panel.y, np.nan)
        ahead = np.arange(1, panel.manifest.horizon + 1)
        begun = panel.observed[: self.origin + 1].sum(axis=0) >= fewest
        off = to_learn(days_at(truth, self.origin + ahead).T, self.size[:, None]) - self.values
        return np.where(begun[:, None], off, np.nan)


def forecasts(panel: Snapshot, forecast: Forecast, at: Iterable[int]) -> list[Earlier]:
    """Forecasts from these day indices, each of a panel cut there: nothing later is seen."""
    return [Earlier(k, *forecast(panel.known_on(panel.manifest.first_date + timedelta(days=k)))) for k in at]


def stacked(found: Sequence[Floats], panel: Snapshot) -> Floats:
    """[windows, R, H] of errors [R, H] each; also where there is none."""
    shape = (panel.y.shape[1], panel.manifest.horizon)
    return np.concatenate([np.full((0, *shape), np.nan), *(off[None] for off in found)])


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
