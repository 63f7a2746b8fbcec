"""What the networks are worth, and each part of the ST-CNN: python -m bench.networks SNAPSHOT… [--only NAME…]

SNAPSHOT is a learning snapshot that a run has left: warehouse/DATASET/_models/RUN/snapshot. Each variant is
trained by the package's own loop, in one process and without Spark, for the run's last weekly cutoffs; the
earlier half of them and the later stand in columns of their own, so that one can choose by the former.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from stspark.models.deep.checkpoint import predict
from stspark.snapshot import Snapshot, load_snapshot
from stspark.training.loop import train_rank
from stspark.training.plan import Launch, TrainingConfig, config_of

VARIANTS: dict[str, dict[str, Any]] = {
    "stcnn": {},
    "stcnn, one seed": {"seeds": 1},
    "stcnn without region embedding": {"embedding": 0},
    "stcnn without learned adjacency": {"nodes": 0},
    "stcnn without W": {"neighbours": False},
    "stcnn without W and learned adjacency": {"neighbours": False, "nodes": 0},
    "stcnn without covariates": {"covariates": False},
    "stcnn without fusion": {"fusion": False},
    "stcnn_plain": {"name": "stcnn_plain"},
    "lstm": {"name": "lstm"},
    "gru": {"name": "gru"},
    "transformer": {"name": "transformer"},
}
CUTOFFS = 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.networks", description=__doc__.splitlines()[0])
    parser.add_argument("snapshots", nargs="+")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--cutoffs", type=int, default=CUTOFFS, help=f"how many weekly cutoffs, usually {CUTOFFS}")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="options for all variants")
    options = parser.parse_args()
    if options.cutoffs < 2:
        parser.error("--cutoffs: use 2 or more, for there are two halves")
    torch.set_num_threads(1)  # as a rank has it; more threads on few cores wait for each other
    common = {key: yaml.safe_load(value) for key, value in (pair.split("=", 1) for pair in options.set)}
    heads = ("WAPE", "earlier", "later", "naive", "loss", "80%")
    print(f"{'panel':14} {'variant':38} " + " ".join(f"{head:>7}" for head in heads) + f" {'seconds':>8}")
    for path in options.snapshots:
        snapshot = load_snapshot(path)
        for name in options.only:
            print(line(path, snapshot, name, common | VARIANTS[name], options.cutoffs), flush=True)


def line(path: str, snapshot: Snapshot, label: str, options: dict[str, Any], count: int = CUTOFFS) -> str:
    """WAPE of all cutoffs, of the earlier and of the later half, the seasonal naive's, mean quantile loss over mean
    demand, coverage of q10 … q90, CPU seconds."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as out:
        launch = Launch(path, out, config(options), tuple(cutoffs(snapshot, count)), cuda=torch.cuda.is_available())
        train_rank(launch)
        seconds = time.process_time() - began
        parts = [judge(snapshot, day, predict(launch.checkpoints, snapshot, day)) for day in launch.cutoffs]
    _, naive, loss, inside, days, total = np.sum(parts, axis=0)
    halves = (parts[: count // 2], parts[count // 2 :])
    wapes = [row[0] / row[-1] for row in (np.sum(some, axis=0) for some in (parts, *halves))]
    panel = next((up.parent.name for up in Path(path).parents if up.name == "_models"), Path(path).name)
    values = " ".join(f"{value:7.4f}" for value in (*wapes, naive / total, loss / total))
    return f"{panel:14} {label:38} {values} {inside / days:7.1%} {seconds:8.1f}"


def config(options: dict[str, Any]) -> TrainingConfig:
    """As the pipeline would make it from a model's options, for a horizon of a week."""
    name = options.get("name", "stcnn")
    return config_of(name, options, name, {})


def cutoffs(snapshot: Snapshot, count: int = CUTOFFS) -> list[date]:
    """The last weekly cutoffs, oldest first; the last one's horizon ends with the history."""
    last = snapshot.manifest.day(snapshot.manifest.n_history - 1 - snapshot.manifest.horizon)
    return [last - timedelta(days=7 * k) for k in reversed(range(count))]


def judge(snapshot: Snapshot, day: date, values: Any) -> list[float]:
    """Sums over observed days: errors of model and naive, quantile loss, hits of the interval, days, demand."""
    manifest, first = snapshot.manifest, snapshot.manifest.days_until(day)
    span = slice(first, first + manifest.horizon)
    y = snapshot.y[span].T
    seen = snapshot.observed[span].T & np.isfinite(values[..., 0])
    past = [snapshot.y[first - manifest.season + k % manifest.season] for k in range(manifest.horizon)]
    made = np.maximum(values, 0.0) if bool((snapshot.y >= 0).all()) else values
    losses = [2 * np.maximum(q * (y - made[..., 1 + k]), (q - 1) * (y - made[..., 1 + k]))
              for k, q in enumerate(manifest.quantiles)]  # fmt: skip
    inside = (y >= made[..., 1 + manifest.quantiles.index(0.1)]) & (y <= made[..., 1 + manifest.quantiles.index(0.9)])
    columns = (np.abs(y - made[..., 0]), np.abs(y - np.stack(past, axis=1)), np.mean(losses, axis=0), inside)
    return [float(np.sum(c[seen])) for c in columns] + [float(seen.sum()), float(y[seen].sum())]


if __name__ == "__main__":
    main()
