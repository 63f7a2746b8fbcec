"""One of the processes that train together; pure torch, no Spark."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from stspark.training_plan import Launch


@dataclass
class Rank:
    """This process among `world` equals."""

    index: int
    world: int
    device: torch.device

    def average(self, value: float) -> float:
        """Mean of a number over all ranks."""
        if self.world == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total.item()) / self.world


def join(cuda: bool) -> Rank:
    """Meet the other ranks: nccl where each has a GPU of its own, else gloo."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    index, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local, beside = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    device = torch.device("cuda", local % torch.cuda.device_count()) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if world > 1:
        own = cuda and torch.cuda.device_count() >= beside
        dist.init_process_group("nccl" if own else "gloo", timeout=timedelta(minutes=10))
    return Rank(index, world, device)


class Report:
    """Tells the driver, through a file, how far the training is."""

    def __init__(self, launch: Launch, rank: Rank) -> None:
        self.path, self.done, self.rank = launch.progress, 0, rank
        self.left = sum(launch.epochs(k) for k in range(launch.start, len(launch.cutoffs)))
        self.start = self.last = time.monotonic()
        self._write({"processes": rank.world, "device": rank.device.type})

    def add(self, row: dict[str, Any], samples: int) -> None:
        """Append a line: `row`, samples (origin days × regions) per second and seconds left, at most."""
        now = time.monotonic()
        self.left, self.done = max(self.left - 1, 0), self.done + 1
        row["samples_per_second"] = round(samples / max(now - self.last, 1e-9))
        row["seconds_left"] = round((now - self.start) / self.done * self.left, 1)
        self.last = now
        self._write(row)

    def _write(self, row: dict[str, Any]) -> None:
        if self.rank.index == 0:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
