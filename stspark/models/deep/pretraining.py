"""Masked self-supervision for the transformer: hide weeks of any series, and restore them; torch, no Spark.

40% of the weeks of a year are hidden behind the learned mask token, and the encoder must restore their days (BERT,
Devlin et al. 2019, https://arxiv.org/abs/1810.04805; for series PatchTST, Nie et al. 2023,
https://arxiv.org/abs/2211.14730). Half of the steps look both ways and half only back, so that one encoder learns to
understand and to foretell (UniLM, Dong et al. 2019, https://arxiv.org/abs/1905.03197): the fine-tuned one looks back.
A hidden day is an unseen day: levels and seasonal means beside it are those of the days that are left.
Shapes: N series of a step, L weeks, D width, T days, R series of a corpus.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from stspark.models.deep.transformer import WEEK, Encoder
from stspark.models.deep.windows import LIMIT, Scaler, fit_scaler, make_inputs
from stspark.options import Count, CountOrNone, NotNegative, Positive, Share
from stspark.snapshot import Bools, Integers, Snapshot

FEWEST_DAYS = 8 * WEEK


@dataclass(frozen=True)
class PretrainConfig:
    """size, weeks: of the transformer; masked: share of weeks that are hidden; causal: share of steps that look back
    only; epochs of `steps` steps with `series` series each; compile: torch.compile, on a GPU only; families: simulated
    series beside the real ones; items: most sold items that are series of their own; most: series taken from a data
    set; also: further config files."""

    size: Literal["tiny", "small", "base"] = "tiny"
    weeks: Annotated[int, Field(ge=2)] = 52
    masked: Annotated[float, Field(gt=0, lt=1)] = 0.4
    causal: Annotated[float, Field(ge=0, le=1)] = 0.5
    epochs: Count = 20
    steps: Count = 50
    series: Count = 48
    learning_rate: Positive = 2e-3
    weight_decay: NotNegative = 1e-2
    dropout: Share = 0.1
    compile: bool = False
    families: CountOrNone = 300
    items: CountOrNone = 50
    most: Count = 2000
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """Series of one source that share their days, and their scaler."""

    name: str
    snapshot: Snapshot
    scaler: Scaler

    @property
    def size(self) -> int:
        """R."""
        return len(self.snapshot.manifest.regions)


def make_corpus(name: str, snapshot: Snapshot) -> Corpus | None:
    """The series of a snapshot that vary; None where there is none or where days are too few to learn from."""
    varies = [
        len(np.unique(snapshot.y[snapshot.observed[:, r], r])) > 2 and snapshot.observed[:, r].sum() >= FEWEST_DAYS
        for r in range(snapshot.y.shape[1])
    ]
    if not any(varies) or len(snapshot.y) < FEWEST_DAYS:
        return None
    kept = chosen(snapshot, np.flatnonzero(varies), len(snapshot.y))
    return Corpus(name, kept, fit_scaler(kept))


def chosen(snapshot: Snapshot, which: object, end: int) -> Snapshot:
    """The series `which` of a snapshot, without covariates and neighbours, up to day `end`."""
    columns = np.asarray(which)
    names = tuple(snapshot.manifest.regions[r] for r in columns)
    manifest = replace(
        snapshot.manifest, regions=names, covariates=(), past_only=(), edges=(), n_history=end, n_total=end, horizon=1
    )
    y = snapshot.y[:end][:, columns]
    seen, alive = (x[:end][:, columns] for x in (snapshot.observed, snapshot.alive))
    nothing = np.zeros((end, len(columns), 0))
    return Snapshot(manifest, y, seen, alive, nothing, np.zeros((len(columns), len(columns))), nothing)


class Restorer(nn.Module):
    """The encoder, and its guess of every day of every week: N series of L weeks -> [N, L, 7], spreads over level."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config.size, config.weeks, config.dropout)
        self.days = nn.Linear(self.encoder.width, WEEK)

    def forward(self, past: Tensor, causal: bool) -> Tensor:
        """past: [1, P, 7 L, N] -> [N, L, 7]."""
        token = self.encoder.embed(past)[:, :, ::WEEK]  # [1, D, L, N]
        out: Tensor = self.days(self.encoder.attend(token[0].permute(2, 1, 0), causal))
        return out


@dataclass(frozen=True)
class Task:
    """What one step must solve. past: [1, P, 7 L, N] with the hidden weeks unseen; truth: [N, L, 7] spreads over the
    level that the days left give; asked: [N, L, 7] 1 where a day was hidden and had been seen."""

    past: Tensor
    truth: Tensor
    asked: Tensor
    causal: bool


@dataclass(frozen=True)
class Choice:
    """What chance decides of a task: a corpus, N of its columns, days T up to its end, weeks [L, N] to hide."""

    corpus: int
    columns: Integers
    end: int
    weeks: Bools
    causal: bool


def draw_choice(corpora: list[Corpus], config: PretrainConfig, g: np.random.Generator) -> Choice:
    """A corpus (by the root of its size), an end day, series and hidden weeks, all by chance."""
    share = np.sqrt([corpus.size for corpus in corpora])
    which = int(g.choice(len(corpora), p=share / share.sum()))
    corpus = corpora[which]
    size = min(config.series, corpus.size)
    columns = np.sort(g.choice(corpus.size, size, replace=False))
    end = int(g.integers(min(FEWEST_DAYS, len(corpus.snapshot.y)), len(corpus.snapshot.y) + 1))
    weeks = g.random((config.weeks, size)) < config.masked
    return Choice(which, columns, end, weeks, bool(g.random() < config.causal))


def draw_task(corpora: list[Corpus], config: PretrainConfig, g: np.random.Generator) -> Task:
    """The task of a choice by chance."""
    choice = draw_choice(corpora, config, g)
    corpus = corpora[choice.corpus]
    part, scaler = chosen(corpus.snapshot, choice.columns, choice.end), _of(corpus.scaler, choice.columns)
    return make_task(part, scaler, hidden_days(choice.weeks, choice.end), (config.weeks, choice.causal))


def hidden_days(weeks: Bools, days: int) -> Bools:
    """[T, N] from [L, N]: the last week ends with the last day."""
    spread = np.repeat(weeks, WEEK, axis=0)
    if len(spread) >= days:
        return spread[len(spread) - days :]
    return np.concatenate([np.zeros((days - len(spread), weeks.shape[1]), dtype=bool), spread])


def make_task(part: Snapshot, scaler: Scaler, hidden: Bools, how: tuple[int, bool]) -> Task:
    """Hide days [T, N] of a snapshot; how: weeks L, whether to look back only."""
    weeks, causal = how
    shown = replace(part, y=np.where(hidden, 0.0, part.y), observed=part.observed & ~hidden)
    inputs = make_inputs(shown, scaler)
    a = torch.from_numpy(scaler.forward(part.y)).float()
    truth = ((a - inputs.level) / inputs.spread).clamp(-LIMIT, LIMIT)
    asked = torch.from_numpy(hidden & part.observed & part.alive).float()
    past, _, _ = inputs.window(inputs.days - 1, 1, WEEK * weeks - 1)
    return Task(past[None], _weekly(truth, weeks), _weekly(asked, weeks), causal)


def _weekly(days: Tensor, weeks: int) -> Tensor:
    """[T, N] -> [N, L, 7], the last `weeks` weeks, 0 before the first day."""
    wanted = WEEK * weeks
    padded = functional.pad(days[-wanted:], (0, 0, max(wanted - len(days), 0), 0))
    return padded.T.reshape(-1, weeks, WEEK)


def _of(scaler: Scaler, columns: object) -> Scaler:
    which = np.asarray(columns)
    nothing = np.zeros(0)
    return Scaler(scaler.scale[which], scaler.spread[which], nothing, nothing, scaler.floor)


def masked_loss(restorer: Restorer, task: Task) -> Tensor:
    """Mean Huber loss (Huber 1964) over the hidden days that had been seen, in spreads; 0 where there is none."""
    guess = restorer(task.past, task.causal).float()
    loss = functional.smooth_l1_loss(guess, task.truth, reduction="none")
    return (loss * task.asked).sum() / task.asked.sum().clamp_min(1.0)
