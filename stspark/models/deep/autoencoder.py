"""Features of a region's recent weeks, learned by an autoencoder, and groups of regions that are alike; no Spark.

Hinton & Salakhutdinov 2006 (https://doi.org/10.1126/science.1127647): a network squeezes the last eight weeks of a
region into a few numbers and must restore the weeks from them. Regions with near features behave alike, whatever their
size: what goes in is scaled by region and relative to its level. Days that were not observed are neither shown nor
asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stspark.models.deep.windows import Inputs, fit_scaler, make_inputs
from stspark.snapshot import Floats, Snapshot

ROUNDS = 50


@dataclass(frozen=True)
class AutoencoderConfig:
    """days: that are squeezed; features: into so many numbers; hidden: width between; groups: of like regions."""

    days: int = 56
    features: int = 6
    hidden: int = 48
    epochs: int = 60
    learning_rate: float = 3e-3
    groups: int = 4


@dataclass(frozen=True)
class Described:
    """features: [R, K]; group: [R], counted from 0 by falling size; restored: share of the weeks' variance that the
    features keep, NaN where nothing varies. Regions without an observed day there have NaN features and group -1."""

    features: Floats
    group: NDArray[np.int64]
    restored: float


class Autoencoder(nn.Module):
    """[N, 2 D] scaled days and whether each was seen -> [N, K] features -> [N, D] days."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        days, hidden = config.days, config.hidden
        self.encode = nn.Sequential(nn.Linear(2 * days, hidden), nn.ReLU(), nn.Linear(hidden, config.features))
        self.decode = nn.Sequential(nn.Linear(config.features, hidden), nn.ReLU(), nn.Linear(hidden, days))

    def forward(self, weeks: Tensor) -> Tensor:
        days: Tensor = self.decode(self.encode(weeks))
        return days


def describe(snapshot: Snapshot, config: AutoencoderConfig) -> Described:
    """Train on all regions' windows of a snapshot (cut at its cutoff) and describe the last one of each region."""
    torch.manual_seed(snapshot.manifest.seed)
    inputs = make_inputs(snapshot, fit_scaler(snapshot))
    ends = np.arange(inputs.days, config.days - 1, -snapshot.manifest.season)
    if len(ends) == 0:
        raise ValueError(f"{inputs.days} days of history, the autoencoder squeezes {config.days}")
    weeks = torch.cat([_weeks(inputs, int(end), config.days) for end in ends])
    weeks = weeks[weeks[:, config.days :].sum(1) > 0]
    network = Autoencoder(config)
    restored = _train(network, weeks, config)
    last = _weeks(inputs, inputs.days, config.days)
    known = (last[:, config.days :].sum(1) > 0).numpy()
    with torch.no_grad():
        features = network.encode(last).double().numpy()
    group = np.full(len(known), -1)
    group[known] = _groups(features[known], min(config.groups, int(known.sum())), snapshot.manifest.seed)
    return Described(np.where(known[:, None], features, np.nan), group, restored)


def _weeks(inputs: Inputs, end: int, days: int) -> Tensor:
    """[R, 2 D] days before `end`: in spreads over the level there, 0 where unseen; then whether each was seen."""
    span = slice(end - days, end)
    seen = inputs.seen[span].float()
    scaled = ((inputs.a[span] - inputs.level[end - 1]) / inputs.spread).clamp(-8.0, 8.0) * seen
    return torch.cat([scaled, seen]).T


def _train(network: Autoencoder, weeks: Tensor, config: AutoencoderConfig) -> float:
    """Adam with a falling rate over all windows; return the share of variance restored."""
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs)
    days, seen = weeks[:, : config.days], weeks[:, config.days :]
    for _ in range(config.epochs):
        for rows in torch.split(torch.randperm(len(weeks)), 256):
            error = (network(weeks[rows]) - days[rows]) * seen[rows]
            loss = (error**2).sum() / seen[rows].sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    with torch.no_grad():
        lost = (((network(weeks) - days) * seen) ** 2).sum()
        varied = (((days - days.sum() / seen.sum()) * seen) ** 2).sum()
        return float(1.0 - lost / varied) if varied > 1e-6 * seen.sum() else math.nan


def _groups(features: Floats, count: int, seed: int) -> NDArray[np.int64]:
    """k-means (Lloyd 1982) from far-apart starts; groups are numbered by falling size, then by their first region."""
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    centres = [scaled[np.random.default_rng(seed).integers(len(scaled))]]
    while len(centres) < count:
        far = np.min([((scaled - c) ** 2).sum(axis=1) for c in centres], axis=0)
        centres.append(scaled[int(np.argmax(far))])
    middle = np.stack(centres)
    for _ in range(ROUNDS):
        nearest = ((scaled[:, None] - middle[None]) ** 2).sum(axis=2).argmin(axis=1)
        middle = np.stack(
            [scaled[nearest == k].mean(axis=0) if (nearest == k).any() else c for k, c in enumerate(middle)]
        )
    order = sorted(set(nearest.tolist()), key=lambda k: (-int((nearest == k).sum()), int(np.argmax(nearest == k))))
    return np.array([order.index(int(k)) for k in nearest])
