"""Does the ST-CNN use neighbours where there is something to see? python -m bench.stcnn_spill_over [--rho 0.6]

A panel with known spill-over: regions at random places, W their four nearest neighbours; the log of demand has a week,
an own shock that fades (0.3 a day), and rho times the neighbours' mean shock of the day before:
u_t = 0.3 u_{t-1} + rho W u_{t-1} + e_t. With rho 0 there is nothing to learn from neighbours. The margin is the share
of the absolute error that the network, with its usual options, saves against itself without neighbours, with a
bootstrap interval over (cutoff, region).
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.networks import config, cutoffs
from stspark.models.deep.checkpoint import predict
from stspark.snapshot import Manifest, load_snapshot, write_atomically
from stspark.training.loop import train_rank
from stspark.training.plan import Launch

Floats = NDArray[np.float64]
REGIONS, NEIGHBOURS, HORIZON = 24, 4, 7
QUANTILES = (0.1, 0.5, 0.9)
OWN, SHOCK = 0.3, 0.25
CUTOFFS = 16
BLIND = {"neighbours": False, "nodes": 0, "across": 1}
ROUNDS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stcnn_spill_over", description=__doc__.splitlines()[0])
    parser.add_argument("--rho", type=float, nargs="*", default=[0.6, 0.0])
    parser.add_argument("--days", type=int, default=500)
    options = parser.parse_args()
    for rho in options.rho:
        margin, low, high = compare(rho, options.days)
        print(
            f"rho {rho:.1f}: neighbours save {margin:+.1%} of the absolute error, 95% interval {low:+.1%} … {high:+.1%}"
        )


def compare(rho: float, days: int) -> tuple[float, float, float]:
    """Margin of the ST-CNN over itself without neighbours, one to three days ahead, and its 95% interval."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_panel(Path(folder) / "snapshot", rho, days)
        seeing, blind = (_errors(path, f"{folder}/{name}", options) for name, options in (("w", {}), ("o", BLIND)))
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(seeing), (ROUNDS, len(seeing)))
    saved = 1.0 - seeing[picks].sum(axis=1) / blind[picks].sum(axis=1)
    low, high = np.quantile(saved, [0.025, 0.975])
    return float(1.0 - seeing.sum() / blind.sum()), float(low), float(high)


def _errors(path: str, out: str, options: dict[str, Any]) -> Floats:
    """Absolute error of every (cutoff, region), summed over the first days ahead."""
    snapshot = load_snapshot(path)
    Path(out).mkdir()
    launch = Launch(path, out, config(options), tuple(cutoffs(snapshot, CUTOFFS)))
    train_rank(launch)
    found = []
    for day in launch.cutoffs:
        first = snapshot.manifest.days_until(day)
        made = predict(launch.checkpoints, snapshot, day)[:, :3, 0]
        found.append(np.abs(made - snapshot.y[first : first + 3].T).sum(axis=1))
    return np.concatenate(found)


def demand(rho: float, days: int, seed: int = 0) -> tuple[Floats, list[tuple[int, int, float]]]:
    """[days, R] demand, and the edges of W."""
    rng = np.random.default_rng(seed)
    places = rng.random((REGIONS, 2))
    places = places[np.argsort(places[:, 0])]
    near = np.argsort(((places[:, None] - places[None]) ** 2).sum(axis=2), axis=1)[:, 1 : NEIGHBOURS + 1]
    weights = np.zeros((REGIONS, REGIONS))
    for region, others in enumerate(near):
        weights[region, others] = 1.0 / NEIGHBOURS
    shock, rows = np.zeros(REGIONS), []
    for day in range(days):
        shock = OWN * shock + rho * weights @ shock + SHOCK * rng.standard_normal(REGIONS)
        rows.append(np.log(50.0) + 0.3 * np.sin(2 * np.pi * day / 7) + shock)
    edges = [(i, int(j), 1.0 / NEIGHBOURS) for i, others in enumerate(near) for j in others]
    return np.exp(np.stack(rows)), edges


def write_panel(folder: Path, rho: float, days: int) -> str:
    """Write it as Spark would write a learning snapshot; return the folder."""
    y, edges = demand(rho, days)
    total = days + HORIZON
    names = tuple(f"region {k}" for k in range(REGIONS))
    first = date(2023, 1, 2)
    manifest = Manifest(f"rho {rho}", names, first, days, total, (), tuple(edges), 7, HORIZON, QUANTILES, seed=1)
    day, region = (index.ravel() for index in np.indices((total, REGIONS)))
    values = np.concatenate([y, np.full((HORIZON, REGIONS), np.nan)]).ravel()
    columns = {"region_index": region, "date_index": day, "y": values, "observed": day < days}
    (folder / "panel").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "panel" / "part-0.parquet")
    write_atomically(folder / "manifest.json", manifest.to_json().encode())
    return str(folder)


if __name__ == "__main__":
    main()
