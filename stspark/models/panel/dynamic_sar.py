"""Spatial lag models of all regions: the static panel and its dynamic form.

`sar`: (I - ρW) z_t = X_t β + α + ε (Elhorst 2010), z the target on a variance-stabilised scale, X the place in the week
and the known-future covariates: what explains demand, and how much of a region's shock its neighbours share.
`dynamic_sar`: with lags of the region and its neighbours besides (Yu, de Jong & Lee 2008, Journal of Econometrics 146;
Elhorst 2012, Journal of Geographical Systems 14): what forecasts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stspark.models.base import Floats, Parameters
from stspark.models.panel.contributions import contributions
from stspark.models.panel.estimate import How, estimate
from stspark.models.panel.lags import NO_LAGS, Equations, lag_terms
from stspark.models.panel.paths import forecast
from stspark.models.panel.prepared import prepare
from stspark.models.panel.spatial_lag import effects
from stspark.models.regional import options
from stspark.snapshot import Snapshot


@dataclass(frozen=True)
class DynamicSar:
    """paths: simulated futures; ridge: penalty on standardised coefficients (0 = maximum likelihood);
    neighbours: False leaves W out, for comparison; anchored: see `estimate.How`."""

    paths: int = 500
    ridge: float = 1e-4
    neighbours: bool = True
    anchored: bool = True
    name = "dynamic_sar"
    min_length = 60
    carries_forward = False

    def __post_init__(self) -> None:
        options.whole(f"models.{self.name}.paths", self.paths, at_least=50)
        options.flag(f"models.{self.name}.neighbours", self.neighbours)
        options.flag(f"models.{self.name}.anchored", self.anchored)
        if isinstance(self.ridge, bool) or not isinstance(self.ridge, int | float) or not 0 <= self.ridge < np.inf:
            raise ValueError(f"ridge is {self.ridge!r}; give a number of 0 or more")

    def terms(self, season: int) -> Floats:
        """[P, L] the lag terms."""
        return lag_terms(season)

    def fit(self, panel: Snapshot) -> Parameters:
        """Maximum likelihood over all regions; see `PanelForecaster`."""
        made, terms = prepare(self._seen(panel)), self.terms(panel.manifest.season)
        found = estimate(made, terms, How(self.neighbours, self.ridge, self.anchored and len(terms) > 0))
        told = {"covariates": list(panel.manifest.covariates)}
        return found.to_dict() | told | self._effects(found.equations, made.weights, panel)

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        """[R, H, 1 + Q]; see `PanelForecaster`."""
        made = prepare(self._seen(panel))
        equations = Equations.from_dict(parameters["equations"])
        return forecast(equations, made, quantiles, panel.manifest.seed, self.paths)

    def explain(self, parameters: Parameters, panel: Snapshot) -> dict[str, Floats]:
        """The parts [R, H] of the point forecast, in the target's unit; see `contributions`."""
        equations = Equations.from_dict(parameters["equations"])
        return contributions(equations, prepare(self._seen(panel)), len(panel.manifest.covariates))

    def _seen(self, panel: Snapshot) -> Snapshot:
        if self.neighbours:
            return panel
        return replace(panel, weights=np.zeros_like(panel.weights))

    def _effects(self, equations: Equations, weights: Floats, panel: Snapshot) -> dict[str, object]:
        """Direct, indirect and total effects of the covariates, per standard deviation, on the model's scale."""
        count = len(panel.manifest.covariates)
        beta = equations.beta[0][len(equations.beta[0]) - count :]
        return {"effects": {key: value.tolist() for key, value in effects(equations.rho, beta, weights).items()}}


class Sar(DynamicSar):
    """The same without lags."""

    name = "sar"

    def terms(self, season: int) -> Floats:
        """[0, 1]: none."""
        return NO_LAGS
