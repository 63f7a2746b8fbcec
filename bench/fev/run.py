"""One task through the seasonal naive and each global model: losses by window, and the seconds they took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.fev.metrics import Losses, mean_losses, seasonal_scale, window_losses
from bench.fev.naive import seasonal_naive
from bench.fev.panel import Panel
from bench.fev.task import Task
from stspark.models.panel.registry import build

NAIVE = "seasonal_naive"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """A model's losses: windows in order of their cutoffs, and their mean; seconds: wall time of all windows."""

    model: str
    windows: tuple[Losses, ...]
    seconds: float

    @property
    def mean(self) -> Losses:
        return mean_losses(self.windows)

    def to_dict(self) -> dict[str, Any]:
        windows = [asdict(w) for w in self.windows]
        return {"model": self.model, "mean": asdict(self.mean), "windows": windows, "seconds": round(self.seconds, 1)}


def run_naive(task: Task, panel: Panel) -> Result:
    """The seasonal naive with statsforecast's intervals."""

    def forecast(k: int) -> Floats:
        history, _ = panel.window(task.cutoffs[k])
        return seasonal_naive(history, task.horizon, task.season, task.quantiles)

    return _windows(NAIVE, task, panel, forecast)


def run_model(label: str, task: Task, panel: Panel) -> Result:
    """The global model that the task calls `label`, fitted anew at every cutoff on what was known then."""
    options = dict(task.models[label])
    model = build(str(options.pop("name", label)), options)

    def forecast(k: int) -> Floats:
        known = panel.snapshot.known_on(task.cutoffs[k])
        return model.predict(model.fit(known), known, task.quantiles)

    return _windows(label, task, panel, forecast)


def _windows(label: str, task: Task, panel: Panel, forecast: Callable[[int], Floats]) -> Result:
    begun = time.monotonic()
    losses = []
    for k, cutoff in enumerate(task.cutoffs):
        history, truth = panel.window(cutoff)
        losses.append(window_losses(truth, forecast(k), task.quantiles, seasonal_scale(history, task.season)))
    return Result(label, tuple(losses), time.monotonic() - begun)
