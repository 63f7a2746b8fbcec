"""A network that begins with the weights of an earlier run, not with random ones; torch, no Spark.

Regions' own parameters go by name: a region that is new takes its neighbours' (see newcomers), one that is gone is
forgotten. The earlier checkpoint must have been made by the first cutoff of the new run, or the back-test would know
its future.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from stspark.errors import ConfigError
from stspark.models.deep.checkpoint import read_facts
from stspark.models.deep.network import by_region
from stspark.models.deep.newcomers import filled, neighbours
from stspark.models.deep.registry import Ensemble
from stspark.models.deep.windows import Base, Scaler
from stspark.snapshot import Manifest

FIX = "leave out warm_start, or name the checkpoints of a run with the same network, base and covariates"


def latest_checkpoint(folder: Path, cutoff: date) -> date:
    """The newest cutoff that `folder` has a checkpoint of, not after `cutoff`; ConfigError where there is none."""
    days = [date.fromisoformat(file.stem) for file in folder.glob("????-??-??.json")]
    usable = [day for day in days if day <= cutoff]
    if not usable:
        found = f" made by {cutoff}; the first of {len(days)} is of {min(days)}" if days else ""
        fix = "name an older run's folder of checkpoints"
        raise ConfigError(f"warm_start: {folder}", f"has no checkpoint{found}", fix)
    return max(usable)


def begin_from(network: Ensemble, folder: Path, cutoff: date, manifest: Manifest, base: Base) -> None:
    """Load the checkpoint's weights into `network`; ConfigError if it is of another size, base or other covariates.

    Where the checkpoint knows none of the regions, their own parameters stay random.
    """
    facts = known_covariates(folder, cutoff, manifest)
    learned = Scaler.from_dict(facts["scaler"]).base
    if learned != base:
        raise ConfigError(f"warm_start: {folder / f'{cutoff}.json'}", f"was trained with base '{learned}'", FIX)
    weights = load((folder / f"{cutoff}.safetensors").read_bytes())
    _check_size(network, weights, folder / f"{cutoff}.json")
    place = {name: k for k, name in enumerate(facts["regions"])}
    known = torch.tensor([name in place for name in manifest.regions])
    source = torch.tensor([place.get(name, 0) for name in manifest.regions])
    own, graph = by_region(network), neighbours(manifest)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name not in own:
                parameter.copy_(weights[name])
            elif bool(known.any()):
                parameter.copy_(filled(weights[name][source], known, graph))


def known_covariates(folder: Path, cutoff: date, manifest: Manifest) -> dict[str, Any]:
    """The checkpoint's facts; ConfigError if it was trained with other covariates than the snapshot has."""
    facts = read_facts(folder, cutoff)
    if facts["covariates"] != list(manifest.covariates):
        file = folder / f"{cutoff}.json"
        raise ConfigError(f"warm_start: {file}", f"was trained with covariates {facts['covariates']}", FIX)
    return facts


def _check_size(network: Ensemble, weights: dict[str, Any], file: Path) -> None:
    own = by_region(network)
    for name, parameter in network.named_parameters():
        skip = 1 if name in own else 0
        if name not in weights or weights[name].shape[skip:] != parameter.shape[skip:]:
            raise ConfigError(f"warm_start: {file}", f"does not fit the network at {name}", FIX)
