"""LSTM and GRU: one sequence model for all regions, each with an embedding; torch, no Spark.

Hochreiter & Schmidhuber 1997 (https://doi.org/10.1162/neco.1997.9.8.1735) and Cho et al. 2014
(https://arxiv.org/abs/1406.1078), trained over all series at once as DeepAR is (Salinas et al. 2020,
https://arxiv.org/abs/1704.04110). They do not see neighbours. The state at an origin has read the `context` days
before it and, in a longer window, those before them too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stspark.models.deep.network import Network, Readout, Shape, region_embedding
from stspark.options import Count, CountOrNone, Share


@dataclass(frozen=True)
class RecurrentConfig:
    """channels of the state, layers, days read before an origin at least, numbers per region."""

    channels: Count = 32
    layers: Count = 1
    days: Count = 28
    embedding: CountOrNone = 8
    dropout: Share = 0.1


class Recurrent(Network):
    """[B, P, X + T, R] -> a sequence per region -> the state at every origin."""

    def __init__(self, shape: Shape, config: RecurrentConfig, cell: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__(shape, config.days)
        self.region = region_embedding(shape.regions, config.embedding)
        width = shape.past + config.embedding
        between = config.dropout if config.layers > 1 else 0.0
        self.cell = cell(width, config.channels, config.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(config.dropout)
        self.readout = Readout(shape, config.channels, config.embedding)

    def forward(self, past: Tensor, known: Tensor, base: Tensor) -> Tensor:
        batch, _, days, regions = past.shape
        series = past.permute(0, 3, 2, 1).flatten(0, 1)  # [B R, X + T, P]
        where = self.region()[:, None, :].expand(-1, days, -1).repeat(batch, 1, 1)
        states, _ = self.cell(torch.cat([series, where], dim=2))  # [B R, X + T, C]
        h = states[:, -base.shape[1] :].unflatten(0, (batch, regions)).transpose(1, 2)  # [B, T, R, C]
        out: Tensor = self.readout(self.dropout(h), known, base, self.region())
        return out


class LSTM(Recurrent):
    """The network `lstm`; it has no use for the weights."""

    def __init__(self, shape: Shape, config: RecurrentConfig, weights: Tensor) -> None:
        super().__init__(shape, config, nn.LSTM)


class GRU(Recurrent):
    """The network `gru`; it has no use for the weights."""

    def __init__(self, shape: Shape, config: RecurrentConfig, weights: Tensor) -> None:
        super().__init__(shape, config, nn.GRU)
