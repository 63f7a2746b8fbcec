"""What one rank of a global network's training does: pure torch, no Spark.

All cutoffs are served in one launch, in time order: training in full on the windows that end by the first
cutoff, then a few epochs more for every later one, from the weights before. Each cutoff leaves a checkpoint;
a later launch goes on after the last finished one, and within a cutoff after the last saved epoch. The numbers
depend on data, config and number of processes only: seeds are fixed, each rank computes with one thread, and
the order of windows is the same on every rank.
"""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from stspark.models.deep.checkpoint import TrainedWith, load_weights, read_facts, save_checkpoint
from stspark.models.deep.newcomers import settle_newcomers
from stspark.models.deep.pretrained import begin_from_pretrained, freeze_encoders
from stspark.models.deep.registry import Ensemble, build_ensemble
from stspark.models.deep.warm_start import begin_from, latest_checkpoint
from stspark.snapshot import load_manifest, weights_of, write_atomically
from stspark.training.fit import Fit, Say, Stage
from stspark.training.parts import Panel, Regions
from stspark.training.plan import Launch
from stspark.training.rank import Rank, Report, join
from stspark.training.state import Keeper, Progress

FINE_TUNE_RATE = 0.3


def train_rank(launch: Launch) -> None:
    """Train as one rank of a launch (torchrun sets RANK and WORLD_SIZE; alone without them).

    A failure's traceback goes to `errors/rank-K.txt` before it is raised again, since the launcher hides it.
    """
    index = int(os.environ.get("RANK", "0"))
    try:
        rank = join(launch)
        _train(launch, rank)
    except Exception:
        text = f"{time.time():.6f}\n{traceback.format_exc()}"
        write_atomically(launch.errors / f"rank-{index}.txt", text.encode())
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _train(launch: Launch, rank: Rank) -> None:
    config, manifest = launch.config, load_manifest(launch.snapshot_path)
    parts = launch.parts(manifest)
    torch.manual_seed(manifest.seed)
    network = build_ensemble(config.name, config.network, config.seeds, manifest, weights_of(manifest.of(parts[0])))
    gained = 0
    if launch.start:
        last = launch.cutoffs[launch.start - 1]
        load_weights(network, launch.checkpoints, last, manifest)
        gained = int(read_facts(launch.checkpoints, last)["gained"])
    elif config.warm_start:
        older = Path(config.warm_start)
        begun = latest_checkpoint(older, launch.cutoffs[0])
        gained = int(read_facts(older, begun).get("gained", 0))
        begin_from(network, older, begun, manifest, launch.base(manifest))
    elif config.pretrained:
        begin_from_pretrained(network, config.pretrained)
    network.to(rank.device)
    report = Report(launch, rank)
    regions = Regions(launch.snapshot_path, manifest, parts)
    for position in range(launch.start, len(launch.cutoffs)):
        gained = _train_cutoff(launch, (position, gained), regions, network, (rank, report))


def _train_cutoff(
    launch: Launch, at: tuple[int, int], regions: Regions, network: Ensemble, by: tuple[Rank, Report]
) -> int:
    """Train `network` in place for a cutoff and leave its checkpoint; see `_fit` for `at`, return its number anew."""
    (rank, report), position = by, at[0]
    cutoff, config, manifest = launch.cutoffs[position], launch.config, regions.manifest
    panel = Panel(regions, cutoff, rank.device, launch.base(manifest))
    key = launch.key(manifest, position)

    def say(epoch: int, epochs: int, loss: float, samples: int) -> None:
        row = {"cutoff": cutoff.isoformat(), "epoch": epoch, "epochs": epochs, "loss": round(loss, 6)}
        report.add(row, samples)

    fit = Fit(panel, config, rank, (manifest.seed, panel.days))
    keeper = Keeper(launch.state, f"{key}/{rank.world}", rank.index == 0)
    done = _fit(fit, network, at, keeper, say)
    settle_newcomers(network, panel.taught, manifest)
    if rank.index == 0:
        facts = (config.name, config.seeds, config.network)
        how = TrainedWith(key, manifest.data_version, done.epoch, done.loss, *facts, panel.parts, done.gained)
        save_checkpoint((launch.checkpoints, cutoff), network, panel.scaler, how, manifest)
        keeper.clear()
    return done.gained


def _fit(fit: Fit, network: Ensemble, at: tuple[int, int], keeper: Keeper, say: Say) -> Progress:
    """The first cutoff in full, for as many epochs as days gained from that were held out in a trial before. Later
    ones, and with weights of an earlier run the first too, a little more, yet no more epochs than that. at: position
    of the cutoff, and that number (0: not known)."""
    config, (position, gained) = fit.config, at
    if position or config.warm_start:
        epochs = min(config.fine_tune_epochs, gained or config.fine_tune_epochs)
        return fit.run(network, Stage(config.learning_rate * FINE_TUNE_RATE, epochs, gained=gained), keeper, say)
    begun = keeper.progress() or keeper.named("head").progress()
    if begun is not None:
        gained = begun.gained
    elif config.patience:
        start = {name: value.clone() for name, value in network.state_dict().items()}
        trial = _fit_in_full(fit, network, Stage(config.learning_rate, config.epochs, True), keeper.named("trial"), say)
        if not trial.gained:  # too little history to hold out any: it was no trial
            return trial
        network.load_state_dict(start)
        gained = trial.gained
    return _fit_in_full(fit, network, Stage(config.learning_rate, gained or config.epochs, gained=gained), keeper, say)


def _fit_in_full(fit: Fit, network: Ensemble, stage: Stage, keeper: Keeper, say: Say) -> Progress:
    """Train for a stage; of a pretrained network the head alone before that."""
    if fit.config.pretrained and fit.config.head_epochs and keeper.progress() is None:
        head = replace(stage, epochs=fit.config.head_epochs)
        _fit_head(fit, network, head, keeper.named("head"), say)
    return fit.run(network, stage, keeper, say)


def _fit_head(fit: Fit, network: Ensemble, stage: Stage, keeper: Keeper, say: Say) -> None:
    """The new parts alone, so that their first steps do not spoil what pretraining taught the encoder."""
    freeze_encoders(network, True)
    fit.run(network, stage, keeper, say)
    freeze_encoders(network, False)
