"""How fast the networks train: python -m bench.training_speed SNAPSHOT [--epochs 20]

The same loop, epochs and panel three times: one plain process, two processes started by torchrun, two started by
TorchDistributor in a barrier stage of local[2]. Samples (origin days x regions) a second are the median over the
epochs after the first two, as rank 0 writes them; start-up is all that the launch took beside them.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from bench.networks import config, cutoffs
from stspark.snapshot import load_snapshot
from stspark.training.loop import train_rank
from stspark.training.plan import Launch

SKIPPED = 2
TWO = ("--standalone", "--nproc-per-node=2", "--no-python", sys.executable)


@dataclass(frozen=True)
class Speed:
    """samples: a second, median; start_up: seconds of the launch outside its epochs."""

    samples: float
    start_up: float


@dataclass(frozen=True)
class Speeds:
    """The three of them; overhead and speed-up are ratios of them."""

    plain: Speed
    torchrun: Speed
    distributor: Speed

    @property
    def overhead(self) -> float:
        """Share of speed that TorchDistributor loses against torchrun with as many processes."""
        return 1.0 - self.distributor.samples / self.torchrun.samples

    @property
    def speedup(self) -> float:
        """Two processes against one."""
        return self.torchrun.samples / self.plain.samples


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training_speed", description=__doc__.splitlines()[0])
    parser.add_argument("snapshot")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank:
        train_rank(pickle.loads(Path(options.rank).read_bytes()))
        return
    speeds = measure(options.snapshot, options.epochs)
    print(line(speeds))


def line(speeds: Speeds) -> str:
    """What was measured, in one line."""
    each = [f"{name} {it.samples:,.0f} samples/s (start-up {it.start_up:.1f} s)" for name, it in vars(speeds).items()]
    return f"{', '.join(each)}; distributor_overhead={speeds.overhead:.3f} two_process_speedup={speeds.speedup:.2f}"


def measure(snapshot: str, epochs: int) -> Speeds:
    """Train three times; two cores must be free, or the numbers mean nothing."""
    days = tuple(cutoffs(load_snapshot(snapshot))[:1])
    with tempfile.TemporaryDirectory() as folder:
        launch = Launch(snapshot, "", replace(config({"epochs": epochs}), batch=4), days)
        return Speeds(
            *(_timed(replace(launch, out=f"{folder}/{how.__name__}"), how) for how in (_plain, _torchrun, _distributor))
        )


def _timed(launch: Launch, how: object) -> Speed:
    launch.checkpoints.mkdir(parents=True)
    began = time.monotonic()
    how(launch)  # type: ignore[operator]
    took = time.monotonic() - began
    rows = [json.loads(text) for text in launch.progress.read_text().splitlines()[1:]]
    samples = [row["samples_per_second"] for row in rows[SKIPPED:]]
    return Speed(statistics.median(samples), took - sum(row["seconds"] for row in rows))


def _plain(launch: Launch) -> None:
    _as_child(launch, [sys.executable])


def _torchrun(launch: Launch) -> None:
    _as_child(launch, [sys.executable, "-m", "torch.distributed.run", *TWO])


def _as_child(launch: Launch, command: list[str]) -> None:
    file = Path(launch.out) / "launch.pickle"
    file.write_bytes(pickle.dumps(launch))
    subprocess.run([*command, "-m", "bench.training_speed", launch.snapshot_path, "--rank", str(file)], check=True)


def _distributor(launch: Launch) -> None:
    from stspark.session import build_session
    from stspark.training.launch import Place, run_ranks

    spark = build_session("bench", master="local[2]")
    try:
        run_ranks(launch, Place(barrier=True))
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
