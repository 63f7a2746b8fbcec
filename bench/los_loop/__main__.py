"""Los-loop against the published models: python -m bench.los_loop [--seeds 3] [--only NAME…] [--out FILE]

Every network is chosen on the last fifth of the training part (recipe), then trained on the whole training part with
several seeds, whose forecasts are averaged. Nothing is chosen on the test part.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch

from bench.los_loop.learn import Recipe, forecaster, train
from bench.los_loop.protocol import DATA, UP_TO, Errors, Traffic, errors, last_value, load, mean_of_window
from bench.los_loop.sar import autoregression
from stspark.models.deep.recurrent import RecurrentConfig
from stspark.models.deep.stcnn import STCNNConfig

WIDE = STCNNConfig(channels=64, dilations=(1, 1), entry=4, across=1, embedding=8, nodes=8, dropout=0.25)
STCNN = Recipe("stcnn", WIDE, epochs=24, window=12, batch=4)
GRU = Recipe("gru", RecurrentConfig(channels=48, days=11, embedding=8), epochs=8, profile=True)
TGCN_GRU = Recipe("gru", RecurrentConfig(channels=48, days=11, embedding=0), epochs=8, profile=False)
RECIPES = {"stcnn": STCNN, "gru": GRU, "gru without profile and embedding": TGCN_GRU}
VALIDATION = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.los_loop", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="networks that are averaged")
    parser.add_argument(
        "--epochs", type=float, default=1.0, help="share of each recipe's epochs: less for a quick look"
    )
    parser.add_argument("--validate", action="store_true", help="train on 4/5 of the training part, judge on the rest")
    parser.add_argument("--only", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--data", type=Path, default=DATA, help="folder with los_speed.csv.gz and los_adj.csv")
    parser.add_argument("--out", type=Path, help="write the errors there as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    traffic = load(options.data)
    begin = int(traffic.split * VALIDATION) if options.validate else traffic.split
    end = traffic.split if options.validate else len(traffic.speed)
    found = {"mean of 12 steps (HA)": errors(traffic, mean_of_window(traffic), begin, end)}
    found["last value"] = errors(traffic, last_value(traffic), begin, end)
    found["SAR"] = errors(traffic, autoregression(traffic, begin), begin, end)
    found["SAR without neighbours"] = errors(traffic, autoregression(traffic, begin, neighbours=False), begin, end)
    for name, made in found.items():
        print(row(name, made, 0.0), flush=True)
    for name in options.only:
        found |= run(name, traffic, (begin, end), options)
    if options.out:
        options.out.write_text(json.dumps({name: asdict(made) for name, made in found.items()}, indent=1))


def run(name: str, traffic: Traffic, part: tuple[int, int], options: argparse.Namespace) -> dict[str, Errors]:
    """Errors of a recipe's first network and of the mean of all its seeds."""
    recipe, networks, began = RECIPES[name], [], time.monotonic()
    recipe = Recipe(**{**vars(recipe), "epochs": max(1, round(recipe.epochs * options.epochs))})
    found = {}
    for seed in range(options.seeds):
        networks.append((train(recipe, traffic, part[0], seed)[0], recipe.profile))
        label = f"{name}, {seed + 1} seed{'s' if seed else ''}"
        found[label] = errors(traffic, forecaster(networks, traffic, part[0]), *part)
        print(row(label, found[label], time.monotonic() - began), flush=True)
    return {label: made for label, made in found.items() if made is not None}


def row(name: str, made: Errors, seconds: float) -> str:
    """A line of the table: RMSE and MAE up to 3, 6, 9, 12 steps."""
    values = " ".join(f"{value:6.3f}" for value in (*made.rmse, *made.mae))
    return f"{name:44} {values}  {seconds:5.0f} s   (RMSE, MAE up to {', '.join(map(str, UP_TO))} steps)"


if __name__ == "__main__":
    main()
