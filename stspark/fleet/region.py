"""One region through one model: fits, back-test forecasts, and what to do when it fails. No Spark."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

from stspark.models.base import Forecast, Forecaster, Future, Parameters, Series
from stspark.names import NAIVE

EXPLOSIVE = 100.0
"""A forecast beyond this multiple of the largest past value is refused."""
STATE = "state"
"""Entry of a model's parameters that is for scoring only, not for reading."""


class FitTimeout(BaseException):
    """A fit took longer than it may; not an Exception, so that a model that swallows those is stopped as well."""


@dataclass(frozen=True)
class Plan:
    """What to do with each region: cutoffs (oldest first; the last is the as-of day) and how to forecast."""

    cutoffs: tuple[np.datetime64, ...]
    horizon: int
    quantiles: tuple[float, ...]
    non_negative: bool
    fit_seconds: int


@dataclass
class Outcome:
    """What became of a region's model: forecasts by cutoff, and the model's row."""

    forecasts: dict[np.datetime64, Forecast] = field(default_factory=dict)
    fallbacks: dict[np.datetime64, str] = field(default_factory=dict)
    parameters: Parameters | None = None
    status: str = "ok"
    error: str | None = None
    seconds: float = 0.0
    fits: int = 0

    def note(self, status: str, error: str) -> None:
        """Keep the worst of what happened: failed, timeout, skipped, ok; of equals the first."""
        rank = ("ok", "skipped", "timeout", "failed")
        if rank.index(status) > rank.index(self.status):
            self.status, self.error = status, error

    def readable(self) -> str | None:
        """The parameters without the state that only scoring needs, as JSON."""
        if self.parameters is None:
            return None
        return json.dumps({k: v for k, v in self.parameters.items() if k != STATE})

    def artefact(self) -> str | None:
        """All that is needed to score, as JSON."""
        return None if self.parameters is None else json.dumps(self.parameters)


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


def run_model(model: Forecaster, region: Region, naive: Forecaster, plan: Plan) -> Outcome:
    """Fit `model` and forecast from every cutoff; where it fails, `naive` stands in and the outcome says so.

    A model that carries forward is fitted at the first cutoff and keeps its parameters at the later ones (its state
    goes on); others are fitted at every cutoff. Nothing after a cutoff is seen by its fit or forecast.
    """
    outcome = Outcome()
    begun = time.monotonic()
    for cutoff in plan.cutoffs:
        history = region.series.until(cutoff)
        if not len(history):
            continue
        try:
            outcome.forecasts[cutoff] = _forecast(model, outcome, history, region, plan)
            continue
        except _Skipped as reason:
            outcome.note("skipped", str(reason))
        except FitTimeout:
            outcome.note("timeout", f"longer than {plan.fit_seconds} s at cutoff {cutoff}")
        except Exception as error:  # noqa: BLE001  whatever a model raises costs only itself, and is written down
            outcome.note("failed", f"{error!r} at cutoff {cutoff}")
        outcome.fallbacks[cutoff] = NAIVE
        outcome.forecasts[cutoff] = score(naive, naive.fit(history), history, region, plan)
    if plan.cutoffs[-1] in outcome.fallbacks:
        outcome.parameters = None
    outcome.seconds = time.monotonic() - begun
    return outcome


def _forecast(model: Forecaster, outcome: Outcome, history: Series, region: Region, plan: Plan) -> Forecast:
    if len(history) < model.min_length:
        raise _Skipped(f"needs {model.min_length} days of history, has {len(history)} on {history.dates[-1]}")
    with time_limit(plan.fit_seconds):
        if outcome.parameters is None or not model.carries_forward:
            outcome.parameters = None
            outcome.fits += 1
            outcome.parameters = storable(model.fit(history))
        return score(model, outcome.parameters, history, region, plan)


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


class _Skipped(Exception):
    """A model that cannot be tried on this history."""


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
