"""The large model: a transformer over week-long patches of up to a year, for one region at a time; torch, no Spark.

A series is cut into weeks that end on the origin's weekday, each week is a token (PatchTST, Nie et al. 2023,
https://arxiv.org/abs/2211.14730), and pre-norm attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; Xiong
et al. 2020, https://arxiv.org/abs/2002.04745) with rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864)
reads them. Regions are independent of each other and share all weights but an embedding. A week of which no day was
seen is a learned mask token, the same that the pretraining (see pretraining.py) hides weeks behind.

Attention looks back only, so origins of one weekday share their tokens: T origins cost 7 sequences, not T. Through
several layers an origin of a longer window has read the weeks before its own `weeks` too, as a recurrent network has.
Shapes: B batch, T origins, X days of context, R regions, P channels, K covariates, N weeks, L tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from stspark.models.deep.network import Network, Readout, Shape, region_embedding
from stspark.models.deep.windows import known_width, past_width
from stspark.options import CountOrNone, Share

WEEK = 7
SIZES = {"tiny": (64, 2, 4), "small": (128, 4, 8), "base": (256, 8, 8)}
"""Width D, layers, heads."""
CALENDAR = known_width(0)
OWN = past_width(0) - CALENDAR
"""Channels of windows.Inputs.past: own ones (the last two: seen, alive), then the day's calendar, then covariates."""
SEEN, ALIVE = OWN - 2, OWN - 1
ROTATION = 1e3
"""Longest period of the rotary positions, weeks."""


@dataclass(frozen=True)
class TransformerConfig:
    """size: tiny (CPU, minutes), small or base (GPU); weeks: read before an origin; embedding: numbers per region;
    covariates: of coming days (the calendar stays)."""

    size: Literal["tiny", "small", "base"] = "tiny"
    weeks: Annotated[int, Field(ge=2)] = 52
    embedding: CountOrNone = 8
    covariates: bool = True
    dropout: Share = 0.1


class Block(nn.Module):
    """h + attention(norm(h)), then h + mlp(norm(h)): [S, L, D] -> [S, L, D]."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.answer = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor, allowed: Tensor) -> Tensor:
        """allowed: [L, L], whether the token of a row may look at that of a column."""
        q, k, v = self.ask(self.first(h)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [S, heads, L, D']
        seen = functional.scaled_dot_product_attention(rotated(q), rotated(k), v, attn_mask=allowed)
        h = h + self.dropout(self.answer(seen.transpose(1, 2).flatten(2)))
        out: Tensor = h + self.dropout(self.mlp(self.second(h)))
        return out


def rotated(x: Tensor) -> Tensor:  # [S, heads, L, D']
    """Pairs of numbers turned by angles that grow with the token's place, so that products know distances only."""
    half = x.shape[-1] // 2
    place = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)
    speed = ROTATION ** -(torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = place[:, None] * speed  # [L, D' / 2]
    sine, cosine = angle.sin().to(x.dtype), angle.cos().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1)


class Encoder(nn.Module):
    """What pretraining teaches: weeks to tokens, and attention over them. It knows no region and no covariate."""

    def __init__(self, size: str, weeks: int, dropout: float) -> None:
        super().__init__()
        width, layers, heads = SIZES[size]
        self.width, self.weeks = width, weeks
        self.patch = nn.Conv2d(OWN, width, (WEEK, 1))
        self.calendar = nn.Conv2d(1 + CALENDAR, width, 1, bias=False)
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def embed(self, past: Tensor) -> Tensor:
        """[B, P, X + T, R] -> [B, D, X + T - 6, R]: a token for the week that ends on each day."""
        seen = past[:, SEEN : SEEN + 1]
        shown = torch.cat([past[:, :2] * seen, past[:, 2:OWN]], dim=1)  # what fills an unseen day is not shown
        any_day = functional.max_pool2d(seen, (WEEK, 1), stride=1)  # [B, 1, X + T - 6, R], 0 or 1
        hidden = self.hidden[:, None, None]
        token = hidden + any_day * (self.patch(shown) - hidden)
        known = past[:, ALIVE : OWN + CALENDAR, WEEK - 1 :]
        out: Tensor = token + self.calendar(known)
        return out

    def attend(self, token: Tensor, causal: bool) -> Tensor:  # [S, L, D]
        """Return [S, L, D]; a token looks at those up to `weeks` weeks away, at none after it if `causal`."""
        place = torch.arange(token.shape[1], device=token.device)
        back = place[:, None] - place[None, :]
        allowed = (back.abs() < self.weeks) & ((back >= 0) | (not causal))
        for block in self.blocks:
            token = block(token, allowed)
        out: Tensor = self.norm(token)
        return out


class Transformer(Network):
    """The network `transformer`; it has no use for the weights."""

    def __init__(self, shape: Shape, config: TransformerConfig, weights: Tensor) -> None:
        super().__init__(shape, WEEK * config.weeks - 1)
        self.encoder = Encoder(config.size, config.weeks, config.dropout)
        width, covariates = self.encoder.width, shape.past - OWN - CALENDAR
        self.region = region_embedding(shape.regions, config.embedding)
        self.place = nn.Linear(config.embedding, width, bias=False)
        self.covariates = nn.Conv2d(covariates, width, (WEEK, 1), bias=False) if covariates else None
        self.dropout = nn.Dropout(config.dropout)
        self.readout = Readout(shape, width, config.embedding, config.covariates)
        nn.init.zeros_(self.place.weight)  # a pretrained encoder begins with what it knows
        if self.covariates is not None:
            nn.init.zeros_(self.covariates.weight)

    def encode(self, past: Tensor) -> Tensor:  # [B, P, X + T, R]
        """Return [B, T, R, D]: the token of the week that ends at every origin, having read the weeks before it."""
        batch, origins, regions = past.shape[0], past.shape[2] - self.context, past.shape[3]
        token = self.encoder.embed(past) + self.place(self.region()).T[:, None]
        if self.covariates is not None:
            token = token + self.covariates(past[:, OWN + CALENDAR :])
        token = functional.pad(token, (0, 0, 0, -origins % WEEK))  # [B, D, 7 L, R]
        lanes = token.reshape(*token.shape[:2], -1, WEEK, regions)  # [B, D, L, weekdays, R]
        lanes = lanes[:, :, :, : min(origins, WEEK)]
        read = self.encoder.attend(lanes.permute(0, 3, 4, 2, 1).flatten(0, 2), causal=True)
        ends = read[:, self.encoder.weeks - 1 :]  # [B weekdays R, L', D]
        ends = ends.reshape(batch, -1, regions, *ends.shape[1:])
        return ends.permute(0, 3, 1, 2, 4).flatten(1, 2)[:, :origins]

    def forward(self, past: Tensor, known: Tensor, base: Tensor) -> Tensor:
        h = self.dropout(functional.relu(self.encode(past)))
        out: Tensor = self.readout(h, known, base, self.region())
        return out
