"""What all global networks share: their sizes, their contract, the state equation at their end; torch, no Spark.

A network is an encoder, one file each, that makes features h of every region's past at every origin, and the
readout here. Shapes: B batch, T origins, X days of context before the first origin, H horizons, R regions,
P channels of a past day, F features of a coming day, C channels, E embedding, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """What a network must fit: regions R, past P, known F (the first `calendar` of them are the same everywhere),
    horizon H, levels of its Q quantiles (0.5 among them)."""

    regions: int
    past: int
    known: int
    horizon: int
    levels: tuple[float, ...]
    calendar: int = 0


class Network(nn.Module):
    """Forecasts all regions and horizons from many origins at once.

    forward(past, known, base) -> [B, T, H, R, Q], not decreasing along Q: spreads above the base.
    past: [B, P, X + T, R]; known: [B, T + H - 1, R, F], the days after the first origin; base: [B, T, H, R],
    what the forecast is added to over the origin's level, in spreads. An origin's numbers depend on the `context` days
    before it, on itself and on the known days of its horizon (recurrent ones: on all days given before it).
    """

    def __init__(self, shape: Shape, context: int) -> None:
        super().__init__()
        self.shape, self.context = shape, context

    def look_at(self, place: Tensor | None, weights: Tensor) -> None:
        """From now on the regions are those at `place` [r] (None: all), with these neighbours' weights [r, r]."""
        for module in self.modules():
            if isinstance(module, PerRegion):
                module.place = place


class PerRegion(nn.Module):
    """One row of learned numbers for each region, [R, width]; those at `place` [r] when only these are looked at."""

    place: Tensor | None = None

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(start)

    def forward(self) -> Tensor:
        """Return [r, width]."""
        return self.rows if self.place is None else self.rows.index_select(0, self.place)


def by_region(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters whose first axis counts regions, by their names in `module`."""
    rows = {id(inner.rows) for inner in module.modules() if isinstance(inner, PerRegion)}
    return {name: parameter for name, parameter in module.named_parameters() if id(parameter) in rows}


def region_embedding(regions: int, width: int) -> PerRegion:
    """Small random rows, [R, E] (STID, Shao et al. 2022, https://arxiv.org/abs/2208.05233)."""
    return PerRegion(0.1 * torch.randn(regions, width))


class Readout(nn.Module):
    """State equation s = σ(W [h; x; e; base] + b), and the quantiles of s.

    h: features of the past at the origin, x: the target day's calendar and covariates, e: the region's embedding.
    σ is ReLU and the readout of s is linear, on the residual over the base: nothing bounds demand from
    above, nor from below where returns exceed sales (a sigmoid or tanh would).
    """

    def __init__(self, shape: Shape, channels: int, embedding: int, covariates: bool = True) -> None:
        super().__init__()
        self.shape, self.covariates = shape, covariates
        self.past = nn.Linear(channels, shape.horizon * channels)
        self.ahead = nn.Linear((shape.known if covariates else shape.calendar) + embedding, channels, bias=False)
        self.base = nn.Parameter(torch.zeros(channels))
        self.readout = nn.Linear(channels, len(shape.levels))
        self._start_near_the_base()

    def _start_near_the_base(self) -> None:
        """The untrained network forecasts the base, with quantiles a small step apart."""
        nn.init.normal_(self.readout.weight, std=0.02)
        nn.init.constant_(self.readout.bias, -1.5)
        with torch.no_grad():
            self.readout.bias[self.shape.levels.index(0.5)] = 0.0

    def forward(self, h: Tensor, known: Tensor, base: Tensor, where: Tensor) -> Tensor:
        """h: [B, T, R, C], known: [B, T + H - 1, R, F], base: [B, T, H, R], where: [R, E] -> [B, T, H, R, Q]."""
        held = self.past(h).unflatten(3, (self.shape.horizon, -1)).transpose(2, 3)  # [B, T, H, R, C]
        seen = known if self.covariates else known[..., : self.shape.calendar]
        day = torch.cat([seen, where.expand(*seen.shape[:2], -1, -1)], dim=3)
        ahead = self.ahead(day).unfold(1, self.shape.horizon, 1).permute(0, 1, 4, 2, 3)  # [B, T, H, R, C]
        state = functional.relu(held + ahead + base[..., None] * self.base)
        return in_order(self.readout(state), self.shape.levels.index(0.5))


def in_order(raw: Tensor, middle: int) -> Tensor:  # [..., Q]
    """The median stands as it is; the others lie a positive step outside their inner neighbour."""
    median, steps = raw[..., middle : middle + 1], functional.softplus(raw)
    below = median - steps[..., :middle].flip(-1).cumsum(-1).flip(-1)
    above = median + steps[..., middle + 1 :].cumsum(-1)
    return torch.cat([below, median, above], dim=-1)


def quantile_levels(quantiles: Sequence[float]) -> tuple[float, ...]:
    """The quantiles that the network learns: those asked for and the median."""
    return tuple(sorted({*quantiles, 0.5}))


def pinball(residual: Tensor, mask: Tensor, predicted: Tensor, levels: Sequence[float]) -> Tensor:
    """Mean pinball loss (Koenker & Bassett 1978) over the days that were really observed.

    residual, mask: [B, T, H, R]; predicted: [..., B, T, H, R, Q]. Divides by the number of all days, so that equal
    shares of a batch average to the loss of the batch.
    """
    level = _on_device(tuple(levels), predicted.dtype, predicted.device)
    error = residual[..., None] - predicted
    loss = torch.maximum(level * error, (level - 1) * error).mean(-1)
    return (loss * mask).sum() / loss.numel()


@lru_cache(maxsize=8)
def _on_device(levels: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """[Q], sent once: a GPU would have to finish all its work before every sending."""
    return torch.tensor(levels, dtype=dtype, device=device)
