"""From a snapshot as known on a cutoff to the tensors that the network sees; numpy and torch, no Spark.

Every number here is a function of the day it stands at and of earlier days, except the calendar and the
known-future covariates of target days. Shapes: T days, H horizon, R regions, C channels, F target features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stspark.models.deep.seasons_ahead import Solved, expected
from stspark.snapshot import Bools, Floats, Snapshot

Base = Literal["shared_seasons", "seasonal_mean"]
BASE_SEASONS = 4
LEVEL_DAYS = 28
YEAR_DAYS = 365.25
LIMIT = 8.0
"""Inputs and training targets further out than this many spreads are cut off; forecasts are not."""
USUAL = math.asinh(1.0)
"""a of a region's usual (median) day."""
FEWEST_CHANGES = 14
SMALLEST_SPREAD = 0.02


@dataclass(frozen=True)
class Scaler:
    """How a region's demand becomes a number of ordinary size; made from days up to the cutoff only.

    a = arcsinh(y / scale) acts like a logarithm for large demand, like a straight line near 0, and takes
    negative demand (returns). The network predicts (a - base) / spread. scale, spread: [R];
    shift, width: [K] of the covariates; floor: no region ever went below zero; base: what shared seasons expect, or the
    mean of the last same weekdays (also where seasons know too little).
    """

    scale: Floats
    spread: Floats
    shift: Floats
    width: Floats
    floor: bool
    base: Base = "seasonal_mean"

    def forward(self, y: Floats) -> Floats:
        """y: [..., R] in the target's unit -> a: [..., R]."""
        return np.asarray(np.arcsinh(y / self.scale))

    def backward(self, a: Floats) -> Floats:
        """a: [..., R] -> y: [..., R], not below zero where the past never was."""
        y = np.sinh(a) * self.scale
        return np.maximum(y, 0.0) if self.floor else y

    def of(self, regions: slice | list[int]) -> Scaler:
        """Return the scaler of some of the regions."""
        return replace(self, scale=self.scale[regions], spread=self.spread[regions])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able parameters; JSON keeps every bit of a float64."""
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Scaler:
        """Read what `to_dict` returned."""
        arrays = {name: np.array(raw[name], dtype=np.float64) for name in ("scale", "spread", "shift", "width")}
        return cls(**arrays, floor=bool(raw["floor"]), base=raw.get("base", "seasonal_mean"))


@dataclass(frozen=True)
class Inputs:
    """One cutoff's panel: T days of past, T + H days of calendar.

    past: [C, T, R] channels of each day; level: [T, R] mean of the last weeks in a-space;
    season: [M, T + H, R] mean of the same weekday over the 4 seasons that end m = 1..M seasons earlier
    (NaN where none was seen); ahead: [W + 1, G, H, R] what shared seasons expect of coming days, in a-space (NaN:
    nothing), and served: [T, 2] which of them serves an origin and how old it is then; known: [T + H, R, F] calendar
    and covariates; a: [T, R]; seen, alive: [T, R]; spread: [R].
    """

    past: Tensor
    level: Tensor
    season: Tensor
    ahead: Tensor
    served: Tensor
    known: Tensor
    a: Tensor
    seen: Tensor
    alive: Tensor
    spread: Tensor
    period: int
    horizon: int

    @property
    def days(self) -> int:
        """T."""
        return int(self.a.shape[0])

    def to(self, device: torch.device) -> Inputs:
        """Return the same tensors on a device."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return Inputs(**values)

    def base(self, first: int, count: int) -> Tensor:
        """[count, H, R] base of every target day, seen from `count` origins that start at `first`."""
        steps = torch.arange(self.horizon, device=self.a.device)
        target = torch.arange(first, first + count, device=self.a.device)[:, None] + 1 + steps[None, :]
        found = self.season[(steps // self.period)[None, :], target]
        found = torch.where(torch.isnan(found), self.level[first : first + count, None, :], found)
        which, age = self.served[first : first + count].T
        better = self.ahead[which, age]
        return torch.where(torch.isnan(better), found, better)

    def window(self, first: int, count: int, context: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the network takes for `count` origins that start at day `first`.

        past: [C, context + count, R], 0 before day 0; known: [count + H - 1, R, F];
        base: [count, H, R] over the origin's level, in spreads.
        """
        start, end = first - context, first + count
        past = functional.pad(self.past[:, max(start, 0) : end], (0, 0, max(-start, 0), 0))
        base = (self.base(first, count) - self.level[first:end, None, :]) / self.spread
        return past, self.known[first + 1 : end + self.horizon], base

    def targets(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Return (residual, mask), both [count, H, R], of origins whose target days lie in the past."""
        ahead = torch.arange(1, self.horizon + 1, device=self.a.device)
        day = torch.arange(first, first + count, device=self.a.device)[:, None] + ahead[None, :]
        residual = (self.a[day] - self.base(first, count)) / self.spread
        mask = self.seen[day] & self.alive[first : first + count, None, :]
        return residual.clamp(-LIMIT, LIMIT), mask.float()


def fit_scaler(snapshot: Snapshot, base: Base = "seasonal_mean") -> Scaler:
    """Estimate the scaler from all days of `snapshot` (cut it with `known_on` first)."""
    regions = snapshot.y.shape[1]
    scale, spread = np.ones(regions), np.ones(regions)
    for r in range(regions):
        seen = snapshot.observed[:, r]
        size = np.abs(snapshot.y[seen & (snapshot.y[:, r] != 0.0), r])
        scale[r] = np.median(size) if len(size) else 1.0
        spread[r] = _spread(np.arcsinh(snapshot.y[:, r] / scale[r]), seen, snapshot.manifest.season)
    covariates = np.ma.masked_invalid(snapshot.covariates[: len(snapshot.y)])
    shift = covariates.mean(axis=(0, 1)).filled(0.0)
    width = covariates.std(axis=(0, 1)).filled(0.0)
    floor = not bool((snapshot.y[snapshot.observed] < 0.0).any())
    return Scaler(scale, spread, shift, usable_width(width), floor, base)


def usable_width(width: Floats) -> Floats:
    """Standard deviations to divide by: 1 where nothing varies."""
    return np.where(width > 1e-9, width, 1.0)


def _spread(a: Floats, seen: Bools, season: int) -> float:
    """Size of the change from season to season, which is what the network must explain: a: [T]."""
    both = seen[season:] & seen[:-season]
    change = (a[season:] - a[:-season])[both]
    if len(change) >= FEWEST_CHANGES:
        return max(float(np.std(change)), SMALLEST_SPREAD)
    return max(float(np.std(a[seen])), SMALLEST_SPREAD) if seen.sum() > 1 else 1.0


def taught(snapshot: Snapshot) -> Bools:
    """[R] whether any target day of an origin was seen: the region can teach a network something."""
    return np.asarray((snapshot.observed[1:] & snapshot.alive[1:] & snapshot.alive[:-1]).any(axis=0))


def make_inputs(snapshot: Snapshot, scaler: Scaler, since: int = 0, solved: Solved | None = None) -> Inputs:
    """Return the tensors of a snapshot that is already cut at its cutoff.

    since: the first origin whose base is asked for; solved: seasons of the same regions found before, which grow.
    """
    manifest, days = snapshot.manifest, len(snapshot.y)
    a = scaler.forward(snapshot.y)
    usable = snapshot.observed & snapshot.alive
    level = _level(a, usable, snapshot.alive)
    seasons = -(-manifest.horizon // manifest.season)
    season = np.stack([_seasonal_mean(a, usable, manifest, m) for m in range(1, seasons + 1)])
    seasons_ahead, served = _ahead(snapshot, scaler, since, {} if solved is None else solved)
    known = _known(snapshot, scaler)
    yesterday = np.where(np.isnan(season[0, :days]), level, season[0, :days])
    week = _trailing_mean(a, usable, manifest.season)
    channels = [
        (a - level) / scaler.spread,
        (a - yesterday) / scaler.spread,
        (np.where(np.isnan(week), level, week) - level) / scaler.spread,
        (level - USUAL) / scaler.spread,
        usable.astype(np.float64),
    ]
    past = np.stack([np.where(snapshot.alive, c, 0.0) for c in channels] + [snapshot.alive.astype(np.float64)])
    past = np.concatenate([past, np.moveaxis(known[:days], 2, 0)])
    return Inputs(
        past=_tensor(past).clamp(-LIMIT, LIMIT),
        level=_tensor(level),
        season=_tensor(season),
        ahead=_tensor(seasons_ahead),
        served=torch.from_numpy(served),
        known=_tensor(known),
        a=_tensor(a),
        seen=torch.from_numpy(usable),
        alive=torch.from_numpy(snapshot.alive),
        spread=_tensor(scaler.spread),
        period=manifest.season,
        horizon=manifest.horizon,
    )


def calendar_of(first: date, days: int, waves: bool = True) -> Floats:
    """[days, 11]: weekday (7), two waves of the year (4), 0 without `waves`."""
    dates = np.datetime64(first, "D") + np.arange(days)
    weekday = np.eye(7)[(dates.astype(np.int64) + 3) % 7]
    phase = 2 * np.pi * (dates - dates.astype("datetime64[Y]")).astype(np.int64) / YEAR_DAYS
    both = np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase), np.cos(2 * phase)], axis=1)
    return np.asarray(np.concatenate([weekday, both * float(waves)], axis=1))


def known_width(covariates: int) -> int:
    """F: features of a target day."""
    return 7 + 4 + covariates


def past_width(covariates: int) -> int:
    """C: channels of a past day."""
    return 6 + known_width(covariates)


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _trailing_mean(a: Floats, usable: Bools, days: int) -> Floats:
    """[T, R] mean of the usable values of the last `days` days, NaN where there is none."""
    total = np.cumsum(np.where(usable, a, 0.0), axis=0)
    count = np.cumsum(usable, axis=0).astype(np.float64)
    for sums in (total, count):
        sums[days:] = sums[days:] - sums[:-days].copy()
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1.0), np.nan))


def _level(a: Floats, usable: Bools, alive: Bools) -> Floats:
    """[T, R] mean of the last weeks, else the last such mean, else the day's own (filled) value."""
    level = _trailing_mean(a, usable, LEVEL_DAYS)
    for t in range(1, len(level)):
        level[t] = np.where(np.isnan(level[t]) & alive[t], level[t - 1], level[t])
    return np.asarray(np.where(np.isnan(level), np.where(alive, a, 0.0), level))


def _seasonal_mean(a: Floats, usable: Bools, manifest: Any, first: int) -> Floats:
    """[T + H, R] mean over the usable days that lie first .. first + 3 seasons earlier, NaN where none."""
    days, regions = a.shape
    span = days + manifest.horizon
    total, count = np.zeros((span, regions)), np.zeros((span, regions))
    for m in range(first, first + BASE_SEASONS):
        shift = m * manifest.season
        length = min(days, span - shift)
        if length > 0:
            total[shift : shift + length] += np.where(usable, a, 0.0)[:length]
            count[shift : shift + length] += usable[:length]
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1.0), np.nan))


def _ahead(snapshot: Snapshot, scaler: Scaler, since: int, solved: Solved) -> tuple[Floats, NDArray[np.int64]]:
    """`expected` in a-space; what a region's days never came near is drawn to a spread from the furthest of them."""
    days, regions = snapshot.y.shape
    if scaler.base == "seasonal_mean":
        return np.full((1, 1, snapshot.manifest.horizon, regions), np.nan), np.zeros((days, 2), dtype=np.int64)
    found, served = expected(snapshot, since, solved)
    seen = np.where(snapshot.observed & snapshot.alive, scaler.forward(snapshot.y), np.nan)
    lowest, highest = np.fmin.accumulate(seen), np.fmax.accumulate(seen)
    made = scaler.forward(found)
    for which in range(1, len(found)):
        day = int(np.flatnonzero(served[:, 0] == which)[0])  # it was made on
        made[which] = made[which].clip(lowest[day] - scaler.spread, highest[day] + scaler.spread)
    return made, served


def _known(snapshot: Snapshot, scaler: Scaler) -> Floats:
    """[T + H, R, F]: weekday (7), two waves of the year (4), standardised covariates (K).

    The waves stay 0 until a full year was seen: before that they could only be extrapolated. Above shared seasons,
    which know the year, they would only teach last year's errors.
    """
    manifest, days = snapshot.manifest, len(snapshot.y)
    span, regions = days + manifest.horizon, snapshot.y.shape[1]
    waves = scaler.base == "seasonal_mean" and days > YEAR_DAYS
    calendar = calendar_of(manifest.first_date, span, waves)
    covariates = np.full((span, regions, len(manifest.covariates)), np.nan)
    covariates[: len(snapshot.covariates)] = snapshot.covariates[:span]
    scaled = np.clip(np.nan_to_num((covariates - scaler.shift) / scaler.width), -LIMIT, LIMIT)
    spread_out: NDArray[np.float64] = np.broadcast_to(calendar[:, None, :], (span, regions, calendar.shape[1]))
    return np.concatenate([spread_out, scaled], axis=2)
