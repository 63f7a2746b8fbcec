"""One task through the seasonal naive and each panel model: losses by window, and the seconds taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
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
class Forecasts:
    """A model's [R, H, 1 + Q] of every window; seconds: wall time of all windows."""

    windows: tuple[Floats, ...]
    seconds: float


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

    def forecast(cutoff: date) -> Floats:
        history, _ = panel.window(cutoff)
        return seasonal_naive(history, task.horizon, task.season, task.quantiles)

    return scored(NAIVE, task, panel, forecast_windows(task, forecast))


def run_models(task: Task, panel: Panel) -> list[Result]:
    """The task's models, fitted anew at every cutoff on what was known then."""
    return [scored(label, task, panel, forecasts(label, task, panel)) for label in task.models]


def forecasts(label: str, task: Task, panel: Panel) -> Forecasts:
    """Those of the panel model that the task calls `label`."""
    options = dict(task.models[label])
    model = build(str(options.pop("name", label)), options)

    def forecast(cutoff: date) -> Floats:
        known = panel.snapshot.known_on(cutoff)
        return model.predict(model.fit(known), known, task.quantiles)

    return forecast_windows(task, forecast)


def scored(label: str, task: Task, panel: Panel, made: Forecasts) -> Result:
    """Losses of forecasts."""
    losses = []
    for cutoff, values in zip(task.cutoffs, made.windows, strict=True):
        history, truth = panel.window(cutoff)
        losses.append(window_losses(truth, values, task.quantiles, seasonal_scale(history, task.season)))
    return Result(label, tuple(losses), made.seconds)


def forecast_windows(task: Task, forecast: Callable[[date], Floats]) -> Forecasts:
    """What `forecast` makes of each cutoff, [R, H, 1 + Q], and the time it took."""
    begun = time.monotonic()
    windows = tuple(forecast(cutoff) for cutoff in task.cutoffs)
    return Forecasts(windows, time.monotonic() - begun)
