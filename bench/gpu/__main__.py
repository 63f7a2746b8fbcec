"""What a GPU brings the global networks: python -m bench.gpu OUT.json [--only SECTION…] [--short]

Without Spark, on simulated panels, with the package's own training loop. Sections: limits (the device's copy bandwidth
and bf16 matrix rate, always measured), training (samples a second, memory), same_loss (seconds until GPU and CPU reach
a loss), pretraining (windows and tokens a second, shares of both limits), checks (is it right). About a
quarter of an hour on an H200. Without a CUDA device everything runs on the CPU, small: that shows only that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench.gpu import checks, pretraining, training
from bench.gpu.device import copy_bandwidth, matrix_rate
from bench.gpu.panels import line_panel
from stspark.models.deep.pretraining import PretrainConfig

SECTIONS = ("training", "same_loss", "pretraining", "checks")
CPU = torch.device("cpu")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("gpu.json"))
    parser.add_argument("--only", nargs="*", default=SECTIONS, choices=SECTIONS)
    parser.add_argument("--regions", type=int, nargs="*", default=(100, 1000, 10000), help="sizes of the panels")
    parser.add_argument("--short", action="store_true", help="tiny: to see that it runs")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each of three timed stretches")
    parser.add_argument("--budget", type=float, default=45.0, help="CPU seconds of each training to a loss")
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    parser.add_argument("--nccl", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one-step", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if options.rank:
        return checks.as_rank(options.rank)
    if options.nccl:
        return checks.as_nccl()
    if options.one_step:
        size, series, compiled = options.one_step
        return pretraining.one_step(size, int(series), bool(int(compiled)))
    bench = Bench(options)
    for section in options.only:
        began = time.perf_counter()
        bench.found[section] = getattr(bench, section)()
        bench.found["seconds"][section] = round(time.perf_counter() - began, 1)
        options.out.write_text(json.dumps(bench.found, indent=1) + "\n")
        print(f"{section}: {bench.found['seconds'][section]} s", flush=True)
    return None


class Bench:
    """The sections; `found` is what is written."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.cuda = options, torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        self.seconds = 0.1 if options.short else options.seconds
        self.cores = len(os.sched_getaffinity(0))
        torch.use_deterministic_algorithms(True, warn_only=True)  # as a rank does
        torch.set_num_threads(1)
        self.limits = self._limits()
        self.found: Row = {"limits": self.limits, "seconds": {}}

    def _limits(self) -> Row:
        small = self.options.short or not self.cuda
        bandwidth = copy_bandwidth(self.device, 50 if small else 4000)
        rate = matrix_rate(self.device, 512 if small else 8192)
        name = torch.cuda.get_device_name() if self.cuda else platform.processor()
        print(f"{name}: copy {bandwidth / 1e9:.0f} GB/s, bf16 product {rate / 1e12:.1f} TFLOP/s, {self.cores} cores")
        return {"device": name, "torch": torch.__version__, "bandwidth": bandwidth, "matrix_rate": rate,
                "cores": self.cores}  # fmt: skip

    def _ways(self, *, compiled: bool) -> list[tuple[str, torch.device, Row]]:
        names = [name for name in training.HOWS if compiled or "compile" not in name]
        return [(name, self.device, training.HOWS[name]) for name in names if self.cuda]

    def training(self) -> list[Row]:
        """The GPU's rows, then the CPU's by one thread (as a rank trains) and by all cores' threads."""
        rows: list[Row] = []
        sizes = (20,) if self.options.short else self.options.regions
        for name, regions in [(name, size) for size in sizes for name in ("stcnn", "gru", "transformer")]:
            if name == "transformer" and regions > 1000:
                continue
            compiled = name == "stcnn" or (name == "transformer" and regions == 1000)
            rows += training.table(name, regions, self._ways(compiled=compiled), self.seconds)
            if self.cuda and regions > (100 if name == "transformer" else 1000):  # minutes
                continue
            for threads in sorted({1, self.cores}):
                torch.set_num_threads(threads)
                rows += training.table(name, regions, [(f"CPU, {threads} threads", CPU, {})], self.seconds / 2)
            torch.set_num_threads(1)
        return rows

    def same_loss(self) -> Row:
        """The default ST-CNN on 200 regions, and the pretraining of tiny and base."""
        found: Row = {}
        snapshot = line_panel(20 if self.options.short else 200, 200 if self.options.short else 600)
        stcnn = {"name": "stcnn", "epochs": 2 if self.options.short else 12}
        ways = [*self._ways(compiled=True), ("CPU, 1 thread", CPU, {}), (f"CPU, {self.cores} threads", CPU, {})]
        curves = {}
        for label, device, how in ways:
            torch.set_num_threads(self.cores if device == CPU and "1 thread" not in label else 1)
            curves[label] = training.curve(snapshot, stcnn | how, device, self.options.budget)
        found["stcnn"] = self._told("stcnn", curves)
        corpora = pretraining.corpus(64 if self.options.short else 512)
        for size in ("tiny",) if self.options.short else ("tiny", "base"):
            config = PretrainConfig(size=size, epochs=2 if self.options.short else 10, steps=10)  # type: ignore[arg-type]
            curves = {}
            for label, device, threads in (("GPU", self.device, 1), (f"CPU, {self.cores} threads", CPU, self.cores)):
                torch.set_num_threads(threads)
                curves[label] = pretraining.curve(corpora, config, device, self.options.budget)
            found[f"pretraining {size}"] = self._told(f"pretraining {size}", curves)
        torch.set_num_threads(1)
        return found

    @staticmethod
    def _told(name: str, curves: dict[str, list[tuple[float, float]]]) -> Row:
        target, when = training.same_loss(curves)
        for label, seconds in when.items():
            print(f"{name} to loss {target:.4f}: {label:22} {seconds:8.2f} s ({len(curves[label])} epochs run)")
        return {"loss": target, "seconds": when, "curves": curves}

    def pretraining(self) -> list[Row]:
        """Both sizes with the usual 48 series a step and with as many as fill the device."""
        if not self.cuda or self.options.short:
            config = PretrainConfig(series=16, weeks=16)
            return [pretraining.speed(pretraining.corpus(64), config, CPU, {}, self.seconds)]
        corpora, rows = pretraining.corpus(4096), []
        for size, series, compiled in (("tiny", 48, False), ("tiny", 4096, False), ("tiny", 4096, True),
                                       ("base", 48, False), ("base", 48, True), ("base", 1024, False),
                                       ("base", 1024, True), ("base", 4096, True)):  # fmt: skip
            config = PretrainConfig(size=size, series=series, compile=compiled)  # type: ignore[arg-type]
            try:
                rows.append(pretraining.speed(corpora, config, self.device, self.limits, self.seconds))
            except Exception as error:  # noqa: BLE001 - a row that says so; the others go on
                rows.append({"size": size, "series": series, "compile": compiled, "failed": repr(error)[:400]})
                print(rows[-1], flush=True)
        for row in rows:
            if row["series"] in (48, 1024) and row["size"] == "base" and "failed" not in row:
                pretraining.measured(row, self.limits)
        torch.set_num_threads(self.cores)
        for size in ("tiny", "base"):
            config = PretrainConfig(size=size)  # type: ignore[arg-type]
            rows.append(pretraining.speed(corpora, config, CPU, {}, self.seconds / 2))
        torch.set_num_threads(1)
        return rows

    def checks(self) -> list[Row]:
        """See bench/gpu/checks.py."""
        with tempfile.TemporaryDirectory() as home:
            return checks.Checks(Path(home), self.cuda, self.options.short).all()


if __name__ == "__main__":
    main()
