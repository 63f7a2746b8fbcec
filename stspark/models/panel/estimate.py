"""Equations from a prepared panel: pooled over regions and days, region effects for all, the newest ones too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.base import TooLittle
from stspark.models.panel.lags import Equations, at_rest, lagged, long_mean, residuals, stabilised
from stspark.models.panel.prepared import FULLEST, Prepared
from stspark.models.panel.spatial_lag import SpatialLag, fit_spatial_lag

SHRINK_DAYS = 14
"""A region effect counts as much as the pooled one after so many days."""


@dataclass(frozen=True)
class How:
    """How equations are estimated. simultaneous: ρ for the first variable; ridge: penalty on standardised columns;
    anchored: lags act as departures from the mean of the last four seasons, so that a level once reached is kept (own
    weights sum to one), instead of as departures from the region's mean over the whole window."""

    simultaneous: bool
    ridge: float
    anchored: bool


@dataclass(frozen=True)
class Estimate:
    """Stable equations, what was found for the first variable, and the spectral radius as it was found."""

    equations: Equations
    first: SpatialLag
    radius: float

    def to_dict(self) -> dict[str, Any]:
        """What a reader of the table `models` wants to know, and what scoring needs."""
        found = {"rho": self.first.rho, "rho_error": self.first.rho_error, "sigma2": self.first.sigma2}
        return found | {"spectral_radius": self.radius, "equations": self.equations.to_dict()}


def estimate(made: Prepared, terms: Floats, how: How) -> Estimate:
    """Fit every variable's equation, all regions and days together. terms: [P, L], P may be 0."""
    days, members = made.window()
    weights = made.neighbours_within(members)
    z = made.z[:, :, members]
    own = lagged(z, terms)
    use = np.flatnonzero(made.usable[days][:, members].mean(axis=1) > FULLEST) + days.start
    use = use[use >= days.start + terms.shape[1]] if len(use) > 2 * terms.shape[1] else use
    if len(use) < 2:
        raise ValueError(f"only {len(use)} days on which most regions were observed")
    level = np.zeros_like(z)
    if how.anchored:
        long = long_mean(terms)
        level = own[:, long]
        own = np.delete(own - level[:, None], long, axis=1)
    lag_columns = np.concatenate([own, own @ weights.T]).reshape(-1, *z.shape[1:])  # [2 V P, T, R]
    columns = np.concatenate([np.moveaxis(lag_columns, 0, -1), made.known[: z.shape[1]][:, members]], axis=2)[use]
    fits = []
    for v in range(len(z)):
        changes = (z - level)[v, use]
        if np.allclose(changes, changes.mean(axis=0), rtol=0.0, atol=1e-9):
            raise TooLittle(f"no day differs from another (variable {v + 1} of {len(z)}) up to then,")
        spatial = weights if how.simultaneous and v == 0 else np.zeros_like(weights)
        fits.append(fit_spatial_lag(changes, columns, spatial, how.ridge))
    found = _to_equations(fits, terms, how)
    stable, radius = stabilised(found, made.weights, at_rest(found, anchored=how.anchored))
    return Estimate(replace(stable, alpha=_region_effects(stable, made, days.start)), fits[0], radius)


def _to_equations(fits: list[SpatialLag], terms: Floats, how: How) -> Equations:
    """Coefficients in their places, region effects still 0 (they are added by broadcasting)."""
    variables, beta = len(fits), np.stack([fit.beta for fit in fits])
    count = len(terms) - how.anchored
    width, shape = variables * count, (variables, variables, count)
    own, neighbour = beta[:, :width].reshape(shape), beta[:, width : 2 * width].reshape(shape)
    rho = fits[0].rho if how.simultaneous else 0.0
    if how.anchored:
        long = long_mean(terms)
        own, neighbour = (np.insert(part, long, -part.sum(axis=2), axis=2) for part in (own, neighbour))
    found = Equations(rho, own, neighbour, beta[:, 2 * width :], np.zeros((variables, 1)), terms)
    if how.anchored:
        rest = at_rest(found, anchored=True)
        found = replace(found, own=own + rest.own, neighbour=neighbour + rest.neighbour)
    return found


def _region_effects(equations: Equations, made: Prepared, start: int) -> Floats:
    """[V, R] mean residual of each region's own usable days in the window.

    A region with few days leans on its neighbours' effects, and on everybody's where it has no neighbours.
    """
    left = residuals(equations, made.z, made.known[: made.z.shape[1]], made.weights)[:, start:]
    seen = made.usable[start:]
    count = seen.sum(axis=0)
    own = np.where(seen, left, 0.0).sum(axis=1) / np.maximum(count, 1)
    old = made.alive & (count > SHRINK_DAYS)
    pooled = own[:, old].mean(axis=1, keepdims=True) if old.any() else own.mean(axis=1, keepdims=True)
    reach = made.weights * old
    heard = reach.sum(axis=1)
    near = np.where(heard > 0, own @ reach.T / np.where(heard > 0, heard, 1.0), pooled)
    share = np.where(old, 1.0, count / (count + SHRINK_DAYS))
    return np.asarray(share * own + (1 - share) * near)
