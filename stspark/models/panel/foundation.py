"""Published pretrained forecasters from a folder on this machine: Chronos-Bolt, Chronos-2, TimesFM. Zero-shot.

Chronos (Ansari et al. 2024, https://arxiv.org/abs/2403.07815; Chronos-2, 2025, https://arxiv.org/abs/2510.15821) by the
library chronos-forecasting (extra `chronos`), TimesFM (Das et al. 2024, https://arxiv.org/abs/2310.10688) by
transformers (extra `timesfm`). The folder is what their publishers give out: config.json and *.safetensors. Nothing is
ever downloaded: the libraries are put offline before they are imported, and weights in pickles are refused. Days that
were not observed are unknown to Chronos; TimesFM, which knows no gaps, sees their fills. Chronos-2 reads the
known-future covariates. Shapes: T days, R regions, H horizon, K covariates, L levels that the checkpoint has.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from stspark.errors import ConfigError
from stspark.models.base import Floats, Parameters
from stspark.snapshot import Snapshot

WHERE = "models.foundation.path"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
LIBRARIES = {"chronos": ("chronos", "chronos"), "timesfm": ("transformers", "timesfm")}
"""Family: the module that loads it, the extra of setup.py that installs it."""


@dataclass(frozen=True)
class Foundation:
    """path: the checkpoint's folder; context: days that it is shown at most (0: as many as it takes)."""

    path: str
    context: int = 0

    def __post_init__(self) -> None:
        module, extra = LIBRARIES[family(self.path)]
        if importlib.util.find_spec(module) is None:
            lack = f"{self.path} needs the library '{module}', which is not installed"
            raise ConfigError(WHERE, lack, f"pip install 'stspark[{extra}]' wherever Spark runs Python")

    @property
    def name(self) -> str:
        return "foundation"

    @property
    def min_length(self) -> int:
        return 14

    @property
    def carries_forward(self) -> bool:
        return True

    def fit(self, panel: Snapshot) -> Parameters:
        """Nothing is fitted; the parameters tell which checkpoint it was."""
        facts = _config(self.path)
        kind = facts.get("chronos_pipeline_class") or (facts.get("architectures") or [family(self.path)])[0]
        return {"path": str(Path(self.path).absolute()), "kind": kind}

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        started = np.flatnonzero(panel.alive[-1])
        out = np.full((panel.y.shape[1], panel.manifest.horizon, 1 + len(quantiles)), np.nan)
        if len(started) == 0:
            return out
        ask = {"chronos": _ask_chronos, "timesfm": _ask_timesfm}[family(self.path)]
        levels, values = ask(str(Path(self.path).absolute()), panel, started, self.context)
        out[started, :, 0] = at_levels(levels, values, [0.5])[..., 0]
        out[started, :, 1:] = at_levels(levels, values, quantiles)
        return out


def family(path: str) -> str:
    """chronos or timesfm, by the folder's config.json; ConfigError where it is neither or has no safe weights."""
    facts = _config(path)
    if not any(Path(path).glob("*.safetensors")):
        raise ConfigError(WHERE, f"{path} holds no .safetensors file", "convert the weights; pickles are not loaded")
    if "chronos_config" in facts or "chronos_pipeline_class" in facts:
        return "chronos"
    if str(facts.get("model_type", "")).startswith("timesfm"):
        return "timesfm"
    kind = facts.get("model_type", "unknown")
    raise ConfigError(WHERE, f"{path} is of kind '{kind}'", "give a checkpoint of Chronos-Bolt, Chronos-2 or TimesFM")


def _config(path: str) -> dict[str, Any]:
    file = Path(path) / "config.json"
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        remedy = "name the folder of a checkpoint on this machine; nothing is downloaded"
        raise ConfigError(WHERE, f"{file} is not there", remedy) from error
    except ValueError as error:
        raise ConfigError(WHERE, f"{file} is not JSON", "put the published file there") from error
    return facts if isinstance(facts, dict) else {}


def at_levels(levels: Sequence[float], values: Floats, wanted: Sequence[float]) -> Floats:
    """[..., L] -> [..., Q]: between its levels straight in normal scores, outside them on by the outermost's distance
    from the median, as a normal distribution would; rising along Q."""
    order = np.argsort(levels)
    z, sorted_values = norm.ppf(np.asarray(levels)[order]), np.sort(values[..., order], axis=-1)
    asked = norm.ppf(np.asarray(wanted))
    columns = [_between(z, sorted_values, float(a)) for a in asked]
    return np.stack(columns, axis=-1)


def _between(z: Floats, values: Floats, asked: float) -> Floats:
    if z[0] < asked < z[-1] or len(z) == 1:
        k = int(np.clip(np.searchsorted(z, asked), 1, max(len(z) - 1, 1)))
        if len(z) == 1:
            return np.asarray(values[..., 0])
        share = (asked - z[k - 1]) / (z[k] - z[k - 1])
        return np.asarray((1 - share) * values[..., k - 1] + share * values[..., k])
    edge = 0 if asked <= z[0] else -1
    middle = _between(z, values, 0.0) if z[0] < 0.0 < z[-1] else values[..., edge]
    reach = asked / z[edge] if z[edge] != 0 else 1.0
    return np.asarray(middle + (values[..., edge] - middle) * reach)


@functools.lru_cache(maxsize=1)
def _chronos(path: str) -> Any:
    """The pipeline of a folder; which one, its config says."""
    library = _offline("chronos")
    return library.BaseChronosPipeline.from_pretrained(path, local_files_only=True, use_safetensors=True)


@functools.lru_cache(maxsize=1)
def _timesfm(path: str) -> Any:
    library = _offline("transformers")
    newer = _config(path)["model_type"] != "timesfm"
    kind = library.TimesFm2_5ModelForPrediction if newer else library.TimesFmModelForPrediction
    return kind.from_pretrained(path, local_files_only=True, use_safetensors=True).eval()


def _offline(module: str) -> Any:
    """Import a library that could download, after it has been told not to."""
    import torch

    os.environ.update(OFFLINE)
    torch.set_num_threads(1)  # the same sums in the same order on every machine
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    return importlib.import_module(module)


def _ask_chronos(path: str, panel: Snapshot, regions: Any, context: int) -> tuple[list[float], Floats]:
    """Levels [L] and values [R', H, L] of the regions that have started."""
    import torch

    pipeline, horizon = _chronos(path), panel.manifest.horizon
    past = np.where(panel.observed & panel.alive, panel.y, np.nan)
    series = [_recent(past[:, r], panel.alive[:, r], context) for r in regions]
    if "2" in type(pipeline).__name__:
        asked = [_with_covariates(s, panel, int(r)) for s, r in zip(series, regions, strict=True)]
        made = [values[0].numpy().T for values in pipeline.predict(asked, prediction_length=horizon)]  # [H, L]
    else:
        given = [torch.tensor(s, dtype=torch.float32) for s in series]
        made = list(pipeline.predict(given, prediction_length=horizon).numpy().transpose(0, 2, 1))
    return list(pipeline.quantiles), np.stack(made).astype(np.float64)


def _with_covariates(y: Floats, panel: Snapshot, region: int) -> dict[str, Any]:
    """A task of Chronos-2: the target, and the covariates of its days and of the horizon."""
    days, horizon = len(panel.y), panel.manifest.horizon
    found: dict[str, Any] = {"target": y.astype(np.float32)}
    if not panel.manifest.covariates:
        return found
    past, future = {}, {}
    for k, name in enumerate(panel.manifest.covariates):
        column = np.full(days + horizon, np.nan)
        column[: len(panel.covariates)] = panel.covariates[: days + horizon, region, k]
        column = np.nan_to_num(column).astype(np.float32)
        past[name], future[name] = column[days - len(y) : days], column[days:]
    return found | {"past_covariates": past, "future_covariates": future}


def _ask_timesfm(path: str, panel: Snapshot, regions: Any, context: int) -> tuple[list[float], Floats]:
    """The same from TimesFM, whose first output is the mean; a horizon beyond its own goes on from the median."""
    import torch

    model = _timesfm(path)
    levels, horizon = list(model.config.quantiles), panel.manifest.horizon
    series = [_recent(panel.y[:, r], panel.alive[:, r], context) for r in regions]
    parts: list[Floats] = []
    while sum(part.shape[1] for part in parts) < horizon:
        with torch.no_grad():
            made = model(past_values=[torch.tensor(s, dtype=torch.float32) for s in series]).full_predictions
        part = made.double().numpy()[..., 1:]  # [R', its horizon, L]
        parts.append(part)
        middle = at_levels(levels, part, [0.5])[..., 0]
        series = [np.concatenate([s, m]) for s, m in zip(series, middle, strict=True)]
    return levels, np.concatenate(parts, axis=1)[:, :horizon]


def _recent(y: Floats, alive: Any, context: int) -> Floats:
    """[≤ T] from the region's first day on, the last `context` days at most."""
    since = y[int(np.argmax(alive)) :]
    return since[-context:] if context else since
