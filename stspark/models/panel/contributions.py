"""Why a spatial autoregression forecasts what it does: parts that add up to the point forecast."""

from __future__ import annotations

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.lags import Equations, iterate
from stspark.models.panel.prepared import Prepared

PARTS = ("own_past", "neighbours", "second_variable", "season", "covariates", "region")
"""What a forecast is made of: the region's own days, other regions' days, the second variable's days (anywhere), the
place in the season, known-future covariates, the region's effect. Each with what the recursion makes of it later."""


def contributions(equations: Equations, made: Prepared, n_covariates: int) -> dict[str, Floats]:
    """PARTS, each [R, H] in the target's unit; their sum is the point forecast (before it is cut at 0).

    The recursion is linear on the arcsinh scale, so each part is the path that it alone would make (superposition). On
    the way back to the target's unit all parts of a day are stretched by the same factor, sinh(z) / z.
    """
    days, regions = made.z.shape[1:]
    known = made.known[days:]
    split = known.shape[2] - n_covariates
    nothing, no_past = np.zeros_like(known), np.zeros_like(made.z)

    def path(past: Floats, inputs: Floats, alpha: bool) -> Floats:
        """[H, R] of the first variable."""
        effects = equations.alpha if alpha else np.zeros_like(equations.alpha)
        part = Equations(equations.rho, equations.own, equations.neighbour, equations.beta, effects, equations.terms)
        shocks = np.zeros((len(made.z), 1, len(known), regions))
        return np.asarray(iterate(part, past, inputs, made.weights, shocks)[0, 0])

    parts = {name: np.zeros((len(known), regions)) for name in PARTS}
    for r in range(regions):
        alone = no_past.copy()
        alone[0, :, r] = made.z[0, :, r]
        moved = path(alone, nothing, alpha=False)
        parts["own_past"][:, r] += moved[:, r]
        parts["neighbours"] += np.where(np.arange(regions) == r, 0.0, moved)
    if len(made.z) > 1:
        second = made.z.copy()
        second[0] = 0.0
        parts["second_variable"] = path(second, nothing, alpha=False)
    place, covariates = nothing.copy(), nothing.copy()
    place[..., :split], covariates[..., split:] = known[..., :split], known[..., split:]
    parts["season"] = path(no_past, place, alpha=False)
    parts["covariates"] = path(no_past, covariates, alpha=False)
    parts["region"] = path(no_past, nothing, alpha=True)
    total = np.sum(list(parts.values()), axis=0)
    near = np.abs(total) < 1e-9
    stretch = made.scale[0] * np.where(near, 1.0, np.sinh(total) / np.where(near, 1.0, total))
    return {name: np.where(made.alive[:, None], (part * stretch).T, np.nan) for name, part in parts.items()}
