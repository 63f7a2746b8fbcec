"""The plain ST-CNN: convolutions over date × region and a fully connected layer, nothing else; torch, no Spark.

The simple design that the strong one (`stcnn`) is measured against: kernel-3 convolutions with ReLU over the picture of
date × region (in spatial order), causal in time, then the state equation on the last day's features (ST-ResNet
without residual units, fusion or graph; Zhang et al. 2017, https://arxiv.org/abs/1610.00081). No embeddings, no W.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from stspark.models.deep.network import Network, Readout, Shape
from stspark.options import Count, Share

KERNEL = 3


@dataclass(frozen=True)
class PlainConfig:
    """channels of every convolution, and how many follow each other: each looks two days further back."""

    channels: Count = 24
    layers: Count = 4
    dropout: Share = 0.1


class PlainSTCNN(Network):
    """[B, P, X + T, R] -> conv, ReLU, … -> fully connected."""

    def __init__(self, shape: Shape, config: PlainConfig, weights: Tensor) -> None:
        super().__init__(shape, config.layers * (KERNEL - 1))
        widths = [shape.past, *[config.channels] * config.layers]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, KERNEL) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(config.dropout)
        self.readout = Readout(shape, config.channels, embedding=0)

    def forward(self, past: Tensor, known: Tensor, base: Tensor) -> Tensor:
        h, nowhere = past, past.new_zeros(past.shape[3], 0)
        for layer in self.layers:
            h = functional.relu(layer(functional.pad(h, (1, 1))))  # [B, C, two days less, R]
        out: Tensor = self.readout(self.dropout(h.permute(0, 2, 3, 1)), known, base, nowhere)
        return out
