"""Pooled autoregressions over lags of a region and its neighbours: design, stability, simulated paths.

Shapes: V variables, T days, H horizon, R regions, P lag terms, L lags, K known columns, S paths.
One equation of variable v: (I - ρW) z_t = Σ_u Σ_p (own[v, u, p] + neighbour[v, u, p] W) f_p(z_u) + X_t β_v + α_v + ε,
where the lag terms f_p are yesterday, the mean of the last season and of the last four, the same day of the season,
and its mean over four seasons: the season and long memory in few numbers (Corsi 2009, the heterogeneous
autoregression). Yu, de Jong & Lee 2008 and Elhorst 2012 are the case of one variable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stspark.models.base import Floats

SEASONS = 4
STABLE = 1.0 + 1e-6
"""A recursion whose spectral radius is beyond this is drawn back to it before it is iterated."""

NO_LAGS = np.zeros((0, 1))


@dataclass(frozen=True)
class Equations:
    """The coefficients. own, neighbour: [V, V, P]; beta: [V, K]; alpha: [V, R]; rho: of the first variable.

    terms: [P, L] weights of the lags in every lag term.
    """

    rho: float
    own: Floats
    neighbour: Floats
    beta: Floats
    alpha: Floats
    terms: Floats

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able parameters."""
        return {name: value if isinstance(value, float) else value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Equations:
        """Read what `to_dict` returned."""
        arrays = {name: np.asarray(raw[name], dtype=float) for name in ("own", "neighbour", "beta", "alpha")}
        terms = np.asarray(raw["terms"], dtype=float).reshape(arrays["own"].shape[-1], -1) if raw["terms"] else NO_LAGS
        return cls(rho=float(raw["rho"]), **arrays, terms=terms)


def lag_terms(season: int) -> Floats:
    """[P, L] weights of lags 1 .. L = 4 seasons in every term; rows that would repeat are left out."""
    length = SEASONS * season
    rows = np.zeros((5, length))
    rows[0, 0] = 1.0
    rows[1, :season] = 1.0 / season
    rows[2] = 1.0 / length
    rows[3, season - 1] = 1.0
    rows[4, season - 1 :: season] = 1.0 / SEASONS
    _, first = np.unique(rows.round(12), axis=0, return_index=True)
    return rows[np.sort(first)]


def long_mean(terms: Floats) -> int:
    """Place of the mean over four seasons among the lag terms."""
    return int(np.flatnonzero(np.isclose(terms, 1.0 / terms.shape[1]).all(axis=1))[0])


def lagged(z: Floats, terms: Floats) -> Floats:
    """z: [V, T, R] -> [V, P, T, R], each term as known the day before; before day 0 stands the first value."""
    length = terms.shape[1]
    padded = np.concatenate([np.repeat(z[:, :1], length, axis=1), z], axis=1)
    result = np.zeros((len(z), len(terms), *z.shape[1:]))
    for k in range(1, length + 1):
        shifted = padded[:, length - k : length - k + z.shape[1]]
        for p in np.flatnonzero(terms[:, k - 1]):
            result[:, p] += terms[p, k - 1] * shifted
    return result


def means(equations: Equations, terms: Floats, neighbours: Floats, known: Floats) -> Floats:
    """terms: [V, P, ..., R] of own lags, neighbours: the same of W z, known: [..., R, K] -> [V, ..., R]."""
    total = np.tensordot(equations.own, terms, axes=([1, 2], [0, 1]))
    total += np.tensordot(equations.neighbour, neighbours, axes=([1, 2], [0, 1]))
    total += np.moveaxis(known @ equations.beta.T, -1, 0)
    alpha = equations.alpha.reshape(len(total), *([1] * (total.ndim - 2)), -1)
    return np.asarray(total + alpha)


def residuals(equations: Equations, z: Floats, known: Floats, weights: Floats) -> Floats:
    """[V, T, R]: (I - ρW) z less its mean, day by day."""
    own = lagged(z, equations.terms)
    fitted = means(equations, own, own @ weights.T, known)
    left = z.copy()
    left[0] -= equations.rho * (z[0] @ weights.T)
    return np.asarray(left - fitted)


def spectral_radius(equations: Equations, weights: Floats) -> float:
    """Largest |eigenvalue| of the recursion, from one companion matrix for each eigenvalue of W.

    All coefficient matrices are functions of W, so its eigenvalues split the R·V·L system into R systems of V·L.
    """
    variables, length = len(equations.own), equations.terms.shape[1]
    largest = 0.0
    for eigenvalue in np.unique(np.linalg.eigvals(weights).round(10)):
        lags = (equations.own + equations.neighbour * eigenvalue) @ equations.terms  # [V, V, L]
        lags[0] = lags[0] / (1 - equations.rho * eigenvalue)
        companion = np.zeros((variables * length, variables * length), dtype=complex)
        companion[:variables] = np.moveaxis(lags, 2, 1).reshape(variables, -1)
        companion[variables:, :-variables] = np.eye(variables * (length - 1))
        largest = max(largest, float(np.abs(np.linalg.eigvals(companion)).max()))
    return largest


def stabilised(equations: Equations, weights: Floats, rest: Equations) -> tuple[Equations, float]:
    """Equations whose recursion does not explode, and the spectral radius before.

    rest: equations that are stable, towards which the lag terms are drawn as far as is needed (by bisection).
    """
    radius = spectral_radius(equations, weights)
    if radius <= STABLE:
        return equations, radius
    low, high = 0.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        stable = spectral_radius(_between(rest, equations, middle), weights) <= STABLE
        low, high = (middle, high) if stable else (low, middle)
    return _between(rest, equations, low), radius


def at_rest(equations: Equations, *, anchored: bool) -> Equations:
    """Without memory; or, if `anchored`, it was over the last four seasons."""
    own, neighbour = np.zeros_like(equations.own), np.zeros_like(equations.neighbour)
    if anchored:
        long = long_mean(equations.terms)
        for v in range(len(own)):
            own[v, v, long] = 1.0
        neighbour[0, 0, long] = -equations.rho
    return replace(equations, own=own, neighbour=neighbour)


def _between(rest: Equations, equations: Equations, share: float) -> Equations:
    return replace(
        equations,
        own=share * equations.own + (1 - share) * rest.own,
        neighbour=share * equations.neighbour + (1 - share) * rest.neighbour,
    )


def iterate(equations: Equations, past: Floats, known: Floats, weights: Floats, shocks: Floats) -> Floats:
    """Paths [V, S, H, R] that follow past [V, T, R] (T >= 1), with known [H, R, K] and shocks [V, S, H, R]."""
    terms = equations.terms
    length = terms.shape[1]
    multiplier = np.linalg.inv(np.eye(len(weights)) - equations.rho * weights)
    padded = np.concatenate([np.repeat(past[:, :1], length, axis=1), past], axis=1)[:, -length:]
    variables, paths, horizon, regions = shocks.shape
    track = np.empty((variables, paths, length + horizon, regions))
    track[:, :, :length] = padded[:, None]
    backwards = terms[:, ::-1]
    for h in range(horizon):
        own = np.einsum("pl,vslr->vpsr", backwards, track[:, :, h : h + length])
        step = means(equations, own, own @ weights.T, known[h][None]) + shocks[:, :, h]
        step[0] = step[0] @ multiplier.T
        track[:, :, length + h] = step
    return track[:, :, length:]
