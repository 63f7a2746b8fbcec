"""The global networks by name, and ensembles of one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stspark.models.deep.network import Network, Shape, quantile_levels
from stspark.models.deep.recurrent import GRU, LSTM, RecurrentConfig
from stspark.models.deep.stcnn import STCNN, STCNNConfig
from stspark.models.deep.stcnn_plain import PlainConfig, PlainSTCNN
from stspark.models.deep.transformer import Transformer, TransformerConfig
from stspark.models.deep.windows import known_width, past_width
from stspark.options import typed
from stspark.snapshot import Floats, Manifest

NetworkConfig = STCNNConfig | PlainConfig | RecurrentConfig | TransformerConfig


class Build(Protocol):
    """A network's class: made from what it must fit, its own options and the neighbours' weights [R, R]."""

    def __call__(self, shape: Shape, config: Any, weights: Tensor) -> Network: ...


@dataclass(frozen=True)
class Kind:
    """A network's class, the dataclass of its options, and how it differs from the usual training."""

    config: type[NetworkConfig]
    build: Build
    training: Mapping[str, Any] = field(default_factory=dict)


STCNN_TRAINING = {"seeds": 3, "batch": 2}
"""Two windows a step: a small panel has few, and needs the steps."""

TRANSFORMER_TRAINING = {"epochs": 30, "window": 56, "batch": 2, "learning_rate": 2e-3}
"""Long windows share their year of context."""

NETWORKS: Mapping[str, Kind] = {
    "stcnn": Kind(STCNNConfig, STCNN, STCNN_TRAINING),
    "stcnn_plain": Kind(PlainConfig, PlainSTCNN),
    "lstm": Kind(RecurrentConfig, LSTM),
    "gru": Kind(RecurrentConfig, GRU),
    "transformer": Kind(TransformerConfig, Transformer, TRANSFORMER_TRAINING),
}
"""Their names are names.NETWORKS."""


def network_options(name: str) -> set[str]:
    """Names of a network's own options."""
    return {f.name for f in dataclasses.fields(NETWORKS[name].config)}


def network_config(name: str, options: Mapping[str, Any], where: str) -> NetworkConfig:
    """A network's options over its defaults; ConfigError for an unknown or unusable one."""
    return typed(NETWORKS[name].config, options, where)


class Ensemble(nn.Module):
    """The same network several times, from different random weights; forward: [S, B, T, H, R, Q].

    Their forecasts are averaged, quantile by quantile, so that quantiles stay in order.
    """

    def __init__(self, members: list[Network]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.shape, self.context = members[0].shape, members[0].context

    def look_at(self, place: Tensor | None, weights: Tensor) -> None:
        """See Network.look_at."""
        for member in self.members:
            member.look_at(place, weights)  # type: ignore[operator]

    def forward(self, past: Tensor, known: Tensor, base: Tensor) -> Tensor:
        return torch.stack([member(past, known, base) for member in self.members])


def build_ensemble(name: str, config: NetworkConfig, seeds: int, manifest: Manifest, weights: Floats) -> Ensemble:
    """`seeds` networks with random weights by torch's generator, for the regions of a snapshot."""
    width = len(manifest.covariates)
    sizes = len(manifest.regions), past_width(width), known_width(width), manifest.horizon
    shape = Shape(*sizes, quantile_levels(manifest.quantiles), calendar=known_width(0))
    graph = torch.from_numpy(weights).float()
    return Ensemble([NETWORKS[name].build(shape, config, graph) for _ in range(seeds)])
