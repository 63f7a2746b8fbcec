"""Pretraining's tasks made where the GPU is: what models.deep.pretraining.make_task does, on a corpus in its memory.

Shapes: T days, R series of the corpus, N chosen ones, L weeks.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stspark.models.deep.pretraining import Choice, Corpus, Task
from stspark.models.deep.transformer import WEEK
from stspark.models.deep.windows import BASE_SEASONS, LEVEL_DAYS, LIMIT, USUAL, YEAR_DAYS, calendar_of


class Shelf:
    """A corpus on a device. a: [T, R] scaled demand; usable, alive: [T, R]; spread: [R]; calendar: [T, 11]."""

    def __init__(self, corpus: Corpus, device: torch.device) -> None:
        snapshot, manifest = corpus.snapshot, corpus.snapshot.manifest
        self.device, self.season = device, manifest.season
        self.a = torch.from_numpy(corpus.scaler.forward(snapshot.y)).to(device)
        self.alive = torch.from_numpy(snapshot.alive).to(device)
        self.usable = torch.from_numpy(snapshot.observed).to(device) & self.alive
        self.spread = torch.from_numpy(corpus.scaler.spread).to(device)
        self.calendar = torch.from_numpy(calendar_of(manifest.first_date, len(snapshot.y))).to(device)

    def task(self, choice: Choice) -> Task:
        """The same as make_task's, to rounding."""
        columns, weeks, end = self._send(choice.columns), len(choice.weeks), choice.end
        truth, usable, alive = (x[:end].index_select(1, columns) for x in (self.a, self.usable, self.alive))
        hidden = self._send(choice.weeks).repeat_interleave(WEEK, dim=0, output_size=WEEK * weeks)
        hidden = functional.pad(hidden[-end:], (0, 0, max(end - WEEK * weeks, 0), 0))
        seen, a, spread = usable & ~hidden, truth.where(~hidden, 0.0), self.spread[columns]
        level = _level(a, seen, alive)
        yesterday, week = _seasonal_mean(a, seen, self.season), _trailing_mean(a, seen, self.season)
        above = [a - level, a - yesterday.where(~yesterday.isnan(), level)]
        above += [week.where(~week.isnan(), level) - level, level - USUAL]
        own = torch.stack([part / spread for part in above] + [seen.double()]).where(alive, 0.0)
        dates = self.calendar[:end].clone()
        dates[:, WEEK:] *= float(end > YEAR_DAYS)
        known = dates.T[:, :, None].expand(-1, -1, len(choice.columns))
        past = torch.cat([own, alive.double()[None], known]).float().clamp(-LIMIT, LIMIT)
        answer = ((truth - level) / spread).float().clamp(-LIMIT, LIMIT)
        asked = (hidden & usable).float()
        return Task(_last(past, weeks)[None], _weekly(answer, weeks), _weekly(asked, weeks), choice.causal)

    def _send(self, values: NDArray[Any]) -> Tensor:
        """To the device, from memory that it can fetch it from while the host goes on."""
        tensor = torch.from_numpy(values)
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor


def _last(days: Tensor, weeks: int) -> Tensor:
    """[..., T, N] -> [..., 7 L, N], 0 before the first day."""
    kept = days[..., -WEEK * weeks :, :]
    return functional.pad(kept, (0, 0, WEEK * weeks - kept.shape[-2], 0))


def _weekly(days: Tensor, weeks: int) -> Tensor:
    """[T, N] -> [N, L, 7]."""
    return _last(days, weeks).T.reshape(-1, weeks, WEEK)


def _mean(total: Tensor, count: Tensor) -> Tensor:
    """NaN where there is nothing."""
    return (total / count.clamp_min(1.0)).where(count > 0, torch.nan)


def _trailing_mean(a: Tensor, seen: Tensor, days: int) -> Tensor:
    """[T, N] mean of the seen values of the last `days` days."""
    sums = torch.stack([a.where(seen, 0.0), seen.double()]).cumsum(1)
    sums[:, days:] -= sums[:, :-days].clone()
    return _mean(sums[0], sums[1])


def _level(a: Tensor, seen: Tensor, alive: Tensor) -> Tensor:
    """[T, N] mean of the last weeks, else the last such mean since the series began, else the day's own value."""
    mean = _trailing_mean(a, seen, LEVEL_DAYS)
    day = torch.arange(len(a), device=a.device)[:, None]
    last = day.where(~mean.isnan(), -1).cummax(0).values
    gap = day.where(~alive, -1).cummax(0).values
    carried = mean.gather(0, last.clamp_min(0)).where((last >= 0) & ((gap < last) | (last == day)), torch.nan)
    return carried.where(~carried.isnan(), a.where(alive, 0.0))


def _seasonal_mean(a: Tensor, seen: Tensor, season: int) -> Tensor:
    """[T, N] mean over the seen days one to four seasons earlier."""
    values = torch.stack([a.where(seen, 0.0), seen.double()])
    sums = torch.zeros_like(values)
    for shift in range(season, (BASE_SEASONS + 1) * season, season):
        sums[:, shift:] += values[:, : max(values.shape[1] - shift, 0)]
    return _mean(sums[0], sums[1])
