"""A level that wanders and seasons that the regions share: the week, the year, the year's end, covariates.

A structural regression (Harvey 1989, chapter 7: common components) of all regions at once, by penalised least squares:
the level of each region and of all together is a broken line whose bends are drawn to none, and stays where it ended.
The errors of forecasts from earlier days of the panel are the quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stspark.models.base import Floats, Parameters
from stspark.models.panel.boosted.transform import from_learnt, to_learn
from stspark.models.panel.order import by_name
from stspark.models.panel.seasons.arrow import fitted, robust
from stspark.models.panel.seasons.columns import STEP, Strength, columns
from stspark.models.panel.seasons.earlier import Spread, errors, spread
from stspark.snapshot import Snapshot


@dataclass(frozen=True)
class SharedSeasons:
    """windows: earlier forecasts to take the quantiles from; year, wander: see `Strength`.

    A small `wander` lets the level follow the last weeks closely, a large one holds it back.
    """

    windows: int = 8
    year: float = 20.0
    wander: float = 3.0
    name = "shared_seasons"
    min_length = 8 * STEP
    carries_forward = False

    def __post_init__(self) -> None:
        if isinstance(self.windows, bool) or not isinstance(self.windows, int) or self.windows < 2:
            raise ValueError(f"windows is {self.windows!r}; give a whole number of 2 or more")
        for key in ("year", "wander"):
            given = getattr(self, key)
            if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < np.inf:
                raise ValueError(f"{key} is {given!r}; give a number above 0")

    def fit(self, panel: Snapshot) -> Parameters:
        """Solve for the whole history, and for earlier ends of it; ValueError where nothing was observed."""
        ordered, _ = by_name(panel)
        if not ordered.observed.any():
            raise ValueError(f"{len(ordered.y)} days of history hold no observed one")
        strength = Strength(self.year, self.wander)
        shared, own = estimated(ordered, strength)
        found = errors(ordered, lambda known: forecast(known, strength), self.windows)
        return {
            "regions": list(ordered.manifest.regions),
            "days": len(ordered.y),
            "shared": shared.tolist(),
            "own": own.tolist(),
            "spread": spread(found).to_dict(),
        }

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        """[R, H, 1 + Q]; see `PanelForecaster`. The panel must end where that of the fit ended."""
        ordered, back = by_name(panel)
        if parameters["days"] != len(ordered.y):
            raise ValueError(f"fitted on {parameters['days']} days, the panel has {len(ordered.y)}")
        place = {name: k for k, name in enumerate(parameters["regions"])}
        known = [place.get(name, -1) for name in ordered.manifest.regions]
        own = np.asarray(parameters["own"])[known]
        middle = fitted(columns(ordered), np.asarray(parameters["shared"]), own)[len(ordered.y) :].T  # [R, H]
        off = Spread.from_dict(parameters["spread"]).at([0.5, *quantiles], known)  # [R, H, 1 + Q]
        made = from_learnt(middle[:, :, None] + off, size(ordered)[:, None, None])
        started = ordered.alive[-1] & (np.array(known) >= 0)
        return np.where(started[:, None, None], made, np.nan)[back]


def size(panel: Snapshot) -> Floats:
    """[R] mean absolute target of the observed days, in its unit; 1 where there is none."""
    count = panel.observed.sum(axis=0)
    total = np.where(panel.observed, np.abs(panel.y), 0.0).sum(axis=0)
    return np.where(total > 0, total / np.maximum(count, 1), 1.0)


def scaled(panel: Snapshot) -> tuple[Floats, Floats]:
    """[T, R] the targets on the scale on which they are explained, and the weight of each day."""
    return to_learn(np.where(panel.observed, panel.y, 0.0), size(panel)[None]), panel.observed.astype(np.float64)


def estimated(panel: Snapshot, strength: Strength) -> tuple[Floats, Floats]:
    """The coefficients [S] and [R, P]."""
    return robust(columns(panel), *scaled(panel), strength)


def forecast(panel: Snapshot, strength: Strength) -> tuple[Floats, Floats]:
    """[R, H] the days after the panel, on the scale on which they are explained, and [R] the size of the regions."""
    seen = columns(panel)
    return fitted(seen, *robust(seen, *scaled(panel), strength))[len(panel.y) :].T, size(panel)
