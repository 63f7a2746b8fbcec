"""Checkpoints of the global network, one per cutoff, and forecasts from them; no Spark.

`<cutoff>.safetensors` holds the weights, `<cutoff>.json` the scaler, the network's size and
how it was trained. The JSON is written last, by rename: a checkpoint without it does not exist.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from stspark.models.deep.forecast import forecast
from stspark.models.deep.network import by_region
from stspark.models.deep.registry import Ensemble, NetworkConfig, build_ensemble, network_config
from stspark.models.deep.windows import Scaler
from stspark.snapshot import Floats, Manifest, Snapshot, split, write_atomically

CPU = torch.device("cpu")


@dataclass(frozen=True)
class TrainedWith:
    """How a checkpoint came about. key: hash of data, config and the cutoffs before it; epochs: that were run;
    loss: mean pinball loss of the last one, in spreads; parts: that the regions were seen in, one at a time; gained:
    epochs that held-out days gained from (0: not known)."""

    key: str
    data_version: str
    epochs: int
    loss: float
    name: str
    seeds: int
    network: NetworkConfig
    parts: int = 1
    gained: int = 0


def save_checkpoint(
    file: tuple[Path, date], network: Ensemble, scaler: Scaler, how: TrainedWith, manifest: Manifest
) -> None:
    """Write the checkpoint of a (folder, cutoff), replacing an older one."""
    folder, cutoff = file
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    facts = asdict(how) | {"cutoff": cutoff.isoformat(), "scaler": scaler.to_dict()}
    facts |= {"regions": list(manifest.regions), "covariates": list(manifest.covariates)}
    _facts_path(folder, cutoff).unlink(missing_ok=True)
    write_atomically(folder / f"{cutoff}.safetensors", save(weights))
    write_atomically(_facts_path(folder, cutoff), json.dumps(facts).encode())


def read_facts(folder: Path, cutoff: date) -> dict[str, Any]:
    """Return what `<cutoff>.json` says; FileNotFoundError where the checkpoint does not exist."""
    facts: dict[str, Any] = json.loads(_facts_path(folder, cutoff).read_text())
    return facts


def is_there(folder: Path, cutoff: date) -> bool:
    """Tell whether a cutoff has a checkpoint."""
    return _facts_path(folder, cutoff).exists() and (folder / f"{cutoff}.safetensors").exists()


def is_finished(folder: Path, cutoff: date, key: str) -> bool:
    """Tell whether a cutoff has a checkpoint made with `key`."""
    return is_there(folder, cutoff) and read_facts(folder, cutoff)["key"] == key


def copy_checkpoint(file: tuple[Path, date], to: tuple[Path, date]) -> None:
    """Let a later cutoff be served by an earlier one's weights; what the copy says of itself stays as it was."""
    folder, cutoff = to
    folder.mkdir(parents=True, exist_ok=True)
    _facts_path(folder, cutoff).unlink(missing_ok=True)
    write_atomically(folder / f"{cutoff}.safetensors", (file[0] / f"{file[1]}.safetensors").read_bytes())
    write_atomically(_facts_path(folder, cutoff), _facts_path(*file).read_bytes())


def trained_parts(folder: Path, cutoff: date) -> list[slice]:
    """The parts of the regions that a cutoff's network has seen, one at a time; it forecasts them so, too."""
    facts = read_facts(folder, cutoff)
    return split(len(facts["regions"]), facts.get("parts", 1))


def load_checkpoint(folder: Path, snapshot: Snapshot, cutoff: date) -> tuple[Ensemble, Scaler]:
    """Return the network and scaler of a cutoff, for the regions of `snapshot`: all that it was trained on, or some."""
    facts = read_facts(folder, cutoff)
    config = network_config(facts["name"], facts["network"], str(_facts_path(folder, cutoff)))
    network = build_ensemble(facts["name"], config, facts["seeds"], snapshot.manifest, snapshot.weights)
    chosen = load_weights(network, folder, cutoff, snapshot.manifest)
    return network, Scaler.from_dict(facts["scaler"]).of(chosen)


def load_weights(network: Ensemble, folder: Path, cutoff: date, manifest: Manifest) -> list[int]:
    """Load a cutoff's weights into `network`; return the places of the manifest's regions among the checkpoint's."""
    place = {name: k for k, name in enumerate(read_facts(folder, cutoff)["regions"])}
    chosen = [place[name] for name in manifest.regions]
    weights = load((folder / f"{cutoff}.safetensors").read_bytes())
    network.load_state_dict(weights | {name: weights[name][chosen] for name in by_region(network)})
    return chosen


def predict(folder: Path, snapshot: Snapshot, cutoff: date, device: torch.device = CPU) -> Floats:
    """Forecast from a cutoff's checkpoint: [R, H, 1 + Q] point forecast and quantiles; see `forecast`."""
    network, scaler = load_checkpoint(folder, snapshot, cutoff)
    return forecast(network.to(device), snapshot.known_on(cutoff), scaler)


def _facts_path(folder: Path, cutoff: date) -> Path:
    return folder / f"{cutoff}.json"
