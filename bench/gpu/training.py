"""How fast the networks train on a device, with how much of its memory, and how soon they reach a validation loss."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.gpu.device import seconds_a_step
from bench.gpu.panels import line_panel
from bench.networks import config as training_config
from stspark.models.deep.registry import Ensemble, build_ensemble
from stspark.snapshot import Snapshot
from stspark.training.fit import Batches, Fit, Origins, Stage, rising_and_falling
from stspark.training.parts import Panel, Regions
from stspark.training.plan import TrainingConfig
from stspark.training.rank import Rank
from stspark.training.state import Keeper

CPU = torch.device("cpu")
HOWS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "bf16 + compile": {"precision": "bf16", "compile": True},
}
Row = dict[str, Any]


class TimeUp(Exception):
    """The budget of a training is spent."""


class Watched(Fit):
    """Notes when each loss on held-out days was reached."""

    def begin(self, seconds: float) -> None:
        """Start the clock; the training ends after `seconds`."""
        self.curve: list[tuple[float, float]] = []
        self.began, self.budget = time.perf_counter(), seconds

    def _validate(self, network: Ensemble, held: Origins) -> float:
        loss = super()._validate(network, held)
        self.curve.append((time.perf_counter() - self.began, loss))
        if self.curve[-1][0] > self.budget:
            raise TimeUp
        return loss


def prepared(snapshot: Snapshot, options: Row, device: torch.device, fits: type[Fit] = Fit) -> tuple[Fit, Ensemble]:
    """The package's loop and an untrained ensemble for it, on the device."""
    torch.manual_seed(0)
    config: TrainingConfig = training_config(options)
    network = build_ensemble(config.name, config.network, config.seeds, snapshot.manifest, snapshot.weights)
    manifest = snapshot.manifest
    panel = Panel(Regions.of(snapshot), manifest.day(manifest.n_history - 1), device, config.base)
    return fits(panel, config, Rank(0, 1, device), (0, panel.days)), network.to(device)


def speed(snapshot: Snapshot, options: Row, device: torch.device, seconds: float) -> Row:
    """Samples (origin days × regions) a second and peak memory in GiB; options: as in a config's `models`."""
    fit, network = prepared(snapshot, options, device)
    origins, _ = fit._split(False)
    batches = fit._batches(0, origins)
    optimiser = rising_and_falling(network, 1e-3, fit.config.weight_decay, 1_000_000)
    model = fit._prepared(network)

    def work(count: int) -> None:
        mine = np.resize(batches.mine, (count, batches.mine.shape[1]))
        fit._epoch(model, network, Batches(mine, batches.width, 0), optimiser)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    work(1)
    first = time.perf_counter() - began
    each, spread = seconds_a_step(work, device, seconds)
    samples = batches.mine.shape[1] * batches.width * snapshot.y.shape[1]
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else math.nan
    return {
        "samples_per_second": samples / each,
        "step_ms": 1000 * each,
        "spread": spread,
        "first_step_s": first,
        "peak_gib": memory,
    }


def curve(snapshot: Snapshot, options: Row, device: torch.device, seconds: float) -> list[tuple[float, float]]:
    """(seconds, loss on held-out days) after each epoch, until the epochs or the seconds are over."""
    fit, network = prepared(snapshot, options | {"patience": 10_000}, device, Watched)
    assert isinstance(fit, Watched)
    fit.begin(seconds)
    stage = Stage(fit.config.learning_rate, fit.config.epochs, hold_out=True)
    with suppress(TimeUp):
        fit.run(network, stage, Keeper(Path(os.devnull, "none"), "", writes=False), lambda *told: None)
    return fit.curve


def reached(points: list[tuple[float, float]], loss: float) -> float:
    """Seconds until the loss was that small for the first time; NaN if never."""
    return next((seconds for seconds, value in points if value <= loss), math.nan)


def same_loss(curves: dict[str, list[tuple[float, float]]]) -> tuple[float, dict[str, float]]:
    """The smallest loss that all of them reached, and when each did."""
    target = max(min(value for _, value in points) for points in curves.values())
    return target, {name: reached(points, target) for name, points in curves.items()}


def table(name: str, regions: int, devices: list[tuple[str, torch.device, Row]], seconds: float) -> list[Row]:
    """A row for each way to train a network on a panel."""
    days = 400 if regions > 2000 else 800
    snapshot, rows = line_panel(regions, days), []
    for label, device, how in devices:
        row: Row = {"network": name, "regions": regions, "how": label}
        try:
            torch._dynamo.reset()
            row |= speed(snapshot, {"name": name} | how, device, seconds)
        except torch.OutOfMemoryError:
            row |= {"failed": "out of memory"}
        except Exception as error:  # noqa: BLE001 - a row that says so; the others go on
            row |= {"failed": repr(error)[:300]}
        if device.type == "cuda":
            torch.cuda.empty_cache()
        rows.append(row)
        print(line(row), flush=True)
    return rows


def line(row: Row) -> str:
    """As text."""
    head = f"{row['network']:12} {row['regions']:6d} regions  {row['how']:22}"
    if "failed" in row:
        return f"{head} failed: {row['failed']}"
    return (
        f"{head} {row['samples_per_second']:12,.0f} samples/s  {row['step_ms']:9.2f} ms/step ±{row['spread']:.0%}  "
        f"peak {row['peak_gib']:6.2f} GiB  first step {row['first_step_s']:.1f} s"
    )
