"""Racing: a model that would be fitted anew at every cutoff stops where it can hardly win any more. No Spark."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stspark.fleet.attempt import Attempt, Made, Plan, Region, Skipped
from stspark.models.base import Floats, Forecaster, Parameters


@dataclass
class Race:
    """The models of one region, cheap ones first. margin: error relative to the best model's beyond which one is out.

    Compared are the absolute errors of all forecasts made so far whose days have come by the next cutoff, once there
    are `after` cutoffs of them: nothing later decides. Models that carry forward are never stopped: their fit is done.
    Successive halving (Jamieson & Talwalkar 2016) with a margin instead of a quota.
    """

    margin: float
    after: int = 2
    _means: dict[str, dict[np.datetime64, Floats]] = field(default_factory=dict)

    def around(self, attempt: Attempt) -> Attempt:
        """The attempt, which raises Skipped for a model that is out."""

        def tried(
            model: Forecaster, kept: Parameters | None, region: Region, cutoff: np.datetime64, plan: Plan
        ) -> Made:
            mine = self._means.setdefault(model.name, {})
            if kept is None and self.margin and len(mine) >= self.after:
                self._stop_if_lost(model.name, region, cutoff, plan)
            made = attempt(model, kept, region, cutoff, plan)
            mine[cutoff] = made.forecast.mean
            return made

        return tried

    def _stop_if_lost(self, name: str, region: Region, cutoff: np.datetime64, plan: Plan) -> None:
        judged = [(earlier, plan.gap(earlier)) for earlier in self._means[name]]
        errors = {other: _error(means, judged, region, cutoff) for other, means in self._means.items()}
        best = min(errors, key=lambda other: errors[other])
        if errors[name] > self.margin * errors[best]:
            ratio = errors[name] / errors[best] if errors[best] else float("inf")
            raise Skipped(f"out of the race before cutoff {cutoff}: {ratio:.2f} times the error of {best}")


def _error(
    means: dict[np.datetime64, Floats], judged: list[tuple[np.datetime64, int]], region: Region, known: np.datetime64
) -> float:
    """Summed absolute error on the observed days up to `known`; infinite where one of the forecasts is lacking.

    judged: cutoffs, and the days left out after each.
    """
    if not {cutoff for cutoff, _ in judged} <= set(means):
        return float("inf")
    series, total = region.series, 0.0
    end = int(np.searchsorted(series.dates, known, side="right"))
    for cutoff, gap in judged:
        start = int(np.searchsorted(series.dates, cutoff, side="right")) + gap
        days = slice(start, max(start, min(start + len(means[cutoff]), end)))
        y = series.y[days]
        total += float(np.abs(y - means[cutoff][: len(y)])[series.observed[days]].sum())
    return total
