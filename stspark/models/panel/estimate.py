"""Equations from a prepared panel: pooled over regions and days, region effects for all, the newest ones too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.lags import Equations, lagged, residuals
from stspark.models.panel.prepared import FULLEST, Prepared
from stspark.models.panel.spatial_lag import SpatialLag, fit_spatial_lag

SHRINK_DAYS = 14
"""A region effect counts as much as the pooled one after so many days."""


def estimate(made: Prepared, terms: Floats, *, simultaneous: bool, ridge: float) -> tuple[Equations, SpatialLag]:
    """Fit every variable's equation; ρ only for the first, and only where `simultaneous`. terms: [P, L], P may be 0."""
    days, members = made.window()
    weights = made.neighbours_within(members)
    z = made.z[:, :, members]
    own = lagged(z, terms)
    use = np.flatnonzero(made.usable[days][:, members].mean(axis=1) > FULLEST) + days.start
    use = use[use >= days.start + terms.shape[1]] if len(use) > 2 * terms.shape[1] else use
    if len(use) < 2:
        raise ValueError(f"only {len(use)} days on which most regions were observed")
    lag_columns = np.concatenate([own, own @ weights.T]).reshape(-1, *z.shape[1:])  # [2 V P, T, R]
    columns = np.concatenate([np.moveaxis(lag_columns, 0, -1), made.known[: z.shape[1]][:, members]], axis=2)[use]
    fits = []
    for v in range(len(z)):
        spatial = weights if simultaneous and v == 0 else np.zeros_like(weights)
        fits.append(fit_spatial_lag(z[v, use], columns, spatial, ridge))
    equations = _to_equations(fits, terms, made, simultaneous)
    return replace(equations, alpha=_region_effects(equations, made, days.start)), fits[0]


def _to_equations(fits: list[SpatialLag], terms: Floats, made: Prepared, simultaneous: bool) -> Equations:
    variables = len(fits)
    width = variables * len(terms)
    beta = np.stack([fit.beta for fit in fits])
    shape = (variables, variables, len(terms))
    return Equations(
        fits[0].rho if simultaneous else 0.0,
        beta[:, :width].reshape(shape),
        beta[:, width : 2 * width].reshape(shape),
        beta[:, 2 * width :],
        np.zeros((variables, len(made.alive))),
        terms,
    )


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


def describe(fit: SpatialLag, equations: Equations) -> dict[str, Any]:
    """What a reader of the table `models` wants to know of the first equation."""
    return {"rho": fit.rho, "rho_error": fit.rho_error, "sigma2": fit.sigma2, "equations": equations.to_dict()}
