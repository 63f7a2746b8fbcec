"""Boosted trees on what shared seasons leave.

A structural regression carries level, trend and seasons (Harvey 1989, chapter 7: `shared_seasons`); trees learn the
errors of its own forecasts from earlier days, each made without knowing what followed. That is one more step of
gradient boosting (Friedman 2001; 2002 for the random draws) whose first learner is the regression; the trees are
xgboost's (Chen & Guestrin 2016). Three kinds of trees are averaged, since each fails in its own way: those that learn
only an error's pattern over the days ahead cannot mend a wrong level, those that learn the whole error take one year's
change of the level for a rule of the calendar, unless they are not told the time of the year.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xgboost

from stspark.models.base import Floats, Parameters
from stspark.models.panel.boosted.features import LEVEL_DAYS, TIME_OF_YEAR
from stspark.models.panel.boosted.growth import BINS, Growth
from stspark.models.panel.boosted.model import forecasting_design, learning_design, pack, unpack
from stspark.models.panel.boosted.sample import ORIGIN_STEP, origins
from stspark.models.panel.order import by_name
from stspark.models.panel.residual_trees.events import events
from stspark.models.panel.residual_trees.rows import Rows, Singles, draw, seen_from
from stspark.models.panel.residual_trees.targets import limit
from stspark.models.panel.seasons.earlier import SHORTEST, Earlier, Spread, forecasts, spread, stacked
from stspark.models.panel.seasons.model import STRENGTH, ahead, forecast, in_units, size, solved
from stspark.snapshot import Snapshot

FIRST_ORIGIN = 70
"""Day index of the first forecast to learn from: ten weeks, to tell a level from a season."""
LONGEST_KNOWN = 28
"""Errors that make the quantiles come from forecasts with so many known days, or the whole horizon."""
WINDOWS = 52
"""The newest forecasts whose errors make the quantiles: one year of weeks."""


@dataclass(frozen=True)
class Kind:
    """weight: of its trees' mean; pattern: they learn only that of the errors; timeless: without the time of year."""

    weight: float
    pattern: bool
    timeless: bool


KINDS = (
    Kind(0.4, pattern=True, timeless=False),
    Kind(0.4, pattern=False, timeless=True),
    Kind(0.2, pattern=False, timeless=False),
)


@dataclass(frozen=True)
class ResidualTrees(Growth):
    """Options beside those of growth, of which boosters are for each of the three kinds of trees.

    width: of the quantiles, as a share of what the errors of the seasons alone would ask for.
    """

    rows: int = 60_000
    width: float = 0.7
    name = "residual_trees"
    min_length = FIRST_ORIGIN + ORIGIN_STEP + 1
    carries_forward = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.width < np.inf:
            raise ValueError(f"width is {self.width}; it must be above 0")

    def fit(self, panel: Snapshot) -> Parameters:
        """Solve the seasons for the whole history and for earlier ends of it; grow trees on what those left.

        ValueError where nothing was observed, or too little to learn from.
        """
        design = learning_design(panel)
        ordered, chosen = design.panel, events(design)
        kept = solved(ordered, STRENGTH)
        found = forecasts(ordered, lambda known: forecast(known, STRENGTH), origins(len(ordered.y), FIRST_ORIGIN))
        most = limit(stacked([made.errors(ordered, LEVEL_DAYS) for made in found], ordered))
        made = [(one, np.clip(one.errors(ordered, LEVEL_DAYS), -most, most)) for one in found]
        seeds = self.seeds(ordered.manifest.seed)
        samples = draw(design, chosen, made, self.rows, seeds)
        names = ordered.manifest.covariates
        return kept | {
            "covariates": [names[k] for k in design.covariates],
            "events": [names[k] for k in chosen],
            "rounds": self.rounds,
            "width": self.width,
            "spread": _spread(ordered, found, most).to_dict(),
            "state": [
                [pack(self._train(rows, kind, seed)) for seed, rows in zip(seeds, samples, strict=True)]
                for kind in KINDS
            ],
        }

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        """[R, H, 1 + Q]; see `PanelForecaster`. The panel must end where that of the fit ended."""
        ordered, back = by_name(panel)
        middle, known = ahead(parameters, ordered)
        design = forecasting_design(parameters, ordered)
        chosen = tuple(ordered.manifest.covariates.index(name) for name in parameters["events"])
        x = seen_from(design, chosen, Earlier(len(ordered.y) - 1, middle, size(ordered)))
        middle = middle + _learned(parameters["state"], x.reshape(-1, x.shape[-1])).reshape(middle.shape)
        off = parameters["width"] * Spread.from_dict(parameters["spread"]).at([0.5, *quantiles], known)
        return in_units(ordered, middle[:, :, None] + off, known)[back]

    def _train(self, rows: Rows, kind: Kind, seed: int) -> xgboost.Booster:
        target = rows.pattern if kind.pattern else rows.error
        use = np.isfinite(target)
        matrix = xgboost.QuantileDMatrix(_looked_at(rows.x, kind)[use], target[use], max_bin=BINS, nthread=1)
        options = {"objective": "reg:squarederror", "nthread": 1} | self.growing(seed)
        return xgboost.train(options, matrix, self.rounds)


def _learned(state: Sequence[Sequence[str]], x: Singles) -> Floats:
    """[N] the weighted mean of the kinds' trees: what is added to the seasons."""
    total = np.zeros(len(x))
    for kind, texts in zip(KINDS, state, strict=True):
        made = [unpack(text).inplace_predict(_looked_at(x, kind)).astype(np.float64) for text in texts]
        total += kind.weight * np.mean(made, axis=0)
    return total


def _looked_at(x: Singles, kind: Kind) -> Singles:
    return np.delete(x, TIME_OF_YEAR, axis=1) if kind.timeless else x


def _spread(panel: Snapshot, made: Sequence[Earlier], most: float) -> Spread:
    """Sizes of the seasons' errors in forecasts old enough to be judged; where there is none, in all."""
    last = len(panel.y) - 1 - min(LONGEST_KNOWN, panel.manifest.horizon)
    old = [one for one in made if one.origin <= last] or made
    return spread(np.clip(stacked([one.errors(panel, SHORTEST) for one in old[:WINDOWS]], panel), -most, most))
