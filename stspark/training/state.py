"""The state of a training within a cutoff, from which a killed one goes on as if nothing had happened.

Rank 0 writes it after an epoch, by rename; every rank reads the same file before it starts. Generators need no
place in it: they are seeded anew, by epoch and rank, at every epoch's start.
"""

from __future__ import annotations

import io
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stspark.snapshot import write_atomically

SAVE_SECONDS = 5.0
"""Shortest time between two writings."""


@dataclass
class Progress:
    """Where a cutoff's training stands: epochs done, the last one's loss, and the best on held-out days.

    gained: epochs that the held-out days of the first cutoff gained from; 0: none were held out.
    """

    epoch: int = 0
    loss: float = math.nan
    best: float = math.nan
    gained: int = 0

    def note(self, loss: float) -> None:
        """Remember the epoch if `loss` on held-out days is the smallest so far."""
        if math.isnan(self.best) or loss < self.best:
            self.best, self.gained = loss, self.epoch


@dataclass
class Keeper:
    """Writes and reads the state file; `key` names data, config, cutoff and number of ranks: others are ignored."""

    path: Path
    key: str
    writes: bool
    last: float = 0.0

    def save(self, progress: Progress, network: nn.Module, optimiser: Any, schedule: Any) -> None:
        """Write all that the next epoch depends on, unless that was done a moment ago."""
        if not self.writes or time.monotonic() - self.last < SAVE_SECONDS:
            return
        state = {
            "key": self.key,
            "progress": vars(progress),
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
        }
        file = io.BytesIO()
        torch.save(state, file)
        write_atomically(self.path, file.getvalue())
        self.last = time.monotonic()

    def restore(self, network: nn.Module, optimiser: Any, schedule: Any) -> Progress:
        """Bring all of them to the saved state, where there is one of this key; return how far it was."""
        self.last = time.monotonic()
        state = self._read()
        if state is None:
            return Progress()
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        return Progress(**state["progress"])

    def named(self, stage: str) -> Keeper:
        """The same file's keeper for another stage of the same training."""
        return replace(self, key=f"{self.key}/{stage}")

    def progress(self) -> Progress | None:
        """How far a state of this key is, where there is one."""
        state = self._read()
        return None if state is None else Progress(**state["progress"])

    def _read(self) -> Any:
        """On the CPU: the optimiser keeps its count of steps there, and moves what belongs beside the weights.

        Rank 0 may remove the last cutoff's state at any moment while the others look for that of the next.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state if state["key"] == self.key else None

    def clear(self) -> None:
        """Remove the file: the cutoff has its checkpoint."""
        if self.writes:
            self.path.unlink(missing_ok=True)
