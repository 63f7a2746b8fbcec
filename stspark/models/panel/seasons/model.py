"""A level that wanders and seasons that the regions share: the week, the year, New Year, Easter, covariates.

A structural regression (Harvey 1989, chapter 7: common components) of all regions at once, by penalised least squares:
the level of each region and of all together is a broken line whose bends are drawn to none, and stays where it ended.
A day's weight halves every two years. The errors of forecasts from earlier days of the panel are the quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stspark.models.base import Floats, Parameters
from stspark.models.panel.boosted.transform import from_learnt, to_learn
from stspark.models.panel.order import by_name
from stspark.models.panel.seasons.arrow import fitted, robust
from stspark.models.panel.seasons.columns import Strength, columns
from stspark.models.panel.seasons.earlier import SHORTEST, Spread, forecasts, origins, spread, stacked
from stspark.snapshot import Snapshot

HALF_LIFE = 700.0
"""Days after which a day of history weighs half: habits change."""
STRENGTH = Strength(year=10.0, wander=3.0)


@dataclass(frozen=True)
class SharedSeasons:
    """windows: earlier forecasts to take the quantiles from; year, wander: see `Strength`.

    A small `wander` lets the level follow the last weeks closely, a large one holds it back.
    """

    windows: int = 8
    year: float = STRENGTH.year
    wander: float = STRENGTH.wander
    name = "shared_seasons"
    min_length = SHORTEST
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
        strength = Strength(self.year, self.wander)
        kept = solved(ordered, strength)
        made = forecasts(ordered, lambda known: forecast(known, strength), origins(ordered, self.windows))
        found = stacked([earlier.errors(ordered, SHORTEST) for earlier in made], ordered)
        return kept | {"spread": spread(found).to_dict()}

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        """[R, H, 1 + Q]; see `PanelForecaster`. The panel must end where that of the fit ended."""
        ordered, back = by_name(panel)
        middle, known = ahead(parameters, ordered)
        off = Spread.from_dict(parameters["spread"]).at([0.5, *quantiles], known)  # [R, H, 1 + Q]
        return in_units(ordered, middle[:, :, None] + off, known)[back]


def solved(panel: Snapshot, strength: Strength) -> Parameters:
    """The coefficients, JSON-able, of the panel's regions in its order; ValueError where nothing was observed."""
    if not panel.observed.any():
        raise ValueError(f"{len(panel.y)} days of history hold no observed one")
    shared, own = robust(columns(panel), *scaled(panel), strength)
    return {
        "regions": list(panel.manifest.regions),
        "days": len(panel.y),
        "shared": shared.tolist(),
        "own": own.tolist(),
    }


def ahead(parameters: Parameters, panel: Snapshot) -> tuple[Floats, list[int]]:
    """By what `solved` kept: [R, H] the days after the panel, on the scale on which they are explained.

    With it [R] the places of the panel's regions in the parameters, -1 for those without: their values mean nothing.
    """
    if parameters["days"] != len(panel.y):
        raise ValueError(f"fitted on {parameters['days']} days, the panel has {len(panel.y)}")
    place = {name: k for k, name in enumerate(parameters["regions"])}
    known = [place.get(name, -1) for name in panel.manifest.regions]
    own = np.asarray(parameters["own"])[known]
    return fitted(columns(panel), np.asarray(parameters["shared"]), own)[len(panel.y) :].T, known


def in_units(panel: Snapshot, learnt: Floats, known: Sequence[int]) -> Floats:
    """[R, H, 1 + Q] in the target's unit; NaN where a region has not started, or `ahead` found no place for it."""
    started = panel.alive[-1] & (np.array(known) >= 0)
    return np.where(started[:, None, None], from_learnt(learnt, size(panel)[:, None, None]), np.nan)


def size(panel: Snapshot) -> Floats:
    """[R] mean absolute target of the observed days, in its unit; 1 where there is none."""
    count = panel.observed.sum(axis=0)
    total = np.where(panel.observed, np.abs(panel.y), 0.0).sum(axis=0)
    return np.where(total > 0, total / np.maximum(count, 1), 1.0)


def scaled(panel: Snapshot) -> tuple[Floats, Floats]:
    """[T, R] the targets on the scale on which they are explained, and the weight of each day."""
    age = np.arange(len(panel.y))[::-1]
    weight = np.where(panel.observed, 0.5 ** (age / HALF_LIFE)[:, None], 0.0)
    return to_learn(np.where(panel.observed, panel.y, 0.0), size(panel)[None]), weight


def forecast(panel: Snapshot, strength: Strength) -> tuple[Floats, Floats]:
    """[R, H] the days after the panel, on the scale on which they are explained, and [R] the size of the regions."""
    seen = columns(panel)
    return fitted(seen, *robust(seen, *scaled(panel), strength))[len(panel.y) :].T, size(panel)
