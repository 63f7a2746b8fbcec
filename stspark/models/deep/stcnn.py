"""ST-CNN: one convolutional network over date × region for all regions at once; torch, no Spark.

The past of all regions is a picture, date down and region (in spatial order) across. Kernel-3 convolutions
read it, causal in time, after ST-ResNet (Zhang et al. 2017, https://arxiv.org/abs/1610.00081); since a line of
regions keeps only part of the map's neighbourhoods, each block also mixes neighbours by the fixed matrix W
(as graph convolutions do: Wu et al. 2019, https://arxiv.org/abs/1906.00121). Regions have an embedding
(STID, Shao et al. 2022, https://arxiv.org/abs/2208.05233).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stspark.models.deep.windows import Inputs, Scaler, known_width, make_inputs, past_width
from stspark.snapshot import Floats, Manifest, Snapshot

KERNEL = 3


@dataclass(frozen=True)
class NetworkConfig:
    """Size of the network: channels of every block, one block per dilation (days), region embedding, dropout."""

    channels: int = 24
    dilations: tuple[int, ...] = (1, 7)
    embedding: int = 8
    dropout: float = 0.1

    @property
    def context(self) -> int:
        """Days before an origin that its forecast depends on."""
        return sum((KERNEL - 1) * d for d in self.dilations)


class Block(nn.Module):
    """h + out(gelu(conv(h) + mix(W h))): a causal convolution and neighbours' mean, with a residual path."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = (KERNEL - 1) * dilation
        self.conv = nn.Conv2d(channels, channels, KERNEL, dilation=(dilation, 1))
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, weights: Tensor) -> Tensor:  # h: [B, C, T, R], weights: [R, R]
        """Return [B, C, T, R]; day t of it depends on days t, t - dilation and t - 2 dilation only."""
        seen = self.conv(functional.pad(h, (1, 1, self.past, 0)))  # [B, C, T, R]
        mixed = self.mix(torch.matmul(h, weights.T))  # [B, C, T, R]
        change: Tensor = self.out(self.dropout(functional.gelu(seen + mixed)))
        return h + change


class STCNN(nn.Module):
    """Quantiles of all regions and horizons, from every origin at once.

    State equation: s_t = σ(W [h; x_t] + b), where h are the features of the past at the origin, x_t the target
    day's calendar, covariates, region and seasonal base. σ is GELU and the readout of s is linear, on the
    residual over the seasonal base: nothing bounds demand from above, nor from below where returns exceed sales.
    """

    weights: Tensor

    def __init__(self, manifest: Manifest, config: NetworkConfig, weights: Floats) -> None:
        super().__init__()
        channels, width = config.channels, len(manifest.covariates)
        self.context = config.context
        self.horizon, self.levels = manifest.horizon, quantile_levels(manifest.quantiles)
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)
        self.enter = nn.Conv2d(past_width(width), channels, 1)
        self.region = nn.Parameter(0.1 * torch.randn(len(manifest.regions), config.embedding))
        self.place = nn.Linear(config.embedding, channels)
        self.blocks = nn.ModuleList(Block(channels, d, config.dropout) for d in config.dilations)
        self.state_past = nn.Linear(channels, self.horizon * channels)
        self.state_known = nn.Linear(known_width(width) + config.embedding, channels, bias=False)
        self.state_base = nn.Parameter(torch.zeros(channels))
        self.readout = nn.Linear(channels, len(self.levels))
        self._start_near_the_base()

    def _start_near_the_base(self) -> None:
        """The untrained network forecasts the seasonal base, with quantiles a small step apart."""
        nn.init.normal_(self.readout.weight, std=0.02)
        nn.init.constant_(self.readout.bias, -1.5)
        with torch.no_grad():
            self.readout.bias[self.levels.index(0.5)] = 0.0

    def forward(self, past: Tensor, known: Tensor, base: Tensor) -> Tensor:
        """Return [B, T, H, R, Q], not decreasing along Q, for the T origins that `base` has.

        past: [B, C, X + T, R], X days of context before the first origin; known: [B, T + H - 1, R, F], the days
        after the first origin; base: [B, T, H, R] seasonal base over the origin's level.
        """
        batch, days, _, regions = base.shape
        h = self.enter(past) + self.place(self.region).T[None, :, None, :]  # [B, C, X + T, R]
        for block in self.blocks:
            h = block(h, self.weights)
        held = self.state_past(h[:, :, -days:].permute(0, 2, 3, 1))  # [B, T, R, H * D]
        held = held.view(batch, days, regions, self.horizon, -1).transpose(2, 3)  # [B, T, H, R, D]
        where = self.region.expand(batch, known.shape[1], -1, -1)
        ahead = self.state_known(torch.cat([known, where], dim=3))  # [B, T + H - 1, R, D]
        ahead = ahead.unfold(1, self.horizon, 1).permute(0, 1, 4, 2, 3)  # [B, T, H, R, D]
        state = held + ahead + base[..., None] * self.state_base
        return self._in_order(self.readout(functional.gelu(state)))

    def _in_order(self, raw: Tensor) -> Tensor:  # [..., Q]
        """The median stands as it is; the others lie a positive step outside their inner neighbour."""
        middle = self.levels.index(0.5)
        median, steps = raw[..., middle : middle + 1], functional.softplus(raw)
        below = median - steps[..., :middle].flip(-1).cumsum(-1).flip(-1)
        above = median + steps[..., middle + 1 :].cumsum(-1)
        return torch.cat([below, median, above], dim=-1)


def quantile_levels(quantiles: Sequence[float]) -> list[float]:
    """The quantiles that the network learns: those asked for and the median."""
    return sorted({*quantiles, 0.5})


def pinball(residual: Tensor, mask: Tensor, predicted: Tensor, levels: Sequence[float]) -> Tensor:
    """Mean pinball loss (Koenker & Bassett 1978) over the days that were really observed.

    residual, mask: [B, T, H, R]; predicted: [B, T, H, R, Q]. Divides by the number of all days, so that equal
    shares of a batch average to the loss of the batch.
    """
    level = torch.tensor(levels, dtype=predicted.dtype, device=predicted.device)
    error = residual[..., None] - predicted
    loss = torch.maximum(level * error, (level - 1) * error).mean(-1)
    return (loss * mask).sum() / mask.numel()


def forecast(network: STCNN, snapshot: Snapshot, scaler: Scaler) -> Floats:
    """Forecast from the last day of a snapshot cut at its cutoff: [R, H, 1 + Q], in the target's unit.

    Column 0 is the point forecast, the median (it minimises the absolute error, hence WAPE); then the
    manifest's quantiles. Rows of regions that have not started are NaN.
    """
    inputs = make_inputs(snapshot, scaler)
    predicted = at_last_origin(network, inputs).double().numpy()  # [H, R, Q]
    base = inputs.base(inputs.days - 1, 1)[0].double().numpy()  # [H, R]
    a = base[..., None] + predicted * scaler.spread[None, :, None]
    y = scaler.backward(a.transpose(0, 2, 1))  # [H, Q, R]
    wanted = [network.levels.index(q) for q in (0.5, *snapshot.manifest.quantiles)]
    result = y[:, wanted].transpose(2, 0, 1)
    return np.where(snapshot.alive[-1][:, None, None], result, np.nan)


def at_last_origin(network: STCNN, inputs: Inputs) -> Tensor:
    """[H, R, Q] scaled residuals from the last day of `inputs`."""
    network.eval()
    with torch.no_grad():
        past, known, base = inputs.window(inputs.days - 1, 1, network.context)
        predicted: Tensor = network(past[None], known[None], base[None])
    return predicted[0, 0]
