"""Warm starts: the parameters of an earlier run are kept as long as they forecast as well as they did. No Spark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stspark.fleet.attempt import Attempt, FitTimeout, Made, Plan, Region
from stspark.models.base import Forecaster, Parameters

CHECKS = 4
"""Forecasts that kept parameters must make well, each a horizon before the next, the last ending on the cutoff."""
MEAN_OF_ABSOLUTE = float(np.sqrt(2 / np.pi))
"""Mean absolute value of a Gaussian error, in standard deviations."""


@dataclass
class WarmStart:
    """Parameters of an earlier run for one region and model; `kind` says what became of them.

    days: oldest fit that is kept; drift: factor by which the error may exceed that of the fit.
    kind: full (there was nothing to keep), kept, aged or drifted.
    """

    earlier: Parameters | None
    days: int
    drift: float
    kind: str = "full"

    def around(self, attempt: Attempt) -> Attempt:
        """The attempt, which at the first cutoff keeps the earlier parameters where they still hold."""

        def tried(
            model: Forecaster, kept: Parameters | None, region: Region, cutoff: np.datetime64, plan: Plan
        ) -> Made:
            if kept is None and self.earlier is not None and self.kind == "full":
                self.kind = self._verdict(attempt, model, region, cutoff, plan)
            use = self.earlier if kept is None and self.kind == "kept" else kept
            return attempt(model, use, region, cutoff, plan)

        return tried

    def _verdict(self, attempt: Attempt, model: Forecaster, region: Region, cutoff: np.datetime64, plan: Plan) -> str:
        earlier = self.earlier or {}
        sigma = earlier.get("residual_sd")
        if not model.carries_forward or "first_day" not in earlier or not sigma:
            return "full"
        fitted = np.datetime64(earlier["last_day"], "D")
        if fitted > cutoff or (cutoff - fitted).astype(int) > self.days:
            return "aged"
        errors = _past_errors(attempt, (model, earlier), region, cutoff, plan)
        return "kept" if len(errors) and errors.mean() <= self.drift * MEAN_OF_ABSOLUTE * sigma else "drifted"


def _past_errors(
    attempt: Attempt, model: tuple[Forecaster, Parameters], region: Region, cutoff: np.datetime64, plan: Plan
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """[m] absolute errors on observed days up to the cutoff of forecasts that the kept parameters make before it.

    None where one of them fails: then they do not hold.
    """
    history, found = region.series.until(cutoff), []
    for back in range(CHECKS, 0, -1):
        origin = cutoff - plan.origin.gap - plan.horizon * back
        try:
            made = attempt(model[0], model[1], region, origin, plan).forecast
        except (Exception, FitTimeout):  # noqa: BLE001  whatever goes wrong means a full fit, which writes it down
            return np.empty(0)
        start = int(np.searchsorted(history.dates, origin, side="right")) + plan.origin.gap
        days = slice(start, start + plan.horizon)
        found.append(np.abs(history.y[days] - made.mean)[history.observed[days]])
    return np.concatenate(found)
