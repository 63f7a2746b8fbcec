"""The device's own limits, and what a piece of work moves and computes on it."""

from __future__ import annotations

import csv
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

REPEATS = 3
Work = Callable[[int], object]
"""Does so many steps."""


def wait(device: torch.device) -> None:
    """Until all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_a_step(work: Work, device: torch.device, seconds: float) -> tuple[float, float]:
    """Median over three stretches of about `seconds` each, after a warm-up, and their spread over the median."""
    work(2)
    wait(device)
    count, took = 1, []
    for repeat in range(REPEATS + 1):
        began = time.perf_counter()
        work(count)
        wait(device)
        each = (time.perf_counter() - began) / count
        count = max(1, min(500, int(seconds / each)))
        took += [each] if repeat else []
    middle = statistics.median(took)
    return middle, (max(took) - min(took)) / middle


def copy_bandwidth(device: torch.device, megabytes: int) -> float:
    """Bytes a second that a large copy on the device reads and writes."""
    source = torch.randn(megabytes * 250_000, device=device)
    target = torch.empty_like(source)

    def copy(count: int) -> None:
        for _ in range(count):
            target.copy_(source)

    return 2 * source.nbytes / seconds_a_step(copy, device, 0.2)[0]


def matrix_rate(device: torch.device, size: int) -> float:
    """Operations a second of a large bf16 matrix product of random numbers."""
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))

    def multiply(count: int) -> None:
        for _ in range(count):
            a @ b

    return 2 * size**3 / seconds_a_step(multiply, device, 0.3)[0]


class Bytes(TorchDispatchMode):
    """Counts what every operation reads and writes, each input and output once; views move nothing. Caches are not
    known to it: of small tensors less than this comes from the device's memory."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.is_view or any(word in str(func) for word in ("empty", "unsafe_view")):
            return out
        touched = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
        self.total += sum(x.numel() * x.element_size() for x in touched)
        return out


def operations(work: Work) -> float:
    """Of one step, counted by torch: matrix products, convolutions and attention, forwards and backwards."""
    with FlopCounterMode(display=False) as counter:
        work(1)
    return float(counter.get_total_flops())


def bytes_moved(work: Work) -> float:
    """Of one step, counted by operation; of uncompiled work only."""
    with Bytes() as counter:
        work(1)
    return float(counter.total)


def bytes_measured(arguments: list[str]) -> float | None:
    """Bytes that ncu sees between device memory and chip while `python -m bench.gpu ARGUMENTS` does one step between
    cudaProfilerStart and Stop; None where ncu is missing or may not look."""
    ncu = shutil.which("ncu") or shutil.which("/usr/local/cuda/bin/ncu")
    if ncu is None:
        return None
    options = ["--metrics", "dram__bytes.sum", "--clock-control", "none", "--profile-from-start", "off", "--csv"]
    command = [ncu, *options, "--print-units", "base", sys.executable, "-m", "bench.gpu", *arguments]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=100).stdout
    except subprocess.TimeoutExpired:
        return None
    rows = list(csv.reader(line for line in text.splitlines() if line.startswith('"')))
    if len(rows) < 2 or "Metric Value" not in rows[0]:
        print(text[-800:])
        return None
    place = rows[0].index("Metric Value")
    return sum(float(row[place].replace(",", "")) for row in rows[1:])


def profiled(work: Work) -> None:
    """One step that a profiler may watch."""
    work(3)
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    work(1)
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()
