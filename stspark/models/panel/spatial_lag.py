"""Maximum likelihood of the spatial lag y = ρWy + Xβ + region effects + ε over a panel, and its effects.

The likelihood is concentrated on ρ, its log-determinant taken from the eigenvalues of W (Ord 1975; LeSage & Pace 2009,
Introduction to Spatial Econometrics, ch. 3), region effects removed by demeaning (Elhorst 2010, "Spatial Panel Data
Models", in Handbook of Applied Spatial Analysis). All days are pooled: ρ of a single day is noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stspark.models.base import Floats

LIMIT = 0.999
"""|ρ| stays below this share of its stationary range."""
STEPS = 60


@dataclass(frozen=True)
class SpatialLag:
    """ρ and β [K], their standard errors, and the residual variance."""

    rho: float
    beta: Floats
    rho_error: float
    beta_error: Floats
    sigma2: float


def fit_spatial_lag(y: Floats, x: Floats, weights: Floats, ridge: float = 0.0) -> SpatialLag:
    """Estimate from y [T, R], x [T, R, K] (no constant) and weights [R, R].

    ridge: penalty on β, per row and relative to each column's variance; 0 is maximum likelihood.
    """
    days, regions = y.shape
    y, x = y - y.mean(axis=0), x - x.mean(axis=0)
    lagged = y @ weights.T
    flat = x.reshape(days * regions, -1)
    solve = _least_squares(flat, ridge)
    b0, b1 = solve(y.ravel()), solve(lagged.ravel())
    e0, e1 = y.ravel() - flat @ b0, lagged.ravel() - flat @ b1
    moments = float(e0 @ e0), float(e0 @ e1), float(e1 @ e1)
    eigenvalues = np.asarray(np.linalg.eigvals(weights), dtype=np.complex128)

    def likelihood(rho: float) -> float:
        rss = moments[0] - 2 * rho * moments[1] + rho**2 * moments[2]
        determinant = float(np.log(np.abs(1 - rho * eigenvalues)).sum())
        return float(days * determinant - 0.5 * days * regions * np.log(rss / (days * regions)))

    rho = _maximise(likelihood, *rho_range(eigenvalues)) if moments[2] > 0 else 0.0
    beta = b0 - rho * b1
    sigma2 = (moments[0] - 2 * rho * moments[1] + rho**2 * moments[2]) / (days * regions)
    errors = _standard_errors(flat, weights, rho, beta, sigma2)
    return SpatialLag(rho, beta, float(errors[-1]), errors[:-1], sigma2)


def effects(rho: float, beta: Floats, weights: Floats) -> dict[str, Floats]:
    """Direct, indirect and total effects [K] of a unit change everywhere (LeSage & Pace 2009, ch. 2)."""
    multiplier = np.linalg.inv(np.eye(len(weights)) - rho * weights)
    direct, total = float(np.trace(multiplier)) / len(weights), float(multiplier.sum()) / len(weights)
    return {"direct": direct * beta, "indirect": (total - direct) * beta, "total": total * beta}


def rho_range(eigenvalues: NDArray[np.complex128]) -> tuple[float, float]:
    """The interval around 0 in which I - ρW is invertible and the process has finite variance."""
    low, high = float(eigenvalues.real.min()), float(eigenvalues.real.max())
    size = float(np.abs(eigenvalues).max())
    bound = 1.0 / size if size > 0 else 1.0
    return max(1.0 / low if low < 0 else -bound, -bound) * LIMIT, min(1.0 / high if high > 0 else bound, bound) * LIMIT


def _least_squares(x: Floats, ridge: float) -> Callable[[Floats], Floats]:
    """A function of a right-hand side [N] that returns β [K]; columns without variance get 0."""
    gram = x.T @ x
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-12))
    normal = gram / np.outer(scale, scale) + ridge * np.eye(len(gram))
    inverse = np.linalg.pinv(normal, rcond=1e-10, hermitian=True)
    return lambda right: np.asarray((inverse @ (x.T @ right / scale)) / scale)


def _maximise(function: Callable[[float], float], low: float, high: float) -> float:
    """Golden section on a function with one maximum (Kiefer 1953), to 1e-9 of the interval."""
    ratio = (np.sqrt(5.0) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    fa, fb = function(a), function(b)
    for _ in range(STEPS):
        if fa < fb:
            low, a, fa = a, b, fb
            b = low + ratio * (high - low)
            fb = function(b)
        else:
            high, b, fb = b, a, fa
            a = high - ratio * (high - low)
            fa = function(a)
    return float((low + high) / 2)


def _standard_errors(x: Floats, weights: Floats, rho: float, beta: Floats, sigma2: float) -> Floats:
    """[K + 1] of β, then ρ, from the information matrix (Elhorst 2010, eq. C.2.18); x: [T * R, K] demeaned."""
    regions, count = len(weights), x.shape[1]
    days = len(x) // regions
    inner = weights @ np.linalg.inv(np.eye(regions) - rho * weights)
    signal = ((x @ beta).reshape(days, regions) @ inner.T).ravel()
    information = np.zeros((count + 2, count + 2))
    information[:count, :count] = x.T @ x / sigma2
    information[:count, count] = information[count, :count] = x.T @ signal / sigma2
    own = days * float(np.trace(inner @ inner + inner.T @ inner))
    information[count, count] = own + float(signal @ signal) / sigma2
    information[count, -1] = information[-1, count] = days * float(np.trace(inner)) / sigma2
    information[-1, -1] = 0.5 * days * regions / sigma2**2
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    variance = np.diag(np.linalg.pinv(information / np.outer(size, size), hermitian=True)) / size**2
    return np.asarray(np.sqrt(np.maximum(variance[: count + 1], 0.0)))
