"""The epochs of one cutoff: windows, loss, early stop; pure torch, no Spark.

All that is random is seeded by cutoff, epoch and rank, so that an epoch can be repeated alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stspark.models.deep.network import pinball
from stspark.models.deep.registry import Ensemble
from stspark.models.deep.windows import Inputs
from stspark.training.plan import TrainingConfig
from stspark.training.rank import Rank
from stspark.training.state import Keeper, Progress

CLIP = 1.0
WARM_UP = 0.1

Say = Callable[[int, float, int], None]
"""Told after each epoch: its number from 1, its loss, its samples (origin days × regions)."""


@dataclass
class Origins:
    """Days that windows of `width` origins are cut from: first … last, both included."""

    first: int
    last: int
    window: int

    @property
    def width(self) -> int:
        """Origins in a window."""
        return min(self.window, self.last - self.first + 1)

    def starts(self, shift: int = 0) -> Any:
        """First days of windows that cover all origins, cut `shift` days earlier; the ends overlap."""
        starts = np.arange(self.first - shift, self.last + 1, self.width)
        return starts.clip(self.first, self.last - self.width + 1)


@dataclass
class Batches:
    """This rank's share of an epoch: [steps, B] first days of windows of `width` origins; a seed for the rest."""

    mine: Any
    width: int
    seed: int


@dataclass(frozen=True)
class Stage:
    """A stretch of training with one schedule: peak learning rate, most epochs, whether the last days are held out."""

    rate: float
    epochs: int
    hold_out: bool = False


@dataclass
class Fit:
    """What one cutoff is trained with; `seeds` name it."""

    inputs: Inputs
    config: TrainingConfig
    rank: Rank
    seeds: tuple[int, int]

    def run(self, network: Ensemble, stage: Stage, keeper: Keeper, say: Say) -> Progress:
        """Train `network` in place for the stage's epochs, or until held-out days no longer gain from it."""
        train, held = self._split(stage.hold_out)
        steps = stage.epochs * len(self._batches(0, train).mine)
        optimiser, schedule = rising_and_falling(network, stage.rate, self.config.weight_decay, steps)
        progress = keeper.restore(network, optimiser, schedule)
        model = self._prepared(network)
        while progress.epoch < stage.epochs and not self._tired(progress):
            progress.loss = self._epoch(model, network, self._batches(progress.epoch, train), (optimiser, schedule))
            progress.epoch += 1
            if held is not None:
                progress.note(self._validate(network, held), network)
            say(progress.epoch, progress.loss, (train.last - train.first + 1) * self.inputs.a.shape[1])
            keeper.save(progress, network, optimiser, schedule)
        if progress.best_weights:
            network.load_state_dict(progress.best_weights)
        return progress

    def _prepared(self, network: Ensemble) -> nn.Module:
        """What the steps run. Members are compiled one by one: they are alike, so the first one's code serves all."""
        compiled = self.rank.device.type == "cuda" and self.config.compile
        members: Any = [torch.compile(member) for member in network.members] if compiled else None
        model: nn.Module = Ensemble(members) if compiled else network
        return DistributedDataParallel(model, process_group=self.rank.gradients) if self.rank.world > 1 else model

    def _tired(self, progress: Progress) -> bool:
        return bool(progress.best_weights) and progress.epoch - progress.best_epoch >= self.config.patience

    def _epoch(self, model: nn.Module, network: Ensemble, batches: Batches, by: tuple[Any, Any]) -> float:
        """One pass over `batches`; return the mean loss over all ranks."""
        optimiser, schedule = by
        model.train()
        torch.manual_seed(batches.seed)  # dropout
        members = network.members
        total = torch.zeros((), dtype=torch.float64, device=self.rank.device)  # read once: a GPU need not wait
        for starts in batches.mine:
            predicted, residual, mask = self._predict(model, network.context, starts, batches.width)
            value = pinball(residual, mask, predicted, network.shape.levels)
            optimiser.zero_grad()
            own = len(members) * value  # each member learns as if it were alone
            own.backward()  # type: ignore[no-untyped-call]
            for member in members:
                nn.utils.clip_grad_norm_(member.parameters(), CLIP)
            optimiser.step()
            schedule.step()
            total += value.detach()
        return self.rank.average(float(total) / len(batches.mine))

    def _predict(self, model: nn.Module, context: int, starts: Any, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of windows of `width` origins: forecasts [S, B, T, H, R, Q], what came and its mask [B, T, H, R]."""
        windows = [self.inputs.window(int(s), width, context) for s in starts]
        past, known, base = (torch.stack(parts) for parts in zip(*windows, strict=True))
        pairs = [self.inputs.targets(int(s), width) for s in starts]
        residual, mask = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        with self._precision():
            predicted: Tensor = model(past, known, base)
        return predicted.float(), residual, mask

    def _precision(self) -> AbstractContextManager[Any]:
        if self.rank.device.type == "cuda" and self.config.precision == "bf16":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def _validate(self, network: Ensemble, held: Origins) -> float:
        """Mean loss of the ensemble's average forecast on held-out origins, over all ranks."""
        network.eval()
        starts = held.starts()
        mine = np.resize(starts, -(-len(starts) // self.rank.world) * self.rank.world)[
            self.rank.index :: self.rank.world
        ]
        with torch.no_grad():
            predicted, residual, mask = self._predict(network, network.context, mine, held.width)
            loss = pinball(residual, mask, predicted.mean(0), network.shape.levels)
        return self.rank.average(float(loss))

    def _span(self) -> Origins:
        """All origins: after a season where there is more, and a horizon before the cutoff."""
        last = self.inputs.days - 1 - self.inputs.horizon
        if last < 0:
            raise ValueError(f"{self.inputs.days} days before the first cutoff, the horizon needs more")
        return Origins(min(self.inputs.period, last), last, self.config.window)

    def _split(self, hold_out: bool) -> tuple[Origins, Origins | None]:
        """Origins to train on, and the later ones held out: none of the former's target days is one of theirs."""
        span = self._span()
        last = span.last - self.config.validation - self.inputs.horizon + 1
        too_short = last - span.first < 3 * self.config.validation
        if not hold_out or too_short:
            return span, None
        held = Origins(span.last - self.config.validation + 1, span.last, span.window)
        return Origins(span.first, last, span.window), held

    def _batches(self, epoch: int, origins: Origins) -> Batches:
        """All origins in random order, newly cut each epoch."""
        order = np.random.default_rng([*self.seeds, epoch])
        starts = origins.starts(int(order.integers(origins.width)))
        size = -(-self.config.batch // self.rank.world) * self.rank.world
        steps = -(-len(starts) // size)
        windows = np.resize(order.permutation(starts), (steps, size))
        seed = np.random.SeedSequence([*self.seeds, self.rank.index, epoch]).generate_state(1)[0]
        return Batches(windows[:, self.rank.index :: self.rank.world], origins.width, int(seed))


def rising_and_falling(network: nn.Module, rate: float, decay: float, steps: int) -> tuple[Any, Any]:
    """AdamW (Loshchilov & Hutter 2019), one kernel for all weights on a GPU, and its schedule over `steps` steps."""
    fused = next(network.parameters()).device.type == "cuda" or None
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=fused)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: share_of_rate(step, steps))


def share_of_rate(step: int, total: int) -> float:
    """Learning rate over its peak: a short rise, then half a cosine down to 0."""
    warm = max(1, int(WARM_UP * total))
    done = min(1.0, (step - warm) / max(1, total - warm))
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * done))
