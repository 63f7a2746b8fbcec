"""The pretraining's loop: seeded tasks, one schedule, a state file to go on from; pure torch, no Spark."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stspark.errors import ConfigError
from stspark.models.deep.pretrained import read_manifest, save_pretrained
from stspark.models.deep.pretraining import Corpus, PretrainConfig, Restorer, Task, draw_choice, draw_task, masked_loss
from stspark.pretraining.on_device import Shelf
from stspark.training.fit import CLIP, rising_and_falling
from stspark.training.state import Keeper

JUDGED = 12
"""Tasks, the same before and after, that the masked loss is measured on."""
HELD = 999_999
"""In place of the epoch in the seed of those tasks."""

Say = Callable[[int, float], None]
"""Told after each epoch: its number from 1, its loss."""


@dataclass(frozen=True)
class Pretraining:
    """corpora to learn from; seed; as_of: last day that any of them knows; key: of data, config and code."""

    corpora: list[Corpus]
    config: PretrainConfig
    seed: int
    as_of: date
    key: str


def pretrain(work: Pretraining, path: Path, device: torch.device, say: Say) -> dict[str, Any]:
    """Train and leave the checkpoint at `path`; return its manifest. A finished one of the same key is kept; a broken
    off one goes on after the last saved epoch, to the same weights."""
    if finished(path, work.key):
        return read_manifest(str(path))
    torch.set_num_threads(1)  # the same sums in the same order on every machine
    torch.manual_seed(work.seed)
    config, restorer = work.config, Restorer(work.config)
    restorer.to(device)
    tasks = Tasks(work, device)
    before = judge(restorer, tasks)
    total = config.epochs * config.steps
    optimiser, schedule = rising_and_falling(restorer, config.learning_rate, config.weight_decay, total)
    model: Any = torch.compile(restorer) if config.compile and device.type == "cuda" else restorer
    keeper = Keeper(path.with_suffix(".state.pt"), f"{work.key}/{device.type}", writes=True)
    progress = keeper.restore(restorer, optimiser, schedule)
    while progress.epoch < config.epochs:
        progress.loss = run_epoch(model, tasks, progress.epoch, (optimiser, schedule))
        progress.epoch += 1
        say(progress.epoch, progress.loss)
        keeper.save(progress, restorer, optimiser, schedule)
    after = judge(restorer, tasks)
    manifest = save_pretrained(path, restorer, _facts(work) | {"masked_loss": {"before": before, "after": after}})
    keeper.clear()
    return manifest


def finished(path: Path, key: str) -> bool:
    """Tell whether the checkpoint at `path` is of this key."""
    try:
        return bool(read_manifest(str(path)).get("key") == key)
    except ConfigError:  # none, or half of one
        return False


class Tasks:
    """What each step must solve, seeded by epoch and step. On a GPU the corpora lie in its memory, and tasks are made
    there: a host's core would take a hundred times as long for it as the GPU does for the step."""

    def __init__(self, work: Pretraining, device: torch.device) -> None:
        self.work, self.device = work, device
        self.shelves = [Shelf(corpus, device) for corpus in work.corpora] if device.type == "cuda" else []

    def draw(self, epoch: int, step: int) -> Task:
        """The task of one step."""
        work, g = self.work, np.random.default_rng([self.work.seed, epoch, step])
        if not self.shelves:
            return draw_task(work.corpora, work.config, g)
        choice = draw_choice(work.corpora, work.config, g)
        return self.shelves[choice.corpus].task(choice)


def judge(restorer: Restorer, tasks: Tasks) -> float:
    """Mean masked loss on a few tasks that no step sees, in spreads; in fp32."""
    restorer.eval()
    with torch.no_grad():
        losses = [float(masked_loss(restorer, tasks.draw(HELD, k))) for k in range(JUDGED)]
    return math.fsum(losses) / JUDGED


def run_epoch(restorer: Restorer, tasks: Tasks, epoch: int, by: tuple[Any, Any]) -> float:
    """`steps` steps of the optimiser; return their mean loss."""
    (optimiser, schedule), work = by, tasks.work
    restorer.train()
    torch.manual_seed(int(np.random.SeedSequence([work.seed, epoch]).generate_state(1)[0]))  # dropout
    total = torch.zeros((), dtype=torch.float64, device=tasks.device)  # read once: a GPU need not wait
    for step in range(work.config.steps):
        task = tasks.draw(epoch, step)
        with _precision(tasks.device):
            loss = masked_loss(restorer, task)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(restorer.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        total += loss.detach()
    return float(total) / work.config.steps


def _precision(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def _facts(work: Pretraining) -> dict[str, Any]:
    corpora = [
        {
            "name": corpus.name,
            "data_version": corpus.snapshot.manifest.data_version,
            "series": corpus.size,
            "first": str(corpus.snapshot.manifest.first_date),
            "last": str(corpus.snapshot.manifest.day(corpus.snapshot.manifest.n_history - 1)),
        }
        for corpus in work.corpora
    ]
    facts = {"key": work.key, "seed": work.seed, "as_of": work.as_of.isoformat(), "corpora": corpora}
    return facts | {"size": work.config.size, "weeks": work.config.weeks, "config": asdict(work.config)}
