"""How fast the transformer is pretrained on a device: windows, tokens, shares of the device's two limits."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date
from typing import Any

import torch

from bench.gpu.device import Work, bytes_measured, bytes_moved, operations, profiled, seconds_a_step
from stspark.models.deep.families import simulated_families
from stspark.models.deep.pretraining import Corpus, PretrainConfig, Restorer, make_corpus
from stspark.pretraining.fit import Pretraining, Tasks, judge, run_epoch
from stspark.training.fit import rising_and_falling

AS_OF = date(2023, 1, 1)
DAYS = 1100
Row = dict[str, Any]


def corpus(series: int) -> list[Corpus]:
    """Simulated families alone."""
    made = make_corpus("families", simulated_families(series, DAYS, AS_OF, 1))
    assert made is not None
    return [made]


def stepper(corpora: list[Corpus], config: PretrainConfig, device: torch.device) -> tuple[Work, Pretraining]:
    """What does so many steps of the package's own loop."""
    torch.manual_seed(0)
    work, restorer = Pretraining(corpora, config, 1, AS_OF, "bench"), Restorer(config).to(device)
    optimiser = rising_and_falling(restorer, 1e-3, config.weight_decay, 1_000_000)
    model: Any = torch.compile(restorer) if config.compile and device.type == "cuda" else restorer
    tasks, epoch = Tasks(work, device), [0]

    def steps(count: int) -> None:
        tasks.work = replace(work, config=replace(config, steps=count))
        epoch[0] += 1
        run_epoch(model, tasks, epoch[0], optimiser)

    return steps, work


def speed(corpora: list[Corpus], config: PretrainConfig, device: torch.device, limits: Row, seconds: float) -> Row:
    """One row; limits: bandwidth and matrix rate of the device, {} for none."""
    torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    steps, _ = stepper(corpora, config, device)
    steps(1)
    if config.compile:
        steps(8)  # both directions of attention
    first = time.perf_counter() - began
    each, spread = seconds_a_step(steps, device, seconds)
    row: Row = {"size": config.size, "series": config.series, "compile": config.compile, "device": device.type}
    row |= {"windows_per_second": config.series / each, "tokens_per_second": config.series * config.weeks / each}
    row |= {"step_ms": 1000 * each, "spread": spread, "first_step_s": first}
    if device.type == "cuda":
        row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        plain, _ = stepper(corpora, replace(config, compile=False), device)
        row["operations"], row["bytes_counted"] = operations(plain), bytes_moved(plain)
        row["share_of_matrix_rate"] = row["operations"] / each / limits["matrix_rate"]
        row["share_of_bandwidth_counted"] = row["bytes_counted"] / each / limits["bandwidth"]
    print(line(row), flush=True)
    return row


def measured(row: Row, limits: Row) -> Row:
    """The row with what ncu sees of a step's bytes, where it can."""
    arguments = ["--one-step", row["size"], str(row["series"]), str(int(row["compile"]))]
    found = bytes_measured(arguments)
    if found is None:
        return row
    row |= {"bytes_by_ncu": found, "share_of_bandwidth": found / row["step_ms"] * 1000 / limits["bandwidth"]}
    print(
        f"{row['size']} {row['series']}: ncu {found / 1e9:.2f} GB a step, {row['share_of_bandwidth']:.1%} of the copy"
    )
    return row


def one_step(size: str, series: int, compiled: bool) -> None:
    """For ncu."""
    config = PretrainConfig(size=size, series=series, compile=compiled)  # type: ignore[arg-type]
    steps, _ = stepper(corpus(max(series, 64)), config, torch.device("cuda"))
    if compiled:
        steps(8)
    profiled(steps)


def curve(
    corpora: list[Corpus], config: PretrainConfig, device: torch.device, seconds: float
) -> list[tuple[float, float]]:
    """(seconds of training, masked loss on tasks that no step sees) after each epoch; judging is not counted."""
    torch.manual_seed(0)
    work, restorer = Pretraining(corpora, config, 1, AS_OF, "bench"), Restorer(config).to(device)
    optimiser = rising_and_falling(restorer, config.learning_rate, config.weight_decay, config.epochs * config.steps)
    model: Any = torch.compile(restorer) if config.compile and device.type == "cuda" else restorer
    tasks, points, spent = Tasks(work, device), [], 0.0
    for epoch in range(config.epochs):
        began = time.perf_counter()
        run_epoch(model, tasks, epoch, optimiser)
        spent += time.perf_counter() - began
        points.append((spent, judge(restorer, tasks)))
        if spent > seconds:
            break
    return points


def line(row: Row) -> str:
    """As text."""
    text = (
        f"pretraining {row['size']:5} {row['series']:5d} series {'compiled' if row['compile'] else '':8} "
        f"{row['device']:4} {row['windows_per_second']:10,.0f} windows/s {row['tokens_per_second']:12,.0f} tokens/s "
        f"{row['step_ms']:8.2f} ms/step ±{row['spread']:.0%} first {row['first_step_s']:.0f} s"
    )
    if "operations" in row:
        text += f"  {row['share_of_matrix_rate']:.1%} of bf16 rate, counted bytes {row['share_of_bandwidth_counted']:.0%} of copy"  # noqa: E501
        text += f", peak {row['peak_gib']:.1f} GiB"
    return text
