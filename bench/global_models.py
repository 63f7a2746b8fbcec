"""All figures of the global models: python -m bench.global_models [--quick]; what `make bench-global` runs.

Los-loop, spill-over, ablations on the panel with spill-over, training speed, pretraining. On two quiet cores about
three quarters of an hour; --quick trains less, to see that it runs. Ends with one line of figures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from bench import networks, pretraining, stcnn_spill_over, training_speed
from bench.fev.task import read_task
from bench.gpu.panels import write_line_panel
from bench.los_loop.__main__ import run
from bench.los_loop.protocol import load
from bench.spatial import rho_error
from stspark.snapshot import load_snapshot

REGIONS = 240
"""Of the larger panel by which training speed is measured: one that is worth a second process."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.global_models", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    share, seeds, days = (0.1, 1, 200) if options.quick else (1.0, 3, 500)
    torch.set_num_threads(1)
    traffic = load()
    settings = argparse.Namespace(epochs=share, seeds=seeds)
    part = traffic.split, len(traffic.speed)
    ours = list(run("stcnn", traffic, part, settings).values())[-1]
    gru = list(run("gru", traffic, part, settings).values())[-1]
    for rho in (0.6, 0.0):
        margin, low, high = stcnn_spill_over.compare(rho, days)
        print(
            f"rho {rho:.1f}: neighbours save {margin:+.1%} of the absolute error, 95% interval {low:+.1%} … {high:+.1%}"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = stcnn_spill_over.write_panel(Path(folder) / "a" / "b" / "c" / "d", 0.6, days)
        snapshot = load_snapshot(path)
        for name, chosen in networks.VARIANTS.items():
            print(networks.line(path, snapshot, name, chosen | ({"epochs": 1} if options.quick else {})), flush=True)
        large = write_line_panel(f"{folder}/large", REGIONS, days)
        few = training_speed.measure(path, 4 if options.quick else 20)
        speeds = training_speed.measure(large, 3 if options.quick else 6)
        for regions, measured in ((len(snapshot.manifest.regions), few), (REGIONS, speeds)):
            print(f"{regions} regions: {training_speed.line(measured)}")
        gain = pretrain_gain(options.quick, Path(folder) / "pretrained")
    print(
        f"global los_rmse3={ours.rmse[0]:.3f} los_rmse12={ours.rmse[-1]:.3f} gru_rmse3={gru.rmse[0]:.3f} "
        f"rho_error={rho_error():.4f} pretrain_gain={gain:.3f} distributor_overhead={speeds.overhead:.3f} "
        f"two_process_speedup={speeds.speedup:.2f}"
    )


def pretrain_gain(quick: bool, home: Path) -> float:
    """By which share a pretrained transformer's SQL on rohlik_orders is lower than that of one from random weights."""
    tuned, learned = pretraining.OPTIONS, pretraining.LEARNED
    if quick:
        tuned, learned = {"epochs": 1, "fine_tune_epochs": 0, "head_epochs": 1}, {"epochs": 1}
    return pretraining.compare(read_task(pretraining.TASK), [1] if quick else [1, 2, 3], tuned, learned, home)


if __name__ == "__main__":
    main()
