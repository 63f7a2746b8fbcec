"""What pretraining is worth: transformer from random weights beside pretrained, over seeds: python -m bench.pretraining

fev-bench's rohlik_orders_1D (five windows of 61 days): the encoder is pretrained on what the data held by the first
cutoff (the target and the numbers known for the past only) and on simulated families, then all are trained by the
package's own loop, in one process and without Spark. Olist's state-days and category-days join in where the data are
at hand. --horizon 7 forecasts the first seven days of every window alone. Both train as many epochs in all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
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
from bench.networks import config as training_config
from stspark.models.deep.checkpoint import predict
from stspark.models.deep.families import simulated_families
from stspark.models.deep.pretraining import Corpus, PretrainConfig, make_corpus
from stspark.options import typed
from stspark.pretraining.fit import Pretraining, pretrain
from stspark.snapshot import Manifest, Snapshot, write_atomically
from stspark.training.loop import train_rank
from stspark.training.plan import Launch, usual_patience

PAST = ("precipitation", "snow", "user_activity_1", "user_activity_2")
"""Rohlik's columns that are known up to the day itself."""
OLIST = Path("../shared/data/olist")
FAMILY_DAYS = 1100
TASK = "bench/fev/rohlik_orders_1D.yaml"
Options = dict[str, Any]
OPTIONS: Options = {"epochs": 12, "fine_tune_epochs": 3}
LEARNED: Options = {"epochs": 6}
"""What two cores do in a few minutes."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pretraining", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="options of the transformer")
    parser.add_argument("--pretrain", nargs="*", default=[], metavar="KEY=VALUE", help="options of the pretraining")
    parser.add_argument("--task", default=TASK, help=f"the windows; usually {TASK}")
    parser.add_argument("--horizon", type=int, default=61)
    parser.add_argument("--beside", nargs="*", default=[], help="further networks, as they are, with the first seed")
    parser.add_argument("--keep", type=Path, help="folder for the pretrained checkpoints, used again where they fit")
    given = parser.parse_args()
    torch.set_num_threads(1)
    task = read_task(given.task).model_copy(update={"horizon": given.horizon})
    options, learned = (dict(pair.split("=", 1) for pair in pairs) for pairs in (given.set, given.pretrain))
    for name in given.beside:
        print(row(name, judge(task, read_panel(task), 1, {"name": name})), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        if given.seeds:
            compare(task, given.seeds, OPTIONS | options, LEARNED | learned, given.keep or Path(scratch))


def compare(task: Task, seeds: Sequence[int], options: Options, learned: Options, home: Path) -> float:
    """Print a row for both, seed by seed; return by which share the pretrained ones' SQL is lower, over all seeds."""
    panel, config = read_panel(task), typed(PretrainConfig, learned, "pretrain")
    begun = training_config({"name": "transformer", **options})
    longer = {"epochs": begun.epochs + begun.head_epochs}  # as many epochs in all
    found: dict[str, list[Losses]] = {"random": [], "pretrained": []}
    for seed in seeds:
        path = (home / f"seed-{seed}.safetensors").absolute()
        print(pretrained(task, panel, (config, seed), path), flush=True)
        for label, more in (("random", longer), ("pretrained", {"pretrained": str(path)})):
            began = time.process_time()
            losses = judge(task, panel, seed, options | more)
            found[label].append(mean_losses(losses))
            line = row(f"transformer {label}, seed {seed}", losses)
            print(f"{line}, {time.process_time() - began:.0f} s", flush=True)
    for label, losses in found.items():
        print(row(f"transformer {label}, mean of {len(losses)} seeds", losses), flush=True)
    return 1.0 - mean_losses(found["pretrained"]).sql / mean_losses(found["random"]).sql


def pretrained(task: Task, panel: Panel, how: tuple[PretrainConfig, int], path: Path) -> str:
    """Pretrain with a config and seed into `path`, unless it is there; return what there is to say of it."""
    (config, seed), began = how, time.process_time()
    work = Pretraining(corpora(task, panel, config, seed), config, seed, task.cutoffs[0], f"{config} {task.cutoffs[0]}")
    loss = pretrain(work, path, torch.device("cpu"), lambda epoch, loss: None)["masked_loss"]
    series = f"{sum(c.size for c in work.corpora)} series in {len(work.corpora)} corpora"
    spent = time.process_time() - began
    return f"seed {seed}: {series}, masked loss {loss['before']:.4f} -> {loss['after']:.4f}, {spent:.0f} s"


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


def judge(task: Task, panel: Panel, seed: int, options: Options) -> list[Losses]:
    """Losses of the windows of a network that is trained at the first cutoff, and a little more at later ones.

    options: over the pipeline's usual ones for such a horizon.
    """
    options = {"name": "transformer", "patience": usual_patience(task.horizon, task.season)} | options
    with tempfile.TemporaryDirectory() as folder:
        snapshot = replace(panel.snapshot, manifest=replace(panel.snapshot.manifest, seed=seed))
        path = write(snapshot, Path(folder) / "snapshot")
        launch = Launch(path, folder, training_config(options), tuple(task.cutoffs))
        train_rank(launch)
        return [_judge(task, panel, predict(launch.checkpoints, snapshot, day), day) for day in task.cutoffs]


def row(label: str, losses: list[Losses]) -> str:
    mean = mean_losses(losses)
    each = " ".join(f"{loss.sql:.3f}" for loss in losses)
    return f"{label:36} SQL {mean.sql:.4f} MASE {mean.mase:.4f} WAPE {mean.wape:.4f} [{each}]"


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
