"""Pretrained encoders on disk: `NAME.safetensors` with the weights, `NAME.json` with how they came about; no Spark.

The manifest is written last and holds the weights' hash: without it, or with another file's, there is no checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from stspark.errors import ConfigError
from stspark.models.deep.pretraining import Restorer
from stspark.models.deep.registry import Ensemble
from stspark.models.deep.transformer import Encoder
from stspark.snapshot import write_atomically

FORMAT = 1
REMEDY = "name a .safetensors file that jobs/pretrain.py has written, or leave the key out"


def save_pretrained(path: Path, restorer: Restorer, facts: dict[str, Any]) -> dict[str, Any]:
    """Write weights and manifest (`facts`: size, as_of, key and what else is to be told); return the manifest."""
    weights = {name: value.detach().cpu().contiguous() for name, value in restorer.encoder.state_dict().items()}
    content = save(weights)
    whole = facts | {"format": FORMAT, "sha256": hashlib.sha256(content).hexdigest()}
    manifest_path(path).unlink(missing_ok=True)
    write_atomically(path, content)
    write_atomically(manifest_path(path), json.dumps(whole, indent=1).encode())
    return whole


def manifest_path(path: Path) -> Path:
    """The manifest beside a checkpoint."""
    return path.with_suffix(".json")


def read_manifest(path: str, where: str = "pretrained") -> dict[str, Any]:
    """Return the manifest of a checkpoint; ConfigError where it is missing or of another format. where: the key."""
    file = manifest_path(Path(path))
    if Path(path).suffix != ".safetensors" or not Path(path).is_file() or not file.is_file():
        raise ConfigError(where, f"{path} is no pretrained checkpoint with its manifest", REMEDY)
    try:
        manifest = json.loads(file.read_text())
    except ValueError as error:
        raise ConfigError(where, f"{file} is not JSON", REMEDY) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or "sha256" not in manifest:
        raise ConfigError(where, f"{file} is no manifest of format {FORMAT}", REMEDY)
    return manifest


def check_pretrained(path: str, size: str, where: str) -> None:
    """ConfigError unless `path` holds an encoder of this size, and the bytes that its manifest speaks of."""
    manifest = read_manifest(path, where)
    found = manifest.get("size")
    if found != size:
        raise ConfigError(where, f"{path} holds size '{found}', the config asks for '{size}'", "set size to the same")
    _read_content(path, manifest, where)


def _read_content(path: str, manifest: dict[str, Any], where: str = "pretrained") -> bytes:
    """Return the file's bytes; ConfigError where the manifest speaks of others."""
    content = Path(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise ConfigError(where, f"{path} is not the file that its manifest speaks of", REMEDY)
    return content


def pretrained_key(path: str, cutoff: date, where: str = "pretrained") -> str:
    """Hash of the weights; ConfigError if they were made with days after `cutoff`, which a back-test may not know."""
    manifest = read_manifest(path, where)
    if date.fromisoformat(manifest["as_of"]) > cutoff:
        raise ConfigError(
            where,
            f"{path} knows days up to {manifest['as_of']}, the first cutoff is {cutoff}",
            f"run jobs/pretrain.py with --as-of {cutoff} or earlier, and name that checkpoint",
        )
    return str(manifest["sha256"])


def begin_from_pretrained(network: Ensemble, path: str) -> None:
    """Load the encoder into every member of a transformer ensemble; ConfigError where it does not fit."""
    content = _read_content(path, read_manifest(path))
    try:
        weights = load(content)
    except SafetensorError as error:
        raise ConfigError("pretrained", f"{path} is no safetensors file ({error})", REMEDY) from error
    for encoder in encoders(network):
        own = encoder.state_dict()
        for name, value in own.items():
            if name not in weights or weights[name].shape != value.shape:
                raise ConfigError("pretrained", f"{path} does not fit the network at {name}", REMEDY)
        encoder.load_state_dict({name: weights[name] for name in own})


def encoders(network: Ensemble) -> list[Encoder]:
    """What pretraining taught of every member."""
    found = [member.encoder for member in network.members]
    assert all(isinstance(encoder, Encoder) for encoder in found)
    return found  # type: ignore[return-value]


def freeze_encoders(network: Ensemble, frozen: bool) -> None:
    """Whether only the heads may learn."""
    for encoder in encoders(network):
        for parameter in encoder.parameters():
            parameter.requires_grad_(not frozen)
