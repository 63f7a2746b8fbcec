"""What pretraining is worth: transformer from random weights beside pretrained, over seeds: python -m bench.pretraining

fev-bench's rohlik_orders_1D (five windows of 61 days): the encoder is pretrained on what the data held by the first
cutoff (the target and the numbers known for the past only) and on simulated families, then all are trained by the
package's own loop, in one process and without Spark. Olist's state-days and category-days join in where the data are
at hand. --horizon 7 scores the first seven days of every window alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from bench.fev.metrics import Losses, mean_losses, seasonal_scale, window_losses
from bench.fev.panel import Panel, filled, read_panel
from bench.fev.task import Task, read_task
from bench.networks import config
from stspark.models.deep.checkpoint import predict
from stspark.models.deep.families import simulated_families
from stspark.models.deep.pretraining import Corpus, PretrainConfig, make_corpus
from stspark.options import typed
from stspark.pretraining_fit import Pretraining, pretrain
from stspark.snapshot import Manifest, Snapshot, write_atomically
from stspark.training_loop import train_rank
from stspark.training_plan import Launch

PAST = ("precipitation", "snow", "user_activity_1", "user_activity_2")
"""Rohlik's columns that are known up to the day itself."""
OLIST = Path("../shared/data/olist")
FAMILY_DAYS = 1100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pretraining", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="options of the transformer")
    parser.add_argument("--pretrain", nargs="*", default=[], metavar="KEY=VALUE", help="options of the pretraining")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--horizon", type=int, default=61)
    parser.add_argument("--keep", type=Path, help="folder for the pretrained checkpoints, used again where they fit")
    given = parser.parse_args()
    torch.set_num_threads(1)
    task = read_task("bench/fev/rohlik_orders_1D.yaml")
    task = task.model_copy(update={"horizon": given.horizon, "windows": given.windows})
    panel = read_panel(task)
    options = dict(pair.split("=", 1) for pair in given.set)
    learned = typed(PretrainConfig, dict(pair.split("=", 1) for pair in given.pretrain), "pretrain")
    with tempfile.TemporaryDirectory() as scratch:
        home = given.keep or Path(scratch)
        for seed in given.seeds:
            path = home / f"seed-{seed}.safetensors"
            began = time.process_time()
            work = Pretraining(corpora(task, panel, learned, seed), learned, seed, task.cutoffs[0], str(learned))
            manifest = pretrain(work, path.absolute(), torch.device("cpu"), lambda epoch, loss: None)
            spent = time.process_time() - began
            series = f"{sum(c.size for c in work.corpora)} series in {len(work.corpora)} corpora"
            loss = manifest["masked_loss"]
            print(
                f"seed {seed}: {series}, masked loss {loss['before']:.4f} -> {loss['after']:.4f}, {spent:.0f} s",
                flush=True,
            )
            begun = config({"name": "transformer", **options})
            longer = {"epochs": begun.epochs + begun.head_epochs}  # as many epochs in all
            for label, more in (("random", longer), ("pretrained", {"pretrained": str(path.absolute())})):
                print(row(f"transformer {label}, seed {seed}", task, panel, seed, options | more), flush=True)


def corpora(task: Task, panel: Panel, config: PretrainConfig, seed: int) -> list[Corpus]:
    """What may be known on the first cutoff, and the families."""
    known = panel.snapshot.known_on(task.cutoffs[0])
    days = len(known.y)
    made = [make_corpus("rohlik_orders", known)]
    rows = pd.read_csv(task.path, parse_dates=[task.date])
    for column in PAST:
        wide = rows.pivot(index=task.date, columns=task.region, values=column).asfreq("D").to_numpy(dtype=float)[:days]
        seen = ~np.isnan(wide)
        made.append(make_corpus(column, replace(known, y=filled(wide, task.season), observed=seen & known.alive)))
    made += [make_corpus(name, snapshot) for name, snapshot in olist().items()]
    if config.families:
        made.append(make_corpus("families", simulated_families(config.families, FAMILY_DAYS, task.cutoffs[0], seed)))
    return [corpus for corpus in made if corpus is not None]


def olist() -> dict[str, Snapshot]:
    """Olist's orders by day and state, and by day and category; nothing where the data are not at hand."""
    if not OLIST.exists():
        return {}

    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(next(OLIST.glob(f"olist_{name}_dataset*")))

    orders = read("orders").merge(read("customers"), on="customer_id")
    items = read("order_items").merge(read("products"), on="product_id").merge(orders, on="order_id")
    found = {}
    for name, frame, key in (("olist states", orders, "customer_state"),
                             ("olist categories", items, "product_category_name")):  # fmt: skip
        day = pd.to_datetime(frame["order_purchase_timestamp"]).dt.normalize()
        daily = frame.groupby([day, frame[key]]).size().unstack(fill_value=0).asfreq("D", fill_value=0)
        found[name] = _dense(daily.loc["2017-01-05":"2018-08-29"], name)
    return found


def _dense(daily: pd.DataFrame, name: str) -> Snapshot:
    y = daily.to_numpy(dtype=float)
    days, series = y.shape
    manifest = Manifest(
        name, tuple(map(str, daily.columns)), daily.index[0].date(), days, days, (), (), 7, 1, (0.5,), seed=1
    )
    everything = np.ones(y.shape, dtype=bool)
    return Snapshot(manifest, y, everything, everything, np.zeros((days, series, 0)), np.zeros((series, series)))


def row(label: str, task: Task, panel: Panel, seed: int, options: dict[str, Any]) -> str:
    """SQL, MASE and WAPE over the windows, SQL by window, CPU seconds."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        snapshot = replace(panel.snapshot, manifest=replace(panel.snapshot.manifest, seed=seed))
        path = write(snapshot, Path(folder) / "snapshot")
        trained = config({"name": "transformer", **options})
        launch = Launch(path, folder, trained, tuple(task.cutoffs))
        train_rank(launch)
        losses = [_judge(task, panel, predict(launch.checkpoints, snapshot, day), day) for day in task.cutoffs]
    mean = mean_losses(losses)
    by_window = " ".join(f"{loss.sql:.3f}" for loss in losses)
    seconds = time.process_time() - began
    return f"{label:34} SQL {mean.sql:.4f} MASE {mean.mase:.4f} WAPE {mean.wape:.4f} [{by_window}] {seconds:.0f} s"


def _judge(task: Task, panel: Panel, values: Any, day: Any) -> Losses:
    history, truth = panel.window(day)
    return window_losses(truth, values, task.quantiles, seasonal_scale(history, task.season))


def write(snapshot: Snapshot, folder: Path) -> str:
    """A snapshot as Spark would write it."""
    manifest, days = snapshot.manifest, snapshot.manifest.n_history
    there = np.ones((manifest.n_total, len(manifest.regions)), dtype=bool)
    there[:days] = snapshot.alive
    day, region = np.nonzero(there)
    y, seen = np.full(there.shape, np.nan), np.zeros(there.shape, dtype=bool)
    y[:days], seen[:days] = snapshot.y, snapshot.observed
    columns = {"region_index": region, "date_index": day, "y": y[day, region], "observed": seen[day, region]}
    columns |= {name: snapshot.covariates[day, region, k] for k, name in enumerate(manifest.covariates)}
    (folder / "panel").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "panel" / "part-0.parquet")
    write_atomically(folder / "manifest.json", manifest.to_json().encode())
    return str(folder)


if __name__ == "__main__":
    main()
