"""One try of one model at one cutoff, in this process: fit where needed, forecast, check. No Spark."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from stspark.models.base import Forecast, Forecaster, Future, Parameters, Series

EXPLOSIVE = 100.0
"""A forecast beyond this multiple of the largest past value is refused."""


class FitTimeout(BaseException):
    """A fit took longer than it may; not an Exception, so that a model that swallows those is stopped as well."""


class Skipped(Exception):
    """A model that cannot be tried on this history."""


class Failed(Exception):
    """What a model did wrong, in the words that are written down."""


@dataclass(frozen=True)
class Plan:
    """What to do with each region: cutoffs (oldest first; the last is the as-of day) and how to forecast."""

    cutoffs: tuple[np.datetime64, ...]
    horizon: int
    quantiles: tuple[float, ...]
    non_negative: bool
    fit_seconds: int
    fit_megabytes: int = 2048
    """Memory that a fit may take beyond what its process held before; only where fits have a process of their own."""
    refit: bool = False
    """Fit every model at every cutoff, also those that could carry their parameters forward."""


@dataclass(frozen=True)
class Region:
    """A region's whole past known on the as-of day, and the known-ahead columns up to a horizon after it.

    series: [n]; ahead: Future of [n + horizon] days starting with the series' first; closed: [n + horizon].
    """

    name: str
    series: Series
    ahead: Future
    closed: np.ndarray[Any, np.dtype[np.bool_]]

    def future(self, cutoff: np.datetime64, horizon: int) -> tuple[Future, np.ndarray[Any, np.dtype[np.bool_]]]:
        """What is known on `cutoff` of the `horizon` days after it."""
        start = int(np.searchsorted(self.ahead.dates, cutoff, side="right"))
        span = slice(start, start + horizon)
        known = Future(self.ahead.dates[span].copy(), self.ahead.covariates[span].copy(), self.ahead.holidays[span])
        return known, self.closed[span]


@dataclass(frozen=True)
class Made:
    """A forecast, and the parameters that it came from; fitted: they were estimated for it, not kept."""

    forecast: Forecast
    parameters: Parameters
    fitted: bool


Attempt = Callable[[Forecaster, Parameters | None, Region, np.datetime64, Plan], Made]
"""How a model is tried: (model, parameters to keep, region, cutoff, plan) -> Made.

Raises Skipped, FitTimeout or Failed (or, in this process, whatever the model raises).
"""


def attempt_here(model: Forecaster, kept: Parameters | None, region: Region, cutoff: np.datetime64, plan: Plan) -> Made:
    """Try the model in this process: a signal interrupts what runs too long, as soon as Python gets a turn."""
    history = region.series.until(cutoff)
    if len(history) < model.min_length:
        raise Skipped(f"needs {model.min_length} days of history, has {len(history)} on {history.dates[-1]}")
    with time_limit(plan.fit_seconds):
        parameters = storable(model.fit(history)) if kept is None else kept
        return Made(score(model, parameters, history, region, plan), parameters, kept is None)


def score(model: Forecaster, parameters: Parameters, history: Series, region: Region, plan: Plan) -> Forecast:
    """Forecast with given parameters the days after `history`; raise ValueError where the values make no sense."""
    future, closed = region.future(history.dates[-1], plan.horizon)
    made = model.predict(parameters, history, future, plan.quantiles)
    return sound(made, history, closed, plan)


def sound(made: Forecast, history: Series, closed: np.ndarray[Any, np.dtype[np.bool_]], plan: Plan) -> Forecast:
    """The forecast as it may be published: finite, not explosive, rising quantiles, 0 on closed days."""
    shape = (len(closed), len(plan.quantiles))
    if made.mean.shape != shape[:1] or made.quantiles.shape != shape:
        raise ValueError(
            f"forecast has shapes {made.mean.shape} and {made.quantiles.shape}, wanted {shape[:1]} and {shape}"
        )
    if not (np.isfinite(made.mean).all() and np.isfinite(made.quantiles).all()):
        raise ValueError("forecast holds values that are not finite")
    largest = float(np.abs(history.y).max())
    reach = float(max(np.abs(made.mean).max(), np.abs(made.quantiles).max()))
    if reach > EXPLOSIVE * max(largest, 1.0):
        raise ValueError(f"forecast explodes: {reach:.3g} after a past of at most {largest:.3g}")
    floor = 0.0 if plan.non_negative else -np.inf
    mean = np.where(closed, 0.0, np.maximum(made.mean, floor))
    quantiles = np.where(closed[:, None], 0.0, np.maximum(np.sort(made.quantiles, axis=1), floor))
    return Forecast(mean, quantiles)


def storable(parameters: Parameters) -> Parameters:
    """The parameters, if they can be stored as JSON; else ValueError."""
    try:
        json.dumps(parameters, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"parameters cannot be stored as JSON: {error}") from error
    return parameters


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise FitTimeout in the block after `seconds` (main thread of a Unix process; Python code and waits)."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise FitTimeout

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
