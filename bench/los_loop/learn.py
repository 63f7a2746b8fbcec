"""Train the package's own networks on Los-loop: the shop's contract, with steps for days and squared loss for pinball.

A network sees the 12 steps in and no more: its context is 11 steps. Known ahead are the time of day, whether the day is
a working day, and the profile (see protocol). What is forecast is the change from the speed at the origin. A step's
squared error counts by one over the square of how much speed usually changes by then (in mean squares): else the far
steps, the least certain, would be most of the loss.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.los_loop.protocol import DAY, STEPS_IN, STEPS_OUT, WEEKEND, Floats, Forecaster, Traffic, profile
from stspark.models.deep.network import Network, Shape
from stspark.models.deep.registry import NETWORKS, NetworkConfig

CONTEXT = STEPS_IN - 1
CLIP, WARM_UP = 1.0, 0.15
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Recipe:
    """What is trained and how; windows of `window` origins, `batch` of them a step; ema: of averaged weights."""

    name: str
    network: NetworkConfig
    epochs: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    window: int = 24
    batch: int = 2
    ema: float = 0.99
    profile: bool = True


@dataclass(frozen=True)
class Tensors:
    """past: [P, N, R], known: [N + 12, R, F], speed and usual: [N, R] and [N + 12, R], in units of `unit` mph;
    near: [12] what each step's squared error counts, 1 in the mean."""

    past: Tensor
    known: Tensor
    speed: Tensor
    usual: Tensor | None
    unit: float
    near: Tensor

    def window(self, first: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """What a network takes for `count` origins from `first` on."""
        steps = _steps(first, count)
        last = self.speed[first : first + count, None]
        base = (self.usual[steps] if self.usual is not None else 0.0) - last.expand(-1, STEPS_OUT, -1)
        return self.past[:, first - CONTEXT : first + count], self.known[first + 1 : first + count + STEPS_OUT], base

    def change(self, first: int, count: int) -> Tensor:
        """[count, 12, R] what came after each origin, over the speed there."""
        steps = _steps(first, count)
        return self.speed[steps] - self.speed[first : first + count, None]


def _steps(first: int, count: int) -> Tensor:
    """[count, 12] the steps that follow each origin."""
    return torch.arange(first, first + count)[:, None] + 1 + torch.arange(STEPS_OUT)[None, :]


def make_tensors(traffic: Traffic, end: int, with_profile: bool) -> Tensors:
    """Scale by the steps before `end` only."""
    steps, regions = traffic.speed.shape
    seen = traffic.speed[:end]
    mean, unit = seen.mean(axis=0), float(seen.std())
    own, common = (traffic.speed - mean) / unit, (traffic.speed - seen.mean()) / unit
    clock = np.arange(steps + STEPS_OUT)
    phase = 2 * np.pi * (clock % DAY) / DAY
    weekend = np.isin(clock // DAY, WEEKEND).astype(np.float64)
    waves = np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase), np.cos(2 * phase), weekend], axis=1)
    known = np.repeat(waves[:, None, :], regions, axis=1)
    past = [own, common, *np.moveaxis(known[:steps], 2, 0)]
    usual = (profile(traffic, end) - mean) / unit if with_profile else None
    if usual is not None:
        past.append(own - usual[:steps])
        known = np.concatenate([known, usual[..., None]], axis=2)
    change = [np.mean((own[ahead:end] - own[: end - ahead]) ** 2) for ahead in range(1, STEPS_OUT + 1)]
    near = 1.0 / np.square(change)
    return Tensors(
        _tensor(np.stack(past)),
        _tensor(known),
        _tensor(own),
        None if usual is None else _tensor(usual),
        unit,
        _tensor(near / near.mean()),
    )


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(DEVICE)


def build(recipe: Recipe, traffic: Traffic, tensors: Tensors) -> Network:
    """A network with random weights; ValueError if it would look further back than 12 steps."""
    shape = Shape(traffic.speed.shape[1], len(tensors.past), tensors.known.shape[2], STEPS_OUT, (0.5,), 5)
    network = NETWORKS[recipe.name].build(shape, recipe.network, torch.from_numpy(traffic.weights).float())
    network.to(DEVICE)
    if network.context > CONTEXT:
        raise ValueError(f"{recipe.name} looks {network.context} steps back, the protocol gives {CONTEXT}")
    return network


def train(recipe: Recipe, traffic: Traffic, end: int, seed: int) -> tuple[Network, float]:
    """Train on the windows that lie before step `end`; return the averaged network and the seconds it took."""
    began, tensors = time.monotonic(), make_tensors(traffic, end, recipe.profile)
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    network = build(recipe, traffic, tensors)
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    first, last = CONTEXT, end - 1 - STEPS_OUT
    per_epoch = -(-len(np.arange(first, last - recipe.window + 2, recipe.window)) // recipe.batch)
    total = per_epoch * recipe.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total + 1, pct_start=WARM_UP)
    for step in range(total):
        if step % per_epoch == 0:
            starts = np.arange(first + order.integers(recipe.window), last - recipe.window + 2, recipe.window)
            batches = np.resize(order.permutation(starts), (per_epoch, recipe.batch))
        loss = _loss(network, tensors, batches[step % per_epoch], recipe)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        share = 1.0 - min(recipe.ema, (step + 1) / (step + 11))
        with torch.no_grad():
            for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, share)
    return averaged.eval(), time.monotonic() - began


def _loss(network: Network, tensors: Tensors, starts: Floats, recipe: Recipe) -> Tensor:
    """Mean weighted squared error of a batch; networks whose memory has no end get every origin's 12 steps alone."""
    alone = recipe.name in ("lstm", "gru")
    firsts = [int(s) + k for s in starts for k in range(recipe.window)] if alone else [int(s) for s in starts]
    count = 1 if alone else recipe.window
    past, known, base = (torch.stack(parts) for parts in zip(*(tensors.window(f, count) for f in firsts), strict=True))
    truth = torch.stack([tensors.change(f, count) for f in firsts])
    error: Tensor = network(past, known, base)[..., 0] - truth
    return (error**2 * tensors.near[:, None]).mean()


def forecaster(networks: list[tuple[Network, bool]], traffic: Traffic, end: int) -> Forecaster:
    """The mean forecast of networks (each with whether it uses the profile) that were trained before `end`."""
    tensors = {flag: make_tensors(traffic, end, flag) for flag in {flag for _, flag in networks}}

    def forecast(first: int, count: int) -> Floats:
        changes = []
        for network, flag in networks:
            windows = zip(*(tensors[flag].window(t, 1) for t in range(first, first + count)), strict=True)
            with torch.no_grad():
                out = network(*(torch.stack(parts) for parts in windows))[:, 0, :, :, 0]
            changes.append(out.double().cpu().numpy() * tensors[flag].unit)
        return np.asarray(traffic.speed[first : first + count, None] + np.mean(changes, axis=0))

    return forecast
