"""What one rank of the global model's training does: pure torch, no Spark.

All cutoffs are served in one launch, in time order: training in full on the windows that end by the first
cutoff, then a few epochs more for every later one, from the weights before. Each cutoff leaves a checkpoint;
a later launch goes on after the last finished one. The numbers depend on data, config and number of processes
only: seeds are fixed, each rank computes with one thread, and the order of windows is the same on every rank.
"""

from __future__ import annotations

import json
import math
import os
import time
import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stspark.models.deep.checkpoint import TrainedWith, load_checkpoint, save_checkpoint
from stspark.models.deep.stcnn import STCNN, pinball
from stspark.models.deep.windows import Inputs, fit_scaler, make_inputs
from stspark.snapshot import load_snapshot, write_atomically
from stspark.training_plan import Launch

CLIP = 1.0
WARM_UP = 0.1
FINE_TUNE_RATE = 0.3


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


def train_rank(launch: Launch) -> None:
    """Train as one rank of a launch (torchrun sets RANK and WORLD_SIZE; alone without them).

    A failure's traceback goes to `errors/rank-K.txt` before it is raised again, since the launcher hides it.
    """
    index = int(os.environ.get("RANK", "0"))
    try:
        rank = _join(launch.cuda)
        _train(launch, rank)
    except Exception:
        text = f"{time.time():.6f}\n{traceback.format_exc()}"
        write_atomically(launch.errors / f"rank-{index}.txt", text.encode())
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join(cuda: bool) -> Rank:
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


def _train(launch: Launch, rank: Rank) -> None:
    snapshot = load_snapshot(launch.snapshot_path)
    torch.manual_seed(snapshot.manifest.seed)
    network = STCNN(snapshot.manifest, launch.config.network, snapshot.weights)
    if launch.start:
        network = load_checkpoint(launch.checkpoints, snapshot, launch.cutoffs[launch.start - 1])[0]
    network.to(rank.device)
    report = _Report(launch, rank)
    for position in range(launch.start, len(launch.cutoffs)):
        cutoff = launch.cutoffs[position]
        known = snapshot.known_on(cutoff)
        scaler = fit_scaler(known)
        fit = _Fit(make_inputs(known, scaler), launch, position, (known.manifest.seed, len(known.y)))
        loss = fit.run(network, rank, report)
        if rank.index == 0:
            how = TrainedWith(
                launch.key(snapshot.manifest, position),
                snapshot.manifest.data_version,
                launch.epochs(position),
                loss,
                launch.config.network,
            )
            save_checkpoint(launch.checkpoints, cutoff, network, scaler, how)


class _Report:
    """Tells the driver, through a file, how far the training is."""

    def __init__(self, launch: Launch, rank: Rank) -> None:
        self.path, self.done, self.rank = launch.progress, 0, rank
        self.left = sum(launch.epochs(k) for k in range(launch.start, len(launch.cutoffs)))
        self.start = self.last = time.monotonic()
        self._write({"processes": rank.world, "device": rank.device.type})

    def add(self, row: dict[str, Any], samples: int) -> None:
        """Append a line: `row`, samples (origin days × regions) per second and seconds left."""
        now = time.monotonic()
        self.left, self.done = self.left - 1, self.done + 1
        row["samples_per_second"] = round(samples / max(now - self.last, 1e-9))
        row["seconds_left"] = round((now - self.start) / self.done * self.left, 1)
        self.last = now
        self._write(row)

    def _write(self, row: dict[str, Any]) -> None:
        if self.rank.index == 0:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")


@dataclass
class _Fit:
    """The epochs of one cutoff."""

    inputs: Inputs
    launch: Launch
    position: int
    seeds: tuple[int, int]

    def run(self, network: STCNN, rank: Rank, report: _Report) -> float:
        """Train `network` in place; return the mean loss of the last epoch."""
        config, epochs, loss = self.launch.config, self.launch.epochs(self.position), math.nan
        torch.manual_seed(int(np.random.SeedSequence([*self.seeds, rank.index]).generate_state(1)[0]))  # dropout
        model: nn.Module = DistributedDataParallel(network) if rank.world > 1 else network
        model.train()
        rate = config.learning_rate * (FINE_TUNE_RATE if self.position else 1.0)
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=config.weight_decay)
        total = epochs * len(self._batches(0, rank.world))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share_of_rate(step, total))
        cutoff = self.launch.cutoffs[self.position].isoformat()
        for epoch in range(epochs):
            batches = self._batches(epoch, rank.world)
            total_loss = 0.0
            for batch in batches:
                value = self._loss(model, network, batch[rank.index :: rank.world], rank.device)
                optimiser.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimiser.step()
                schedule.step()
                total_loss += float(value.detach())
            loss = rank.average(total_loss / len(batches))
            row = {"cutoff": cutoff, "epoch": epoch + 1, "epochs": epochs, "loss": round(loss, 6)}
            report.add(row, batches.size * self._window() * self.inputs.a.shape[1])
        return loss

    def _loss(self, model: nn.Module, network: STCNN, starts: Any, device: torch.device) -> Tensor:
        windows = [self.inputs.window(int(s), self._window(), network.context) for s in starts]
        past, known, base = (torch.stack(parts).to(device) for parts in zip(*windows, strict=True))
        pairs = [self.inputs.targets(int(s), self._window()) for s in starts]
        residual, mask = (torch.stack(parts).to(device) for parts in zip(*pairs, strict=True))
        return pinball(residual, mask, model(past, known, base), network.levels)

    def _origins(self) -> tuple[int, int]:
        """First and last origin day: after a season where there is more, and a horizon before the cutoff."""
        last = self.inputs.days - 1 - self.inputs.horizon
        if last < 0:
            raise ValueError(f"{self.inputs.days} days before the first cutoff, the horizon needs more")
        return min(self.inputs.period, last), last

    def _window(self) -> int:
        first, last = self._origins()
        return min(self.launch.config.window, last - first + 1)

    def _batches(self, epoch: int, world: int) -> Any:
        """[steps, batch] first days of windows: all origins in random order, newly cut each epoch."""
        order = np.random.default_rng([*self.seeds, epoch])
        (first, last), width = self._origins(), self._window()
        starts = np.arange(first - order.integers(width), last + 1, width).clip(first, last - width + 1)
        size = -(-self.launch.config.batch // world) * world
        steps = -(-len(starts) // size)
        return np.resize(order.permutation(starts), (steps, size))


def _share_of_rate(step: int, total: int) -> float:
    """Learning rate over its peak: a short rise, then half a cosine down to 0."""
    warm = max(1, int(WARM_UP * total))
    done = min(1.0, (step - warm) / max(1, total - warm))
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * done))
