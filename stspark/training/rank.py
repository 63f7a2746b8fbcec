"""One of the processes that train together; pure torch, no Spark."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from stspark.errors import EnvironmentMistake
from stspark.training.plan import Launch

TIMEOUT = timedelta(hours=1)
"""A rank that meets a part of the regions for the first time solves its seasons, and the others wait."""


@dataclass
class Rank:
    """This process among `world` equals; gradients: the group they are averaged in, where it is not the usual one."""

    index: int
    world: int
    device: torch.device
    gradients: Any = None

    def average(self, value: float) -> float:
        """Mean of a number over all ranks."""
        if self.world == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(total)
        return float(total.item()) / self.world


def join(launch: Launch) -> Rank:
    """Meet the other ranks by gloo; gradients go by nccl where each rank has a GPU of its own.

    A rank that was promised a GPU and sees none trains on CPU, and all others with it, under `gpu: auto`;
    EnvironmentMistake under `always`.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    index, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local, beside = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo", timeout=TIMEOUT)
    rank = Rank(index, world, torch.device("cpu"))
    if not launch.cuda:
        return rank
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found == 0 and launch.config.gpu == "always":
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        lack = f"is 'always', but rank {index} on {socket.gethostname()} sees no CUDA device (given: {given})"
        raise EnvironmentMistake("training.gpu", lack, "mend its driver or discovery script, or set it to auto")
    if rank.average(float(found > 0)) == 1.0:  # all or none
        rank.device = torch.device("cuda", local % found)
        torch.cuda.set_device(rank.device)
        own = rank.average(float(found >= beside)) == 1.0
        rank.gradients = dist.new_group(backend="nccl") if world > 1 and own else None
    return rank


class Report:
    """Tells the driver, through a file, how far the training is."""

    def __init__(self, launch: Launch, rank: Rank) -> None:
        self.path, self.done, self.rank = launch.progress, 0, rank
        self.left = sum(launch.epochs(k) for k in range(launch.start, len(launch.cutoffs)))
        self.start = self.last = time.monotonic()
        promised = launch.cuda and rank.device.type == "cpu"
        self._write({"processes": rank.world, "device": rank.device.type, "gpu_missing": promised})

    def add(self, row: dict[str, Any], samples: int) -> None:
        """Append a line: `row`, samples (origin days × regions) per second and seconds left, at most."""
        now = time.monotonic()
        self.left, self.done = max(self.left - 1, 0), self.done + 1
        row["samples_per_second"] = round(samples / max(now - self.last, 1e-9))
        row["seconds"] = round(now - self.last, 4)
        row["seconds_left"] = round((now - self.start) / self.done * self.left, 1)
        self.last = now
        self._write(row)

    def _write(self, row: dict[str, Any]) -> None:
        if self.rank.index == 0:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
