"""ST-CNN: one convolutional network over date × region for all regions at once; torch, no Spark.

The past of all regions is a picture, date down and region (in spatial order) across. Residual blocks of two
kernel-3 convolutions read it, causal and dilated in time, after ST-ResNet (Zhang et al. 2017,
https://arxiv.org/abs/1610.00081), whose fusion, one learned weight per region and scale, joins the blocks' results.
A line of regions keeps only part of the map's neighbourhoods, so every convolution has graph mixing beside it: by
the fixed weights W, and by an adjacency that is learned, softmax(relu(E1 E2')) (Graph WaveNet, Wu et al. 2019,
https://arxiv.org/abs/1906.00121). With `across: 1` and the regions' own parameters permuted along, the network does
not depend on the order of regions; with kernel 3 across it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from stspark.models.deep.network import Network, PerRegion, Readout, Shape, region_embedding
from stspark.options import Count, CountOrNone, Share

KERNEL = 3


@dataclass(frozen=True)
class STCNNConfig:
    """Size of the network, and what can be left out of it.

    channels: of every block; dilations: one block for each, days; entry: days that the first convolution takes in
    at once; across: regions along the spatial order that a convolution sees, 3 or 1; embedding: numbers per region
    (0: none); nodes: rank of the learned adjacency (0: none); neighbours: mix by W; fusion: per region; covariates:
    of coming days (the calendar stays).
    """

    channels: Count = 16
    dilations: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 7)
    entry: Count = 7
    across: Literal[1, 3] = 3
    embedding: CountOrNone = 8
    nodes: CountOrNone = 4
    neighbours: bool = True
    fusion: bool = True
    covariates: bool = True
    dropout: Share = 0.1

    @property
    def context(self) -> int:
        """Days before an origin that its forecast depends on."""
        return self.entry - 1 + sum(2 * (KERNEL - 1) * d for d in self.dilations)


class Mixed(nn.Module):
    """conv(h) + sum over graphs of mix_g(G_g h): [B, T, R, C] -> [B, T, R, C], causal in time."""

    def __init__(self, config: STCNNConfig, dilation: int, graphs: int) -> None:
        super().__init__()
        self.past = (KERNEL - 1) * dilation
        self.side = config.across // 2
        size = (KERNEL, config.across)
        self.conv = nn.Conv2d(config.channels, config.channels, size, dilation=(dilation, 1))
        self.mix = nn.ModuleList(nn.Linear(config.channels, config.channels, bias=False) for _ in range(graphs))

    def forward(self, h: Tensor, graphs: list[Tensor]) -> Tensor:
        """Day t depends on days t, t - dilation and t - 2 dilation only."""
        picture = h.permute(0, 3, 1, 2)  # [B, C, T, R], channels last in memory
        padded = functional.pad(picture, (self.side, self.side, self.past, 0))
        seen: Tensor = self.conv(padded).permute(0, 2, 3, 1)
        for graph, mix in zip(graphs, self.mix, strict=True):
            seen = seen + mix(torch.matmul(graph, h))  # [R, R] @ [B, T, R, C]
        return seen


class Block(nn.Module):
    """h + second(relu(first(relu(h)))), the residual unit of ST-ResNet with graph mixing."""

    def __init__(self, config: STCNNConfig, dilation: int, graphs: int) -> None:
        super().__init__()
        self.first, self.second = (Mixed(config, dilation, graphs) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.second.conv.weight)

    def forward(self, h: Tensor, graphs: list[Tensor]) -> Tensor:
        """[B, T, R, C] -> [B, T, R, C]."""
        inner = self.dropout(functional.relu(self.first(functional.relu(h), graphs)))
        out: Tensor = h + self.second(inner, graphs)
        return out


class STCNN(Network):
    """See the module; `weights`: [R, R], row-standardised."""

    weights: Tensor

    def __init__(self, shape: Shape, config: STCNNConfig, weights: Tensor) -> None:
        super().__init__(shape, config.context)
        channels, regions = config.channels, shape.regions
        self.register_buffer("weights", weights, persistent=False)
        self.config = config
        self.enter = nn.Conv2d(shape.past, channels, (config.entry, 1))
        self.region = region_embedding(regions, config.embedding)
        self.place = nn.Linear(config.embedding, channels, bias=False)
        learned = (PerRegion(torch.randn(regions, config.nodes)) if config.nodes else None for _ in range(2))
        self.sender, self.receiver = learned
        graphs = int(config.neighbours) + int(config.nodes > 0)
        self.blocks = nn.ModuleList(Block(config, d, graphs) for d in config.dilations)
        share = torch.ones(regions, (len(config.dilations) + 1) * channels) / (len(config.dilations) + 1)
        self.fuse = PerRegion(share) if config.fusion else None
        self.dropout = nn.Dropout(config.dropout)
        self.readout = Readout(shape, channels, config.embedding, config.covariates)

    def look_at(self, place: Tensor | None, weights: Tensor) -> None:
        super().look_at(place, weights)
        self.weights = weights

    def adjacency(self) -> Tensor:
        """[R, R] learned, rows sum to 1: how much each region listens to each other one; ValueError without nodes."""
        if self.sender is None or self.receiver is None:
            raise ValueError("nodes is 0: no adjacency is learned")
        return torch.softmax(functional.relu(self.receiver() @ self.sender().T), dim=1)

    def encode(self, past: Tensor) -> Tensor:  # [B, P, X + T, R]
        """Return [B, X + T - context, R, C]: features of the past at every origin."""
        graphs = ([self.weights] if self.config.neighbours else []) + ([self.adjacency()] if self.config.nodes else [])
        h = self.enter(past).permute(0, 2, 3, 1) + self.place(self.region())  # [B, T', R, C]
        scales: list[Tensor] = [h]
        for block in self.blocks:
            scales.append(block(scales[-1], graphs))
        days = past.shape[2] - self.context
        if self.fuse is None:
            return scales[-1][:, -days:]
        parts = self.fuse().unflatten(1, (len(scales), -1))  # [R, L, C]
        fused = torch.stack([scale[:, -days:] for scale in scales], dim=3)  # [B, T, R, L, C]
        joined: Tensor = (fused * parts).sum(3)
        return joined

    def forward(self, past: Tensor, known: Tensor, base: Tensor) -> Tensor:
        h = self.dropout(functional.relu(self.encode(past)))
        out: Tensor = self.readout(h, known, base, self.region())
        return out
