"""What driver and ranks of the global model's training must agree on: the configuration and one launch of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from stspark import recipe
from stspark.models.deep.checkpoint import is_finished
from stspark.models.deep.pretrained import pretrained_key
from stspark.models.deep.registry import NETWORKS, NetworkConfig, network_config, network_options
from stspark.models.deep.stcnn import STCNNConfig
from stspark.models.deep.warm_start import known_covariates, latest_checkpoint
from stspark.models.deep.windows import Base
from stspark.models.panel.seasons.earlier import SHORTEST
from stspark.options import Count, CountOrNone, NotNegative, Positive, typed
from stspark.snapshot import Manifest, cut


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    gpu: auto, always or never; processes: ranks; batch: windows of `window` origin days each that one step of
    the optimiser takes, spread over the ranks. More processes change rounding, not what is learned from (but with
    regions in parts: then a step is over as many parts as there are ranks).
    base: what the network's forecasts are added to: what shared seasons expect, or the mean of the last same weekdays;
    seeds: networks whose forecasts are averaged; patience: epochs without a better loss on held-out days (the
    last `validation` origins before the first cutoff) after which a trial ends: the network then learns from all days
    for as many epochs as those gained from, and for later cutoffs no more; 0: no trial, all epochs;
    warm_start: folder of an older run's checkpoints to begin from, `fine_tune_epochs` a cutoff;
    pretrained: a transformer's checkpoint of jobs/pretrain.py to begin from: the head alone learns for
    `head_epochs`, then everything;
    regions_at_once: more regions than this are seen in equal parts of at most so many; 0 sees any number at once;
    precision: bf16 (on a GPU only) or fp32; compile: torch.compile, on a GPU only.
    """

    gpu: str = "auto"
    processes: Count = 2
    base: Base = "shared_seasons"
    epochs: Count = 40
    fine_tune_epochs: CountOrNone = 6
    learning_rate: Positive = 4e-3
    weight_decay: NotNegative = 1e-2
    window: Count = 28
    batch: Count = 4
    seeds: Count = 1
    patience: CountOrNone = 0
    validation: Count = 28
    warm_start: str = ""
    pretrained: str = ""
    head_epochs: CountOrNone = 5
    regions_at_once: CountOrNone = 250
    precision: Literal["bf16", "fp32"] = "bf16"
    compile: bool = False
    name: str = "stcnn"
    network: NetworkConfig = field(default_factory=STCNNConfig)


def usual_patience(horizon: int, season: int) -> int:
    """A trial (see TrainingConfig) beyond two seasons ahead, where history has few independent stretches; else none."""
    return 5 if horizon > 2 * season else 0


def config_of(name: str, options: Mapping[str, Any], where: str, usual: Mapping[str, Any]) -> TrainingConfig:
    """A network's options, its own and the training's, over how such a network is trained and `usual`.

    ConfigError, naming a key below `where`, for an unknown or unusable one.
    """
    own = {key: value for key, value in options.items() if key in network_options(name)}
    rest = {key: value for key, value in options.items() if key not in own}
    network = network_config(name, own, where)
    return replace(
        typed(TrainingConfig, {**usual, "name": name, **NETWORKS[name].training, **rest}, where), network=network
    )


@dataclass(frozen=True)
class Launch:
    """What all ranks of one launch are told: where the snapshot and results lie, what to train, on which device.

    start: how many of the first cutoffs have a checkpoint already (told, so that all ranks agree).
    """

    snapshot_path: str
    out: str
    config: TrainingConfig
    cutoffs: tuple[date, ...]
    cuda: bool = False
    start: int = 0

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return Path(self.out) / "checkpoints"

    @property
    def progress(self) -> Path:
        """File that rank 0 adds a line of JSON to after every epoch."""
        return Path(self.out) / "progress.jsonl"

    @property
    def state(self) -> Path:
        """File of the training's whole state within a cutoff, from which a killed one goes on."""
        return Path(self.out) / "state.pt"

    @property
    def errors(self) -> Path:
        """Folder where a failing rank leaves rank-K.txt."""
        return Path(self.out) / "errors"

    def base(self, manifest: Manifest) -> Base:
        """What forecasts are added to at all cutoffs: shared seasons only where enough origins before the first one,
        a horizon of them and more, could learn above seasons."""
        enough = manifest.days_until(self.cutoffs[0]) >= SHORTEST + 2 * manifest.horizon
        return self.config.base if enough else "seasonal_mean"

    def parts(self, manifest: Manifest) -> list[slice]:
        """The parts that the regions are seen in."""
        return cut(len(manifest.regions), self.config.regions_at_once)

    def key(self, manifest: Manifest, position: int) -> str:
        """Hash of all that decides the weights of the cutoff at `position`: data, config, cutoffs up to it, code."""
        begin = pretrained_key(self.config.pretrained, self.cutoffs[0]) if self.config.pretrained else ""
        config = asdict(self.config) | {"gpu": None, "pretrained": begin}
        chain = [cutoff.isoformat() for cutoff in self.cutoffs[: position + 1]]
        begun = _facts_of(self.config.warm_start, self.cutoffs[0], manifest)
        text = json.dumps([recipe.networks(), manifest.to_json(), config, chain, begun], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def epochs(self, position: int) -> int:
        """Epochs for the cutoff at `position`, at most, with those of a trial and of a pretrained network's head."""
        if position or self.config.warm_start:
            return self.config.fine_tune_epochs
        each = self.config.epochs + (self.config.head_epochs if self.config.pretrained else 0)
        return 2 * each if self.config.patience else each

    def finished(self, manifest: Manifest) -> int:
        """How many of the first cutoffs have their checkpoint already."""
        for position, cutoff in enumerate(self.cutoffs):
            if not is_finished(self.checkpoints, cutoff, self.key(manifest, position)):
                return position
        return len(self.cutoffs)


def _facts_of(warm_start: str, cutoff: date, manifest: Manifest) -> str:
    """Key of the checkpoint that a training begins from, so that another one is another training."""
    if not warm_start:
        return ""
    older = Path(warm_start)
    return str(known_covariates(older, latest_checkpoint(older, cutoff), manifest)["key"])
