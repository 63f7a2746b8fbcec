"""One region through one model: forecasts from every cutoff, and what to do when it fails. No Spark."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

import numpy as np

from stspark.fleet.attempt import (
    Attempt,
    Failed,
    FitTimeout,
    Made,
    Plan,
    Region,
    Skipped,
    attempt_here,
    score,
)
from stspark.models.base import Forecast, Forecaster, Parameters
from stspark.names import NAIVE

STATE = "state"
"""Entry of a model's parameters that is for scoring only, not for reading."""


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
    fit_kind: str | None = None

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


def run_model(
    model: Forecaster, region: Region, naive: Forecaster, plan: Plan, attempt: Attempt = attempt_here
) -> Outcome:
    """Fit `model` and forecast from every cutoff; where it fails, `naive` stands in and the outcome says so.

    A model that carries forward is fitted at the first cutoff and keeps its parameters at the later ones (its state
    goes on), unless the plan says that it is due; others are fitted at every cutoff. One that ran out of time is not
    tried again at later cutoffs, where it would cost as much for a model that can no longer be chosen. Nothing after a
    cutoff is seen by its fit or forecast (but by the fits of a blocked cross-validation).
    """
    outcome = Outcome()
    begun = time.monotonic()
    for place, cutoff in enumerate(plan.cutoffs):
        if not len(region.series.until(cutoff)):
            continue
        kept = outcome.parameters if model.carries_forward and not plan.origin.is_due(place) else None
        hung = outcome.status == "timeout"
        made = None if hung else tried(outcome, attempt, (model, kept, region, cutoff, plan))
        if made is None:
            stand_in(outcome, naive, region, cutoff, plan)
            continue
        outcome.fits -= kept is None and not made.fitted
        outcome.forecasts[cutoff], outcome.parameters = made.forecast, made.parameters
    if plan.cutoffs[-1] in outcome.fallbacks:
        outcome.parameters = None
    outcome.seconds = time.monotonic() - begun
    return outcome


def tried(
    outcome: Outcome,
    attempt: Attempt,
    what: tuple[Forecaster, Parameters | None, Region, np.datetime64, Plan],
) -> Made | None:
    """What the attempt made, or None where it failed: then the outcome says how."""
    _, kept, _, cutoff, plan = what
    outcome.fits += kept is None
    try:
        return attempt(*what)
    except Skipped as reason:
        outcome.fits -= kept is None
        outcome.note("skipped", str(reason))
    except FitTimeout:
        outcome.note("timeout", f"longer than {plan.fit_seconds} s at cutoff {cutoff}")
    except Failed as words:
        outcome.note("failed", f"{words} at cutoff {cutoff}")
    except Exception as error:  # noqa: BLE001  whatever a model raises costs only itself, and is written down
        outcome.note("failed", f"{error!r} at cutoff {cutoff}")
    return None


def stand_in(outcome: Outcome, naive: Forecaster, region: Region, cutoff: np.datetime64, plan: Plan) -> None:
    """The seasonal naive's forecast in the model's place, marked as that."""
    history = region.series.until(cutoff)
    outcome.fallbacks[cutoff] = NAIVE
    outcome.forecasts[cutoff] = score(naive, naive.fit(history), history, region, plan)
