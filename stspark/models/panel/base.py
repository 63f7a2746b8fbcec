"""What a panel model is: two functions over the dense panel of all regions, numpy in and numpy out, no Spark.

Like a regional model it leaves plain JSON-able parameters: they are kept for every cutoff and scored without a fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stspark.models.base import Floats, Parameters
from stspark.snapshot import Snapshot

MEMBERS = ("name", "min_length", "carries_forward", "fit", "predict")


class PanelForecaster(Protocol):
    """A model of all regions. T days of history, R regions, H horizon, Q quantiles.

    The panel that `fit` and `predict` get is cut at the cutoff: `panel.y` ends there, and covariates end a horizon
    later, so nothing later can be seen. Whatever is random comes from `panel.manifest.seed`. A model that has a member
    `reads` (names of numeric columns of region_day) finds their past in `panel.past`. One that is
    for some regions only has a member `covers(panel)`, [R] booleans: elsewhere it returns NaN and nothing stands in for
    it. It is left out of the combination, and is the champion of a region that it covers until the region's own windows
    speak for another; of several such models the first by name.
    """

    @property
    def name(self) -> str:
        """The model's name in config and tables."""

    @property
    def min_length(self) -> int:
        """Fewest days of history T that `fit` accepts."""

    @property
    def carries_forward(self) -> bool:
        """True when `predict` takes a longer history than `fit` saw: then one fit serves all cutoffs of a run."""

    def fit(self, panel: Snapshot) -> Parameters:
        """Estimate; return a JSON-able dict (what only scoring needs as text in its entry "state").

        Raise ValueError where that is impossible.
        """

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        """Forecast the H days after `panel`: [R, H, 1 + Q], the point forecast, then the quantiles.

        In the target's unit. Rows of regions that have not started (`panel.alive[-1]` is False) are NaN. NaN for a
        region that has started means that the model cannot forecast it: the seasonal naive stands in, marked.
        """


class TooLittle(ValueError):
    """Raised by `fit` where the history does not allow an estimate: the model is skipped, it has not failed."""


def is_partial(model: PanelForecaster) -> bool:
    """Whether the model is for some regions only."""
    return hasattr(model, "covers")
