"""Memory and speed of one training process as regions grow: python -m bench.training_memory [--regions 100 1000 …]

A simulated panel of 400 days is written as Spark would write it; `stcnn` with its usual options learns from it for two
epochs at one cutoff, in a process of its own, with all regions at once and in parts. Peak is that process's largest
resident memory, samples are origin days x regions, seconds those of the last epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.gpu.panels import line_panel
from bench.networks import config
from stspark.training.loop import train_rank
from stspark.training.plan import Launch

DAYS, EPOCHS = 400, 2
AT_ONCE = (0, 1000, 250)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training_memory", description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, nargs="+", default=[100, 1000, 3000])
    parser.add_argument("--at-once", type=int, nargs="+", default=AT_ONCE)
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank:
        train_rank(pickle.loads(Path(options.rank).read_bytes()))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    print(f"{'regions':>8} {'at once':>8} {'peak GiB':>9} {'seconds an epoch':>17} {'samples/s':>10} {'loss':>7}")
    for regions in options.regions:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "snapshot"
            code = f"from bench.gpu.panels import write_line_panel; write_line_panel({str(path)!r}, {regions}, {DAYS})"
            subprocess.run([sys.executable, "-c", code], check=True)
            for most in options.at_once:
                if most < regions:
                    peak, row = trained(path, Path(folder) / str(most), most)
                    values = f"{peak:9.2f} {row['seconds']:17.1f} {row['samples_per_second']:10,d} {row['loss']:7.4f}"
                    print(f"{regions:8d} {most or 'all':>8} {values}", flush=True)


def trained(snapshot: Path, out: Path, most: int) -> tuple[float, dict]:
    """Peak resident memory in GiB, and the last epoch's line of the progress file."""
    training = replace(config({"epochs": EPOCHS}), processes=1, regions_at_once=most)
    launch = Launch(str(snapshot), str(out), training, (line_panel(1, DAYS).manifest.day(DAYS - 1),))
    launch.checkpoints.mkdir(parents=True)
    file = out / "launch.pickle"
    file.write_bytes(pickle.dumps(launch))
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench.training_memory", "--rank", str(file)]
    said = subprocess.run(command, check=True, env=one, capture_output=True, text=True).stdout
    return int(said) / 2**20, json.loads(launch.progress.read_text().splitlines()[-1])


if __name__ == "__main__":
    main()
