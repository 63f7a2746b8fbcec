"""STV, the space-time vector autoregression: two variables, each from both variables' past, own and neighbours'.

z_t = Σ_l (A_l + B_l W) z_(t-l) + X_t β + α + ε with z = (target, second variable), for instance orders and visitors
(Beenstock & Felsenstein 2007, "Spatial vector autoregressions", Spatial Economic Analysis 2; Lütkepohl 2005, New
Introduction to Multiple Time Series Analysis, ch. 2). Pooled ridge regression with region effects. The second
variable is known up to the cutoff only, and forecast beside the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stspark.models.base import Floats, Parameters
from stspark.models.panel.contributions import contributions
from stspark.models.panel.estimate import How, estimate
from stspark.models.panel.lags import Equations, lag_terms
from stspark.models.panel.paths import forecast
from stspark.models.panel.prepared import Prepared, prepare
from stspark.models.regional import options
from stspark.snapshot import Snapshot


@dataclass(frozen=True)
class Stv:
    """second: a column of region_day, of which only the past is used; paths: simulated futures; ridge: penalty on
    standardised coefficients; anchored: see `estimate.How`."""

    second: str = "users"
    paths: int = 500
    ridge: float = 1e-3
    anchored: bool = True
    name = "stv"
    min_length = 60
    carries_forward = False

    def __post_init__(self) -> None:
        options.whole("models.stv.paths", self.paths, at_least=50)
        options.flag("models.stv.anchored", self.anchored)
        options.positive("models.stv.ridge", self.ridge)
        if not self.second or not isinstance(self.second, str):
            raise ValueError(f"second is {self.second!r}; name a column of region_day")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of region_day that the snapshot must bring."""
        return (self.second,)

    def fit(self, panel: Snapshot) -> Parameters:
        """Least squares over all regions; see `PanelForecaster`."""
        made, terms = self._prepare(panel), lag_terms(panel.manifest.season)
        found = estimate(made, terms, How(False, self.ridge, self.anchored))
        return found.to_dict() | {"second": self.second}

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        """[R, H, 1 + Q] of the target; see `PanelForecaster`."""
        made = self._prepare(panel)
        equations = Equations.from_dict(parameters["equations"])
        return forecast(equations, made, quantiles, panel.manifest.seed, self.paths)

    def explain(self, parameters: Parameters, panel: Snapshot) -> dict[str, Floats]:
        """The parts [R, H] of the point forecast, in the target's unit; see `contributions`."""
        equations = Equations.from_dict(parameters["equations"])
        return contributions(equations, self._prepare(panel), len(panel.manifest.covariates))

    def _prepare(self, panel: Snapshot) -> Prepared:
        names = panel.manifest.past_only
        if self.second not in names:
            raise ValueError(f"the snapshot holds no column '{self.second}', only {', '.join(names) or 'none'}")
        second = panel.past[:, :, names.index(self.second)]
        if not np.isfinite(second).any():
            raise ValueError(f"'{self.second}' is never known")
        return prepare(panel, second)
