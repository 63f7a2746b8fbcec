"""The epochs of one cutoff: windows, loss, early stop; pure torch, no Spark.

All that is random is seeded by cutoff, epoch and rank, so that an epoch can be repeated alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stspark.models.deep.network import by_region, pinball
from stspark.models.deep.registry import Ensemble
from stspark.models.deep.windows import Inputs
from stspark.training.parts import Panel, Share
from stspark.training.plan import TrainingConfig
from stspark.training.rank import Rank
from stspark.training.state import Keeper, Progress

CLIP = 1.0
WARM_UP = 0.1
PARTS_HELD = 4
"""Parts of the regions whose held-out days are looked at after every epoch, about: each must be read for it."""

Say = Callable[[int, int, float, int], None]
"""Told after each epoch: its number from 1, the most there are, its loss, its samples (origin days × regions)."""


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
    """This rank's share of an epoch: [steps, B] first days of windows of `width` origins, for each row of `parts`,
    which are looked at together; a seed for the rest."""

    mine: Any
    width: int
    seed: int
    parts: Any = ((0,),)

    @property
    def steps(self) -> int:
        """Of the optimiser."""
        return len(self.mine) * len(self.parts)


@dataclass(frozen=True)
class Stage:
    """A stretch of training with one schedule: peak learning rate, most epochs, whether the last days are held out.

    gained: what `Progress` is to remember of an earlier stage.
    """

    rate: float
    epochs: int
    hold_out: bool = False
    gained: int = 0


@dataclass
class Fit:
    """What one cutoff is trained with; `seeds` name it."""

    panel: Panel
    config: TrainingConfig
    rank: Rank
    seeds: tuple[int, int]

    def run(self, network: Ensemble, stage: Stage, keeper: Keeper, say: Say) -> Progress:
        """Train `network` in place for the stage's epochs, or until held-out days no longer gain from it."""
        train, held = self._split(stage.hold_out)
        steps = sum(self._batches(epoch, train).steps for epoch in range(stage.epochs))  # they differ by the cut
        optimiser, schedule = rising_and_falling(network, stage.rate, self.config.weight_decay, steps)
        progress = keeper.restore(network, optimiser, schedule)
        progress.gained = progress.gained or stage.gained
        model = self._prepared(network)
        while progress.epoch < stage.epochs and not (held and progress.epoch - progress.gained >= self.config.patience):
            progress.loss = self._epoch(model, network, self._batches(progress.epoch, train), (optimiser, schedule))
            progress.epoch += 1
            if held is not None:
                progress.note(self._validate(network, held))
            say(progress.epoch, stage.epochs, progress.loss, (train.last - train.first + 1) * self.panel.size)
            keeper.save(progress, network, optimiser, schedule)
        return progress

    def _prepared(self, network: Ensemble) -> nn.Module:
        """What the steps run. Members are compiled one by one: they are alike, so the first one's code serves all."""
        compiled = self.rank.device.type == "cuda" and self.config.compile
        members: Any = [torch.compile(member) for member in network.members] if compiled else None
        model: nn.Module = Ensemble(members) if compiled else network
        if self.rank.world == 1:
            return model
        # The neighbours' weights belong to the part that a rank looks at: they are not to be made equal.
        own = [name for name, _ in model.named_buffers()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, own)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(model, process_group=self.rank.gradients)

    def _epoch(self, model: nn.Module, network: Ensemble, batches: Batches, by: tuple[Any, Any]) -> float:
        """One pass over `batches`; return the mean loss over all ranks."""
        model.train()
        torch.manual_seed(batches.seed)  # dropout
        total = torch.zeros((), dtype=torch.float64, device=self.rank.device)  # read once: a GPU need not wait
        for together in batches.parts:
            total += self._look(model, network, (batches, together), by)
        return self.rank.average(float(total) / batches.steps)

    def _look(self, model: nn.Module, network: Ensemble, what: tuple[Batches, Any], by: tuple[Any, Any]) -> Tensor:
        """The windows of this rank's part among those that the ranks look at together; return the sum of the losses."""
        (batches, together), (optimiser, schedule) = what, by
        share = self._turn(network, together)
        members, total = network.members, torch.zeros((), dtype=torch.float64, device=self.rank.device)
        unseen = self.panel.unseen(together)
        for starts in batches.mine:
            given = share.inputs, starts, batches.width
            predicted, residual, mask = self._predict(model, given, network.context)
            value = pinball(residual, mask, predicted, network.shape.levels)
            optimiser.zero_grad()
            own = len(members) * value  # each member learns as if it were alone
            own.backward()  # type: ignore[no-untyped-call]
            for member in members:
                nn.utils.clip_grad_norm_(member.parameters(), CLIP)
            with untouched(network, optimiser, unseen):
                optimiser.step()
            schedule.step()
            total += value.detach()
        return total

    def _turn(self, network: Ensemble, together: Any) -> Share:
        """This rank's part of those that are looked at together, which the network looks at from now on."""
        share = self.panel.share(self._mine(together))
        network.look_at(share.place, share.weights)
        return share

    def _predict(self, model: nn.Module, given: tuple[Inputs, Any, int], context: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of windows of origins, (inputs, first days, width): forecasts [S, B, T, H, R, Q], what came and its mask
        [B, T, H, R]."""
        inputs, starts, width = given
        windows = [inputs.window(int(s), width, context) for s in starts]
        past, known, base = (torch.stack(parts) for parts in zip(*windows, strict=True))
        pairs = [inputs.targets(int(s), width) for s in starts]
        residual, mask = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        with self._precision():
            predicted: Tensor = model(past, known, base)
        return predicted.float(), residual, mask

    def _precision(self) -> AbstractContextManager[Any]:
        if self.rank.device.type == "cuda" and self.config.precision == "bf16":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def _validate(self, network: Ensemble, held: Origins) -> float:
        """Mean loss of the ensemble's average forecast on held-out origins, over all ranks; of a few parts of many.

        NaN where no day was observed: all epochs gain alike.
        """
        network.eval()
        starts, (index, ranks) = held.starts(), self._sharing
        mine = np.resize(starts, -(-len(starts) // ranks) * ranks)[index::ranks]
        losses, seen = [], 0.0
        looked_at = np.arange(0, self.panel.parts, -(-self.panel.parts // max(PARTS_HELD, self.rank.world)))
        for together in self._together(looked_at):
            share = self._turn(network, together)
            with torch.no_grad():
                predicted, residual, mask = self._predict(network, (share.inputs, mine, held.width), network.context)
                losses.append(float(pinball(residual, mask, predicted.mean(0), network.shape.levels)))
                seen += float(mask.sum())
            del share  # before the next part is read
        loss, seen = (self.rank.average(value) for value in (sum(losses) / len(losses), seen))
        return loss if seen else math.nan

    @property
    def _own_parts(self) -> bool:
        """Whether each rank takes parts of the regions to itself; else the ranks share the windows of every part."""
        return self.panel.parts > 1 and self.panel.parts >= self.rank.world

    @property
    def _sharing(self) -> tuple[int, int]:
        """This rank, and how many share the windows."""
        return (0, 1) if self._own_parts else (self.rank.index, self.rank.world)

    def _together(self, order: Any) -> Any:
        """[rounds, ranks or 1]: parts that are looked at together; the last round takes the first ones again."""
        ranks = self.rank.world if self._own_parts else 1
        return np.resize(order, (-(-len(order) // ranks), ranks))

    def _mine(self, together: Any) -> int:
        """This rank's part of those that are looked at together."""
        return int(together[self.rank.index if self._own_parts else 0])

    def _span(self) -> Origins:
        """All origins: after a season where there is more, and a horizon before the cutoff."""
        last = self.panel.days - 1 - self.panel.horizon
        if last < 0:
            raise ValueError(f"{self.panel.days} days before the first cutoff, the horizon needs more")
        return Origins(min(self.panel.period, last), last, self.config.window)

    def _split(self, hold_out: bool) -> tuple[Origins, Origins | None]:
        """Origins to train on, and the later ones held out: none of the former's target days is one of theirs."""
        span = self._span()
        last = span.last - self.config.validation - self.panel.horizon + 1
        too_short = last - span.first < 3 * self.config.validation
        if not hold_out or too_short:
            return span, None
        held = Origins(span.last - self.config.validation + 1, span.last, span.window)
        return Origins(span.first, last, span.window), held

    def _batches(self, epoch: int, origins: Origins) -> Batches:
        """All origins in random order, newly cut each epoch; the parts of the regions in random order."""
        index, ranks = self._sharing
        order = np.random.default_rng([*self.seeds, epoch])
        starts = origins.starts(int(order.integers(origins.width)))
        size = -(-self.config.batch // self.rank.world) * ranks
        steps = -(-len(starts) // size)
        windows = np.resize(order.permutation(starts), (steps, size))
        seed = np.random.SeedSequence([*self.seeds, self.rank.index, epoch]).generate_state(1)[0]
        parts = self._together(order.permutation(self.panel.parts))
        return Batches(windows[:, index::ranks], origins.width, int(seed), parts)


@contextmanager
def untouched(network: Ensemble, optimiser: torch.optim.Optimizer, unseen: Tensor | None) -> Iterator[None]:
    """A step that leaves the own rows of `unseen` regions as they are, and what the optimiser remembers of them.

    Their gradient is 0, but AdamW would move them on by its memory, and towards 0.
    """
    kept = []
    if unseen is not None:
        for parameter in by_region(network).values():
            memory = optimiser.state[parameter]
            kept += [parameter.data, *(memory[key] for key in ("exp_avg", "exp_avg_sq") if key in memory)]
    before = [values[unseen] for values in kept]
    yield
    for values, rows in zip(kept, before, strict=True):
        values[unseen] = rows


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
