"""Base forecasts of all nodes to ones that add up: the estimators. No Spark.

Sources: Hyndman, Ahmed, Athanasopoulos & Shang 2011 (bottom-up, top-down, OLS); Athanasopoulos, Ahmed & Hyndman 2009
(forecast proportions); Wickramasuriya, Athanasopoulos & Hyndman 2019 (MinT); Wickramasuriya, Turlach & Hyndman 2020
(non-negative).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from stspark.hierarchy.tree import Floats, Tree
from stspark.hierarchy.weights import WEIGHTS, error_covariance

BOTTOM_UP, FORECAST_SHARES, PAST_SHARES = "bottom_up", "top_down_forecast", "top_down_history"
METHODS: tuple[str, ...] = (BOTTOM_UP, PAST_SHARES, FORECAST_SHARES, *WEIGHTS)


def project(base: Floats, summing: Floats, covariance: Floats) -> Floats:
    """Regions' reconciled forecasts [regions, days] of base forecasts [n, days]: minimum trace.

    The unconstrained (Lagrangian) form G = J - J W U' (U' W U)^-1 U', which inverts only as many rows as there are
    nodes above the regions: upper minus what the regions sum to is spread over all nodes by W.
    """
    upper = len(summing) - summing.shape[1]
    gap = base[:upper] - summing[:upper] @ base[upper:]
    constraint = np.hstack([np.eye(upper), -summing[:upper]])
    spread = constraint @ covariance
    bottom: Floats = base[upper:] - spread[:, upper:].T @ np.linalg.solve(spread @ constraint.T, gap)
    return bottom


def non_negative(base: Floats, summing: Floats, covariance: Floats) -> Floats:
    """As `project`, under the constraint that no region is below zero: non-negative least squares, day by day.

    Minimises (base - S b)' W^-1 (base - S b) over b >= 0, on the days for which `project` gives a negative region.
    """
    bottom = project(base, summing, covariance)
    days = np.flatnonzero((bottom < 0).any(axis=0))
    if len(days):
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        left, right = whiten @ summing, whiten @ base
        for day in days:
            bottom[:, day] = nnls(left, right[:, day], maxiter=30 * summing.shape[1])[0]
    return bottom


def top_down(total: Floats, shares: Floats) -> Floats:
    """[regions, days] the total's forecast [days] split by shares [regions] or [regions, days], which sum to 1."""
    return total * (shares if shares.ndim == 2 else shares[:, None])


def forecast_shares(base: Floats, tree: Tree) -> Floats:
    """[regions, days] forecast proportions: at each node its share in the base forecasts of its parent's children.

    Equal shares where the children's base forecasts sum to nothing.
    """
    share = np.ones_like(base)
    for node in range(tree.n_upper):
        children = tree.children(node)
        values = np.maximum(base[children], 0.0)
        total = values.sum(axis=0)
        part = np.where(total > 0, values / np.where(total > 0, total, 1.0), 1.0 / len(children))
        share[children] = share[node] * part
    return share[tree.n_upper :]


def past_shares(history: Floats) -> Floats:
    """[regions] proportions of historical averages of actual values [observations, regions] (Gross & Sohl 1990, F)."""
    mean = np.maximum(np.nan_to_num(np.nanmean(np.vstack([history, np.full(history.shape[1], np.nan)]), axis=0)), 0.0)
    total = float(mean.sum())
    return mean / total if total > 0 else np.full(len(mean), 1.0 / len(mean))


def reconcile(method: str, tree: Tree, base: Floats, closed: NDArray[np.bool_], past: tuple[Floats, Floats]) -> Floats:
    """Regions' forecasts [regions, days], never below zero where no base forecast of a region is.

    base: [n, days]; closed: [regions, days], where the forecast is 0 whatever happens; past: errors [observations, n]
    and actual values [observations, regions] from which weights and shares are estimated.
    """
    summing, upper = tree.summing, tree.n_upper
    if method == BOTTOM_UP:
        return np.where(closed, 0.0, base[upper:])
    if method in (PAST_SHARES, FORECAST_SHARES):
        shares = past_shares(past[1])[:, None] if method == PAST_SHARES else forecast_shares(base, tree)
        open_shares = np.where(closed, 0.0, shares)
        held = open_shares.sum(axis=0)
        return top_down(base[0], open_shares / np.where(held > 0, held, 1.0))
    covariance = error_covariance(method, tree, past[0])
    floor = bool((base[upper:] >= 0).all())
    bottom = np.zeros((tree.n_regions, base.shape[1]))
    for pattern in np.unique(closed, axis=1).T:
        days = (closed == pattern[:, None]).all(axis=0)
        bottom[np.ix_(~pattern, days)] = _open_only(base[:, days], summing, covariance, ~pattern, floor)
    return bottom


def _open_only(base: Floats, summing: Floats, covariance: Floats, is_open: NDArray[np.bool_], floor: bool) -> Floats:
    """The projection with the closed regions taken out (their value is known: nothing), and nodes without any left."""
    upper = len(summing) - len(is_open)
    kept = np.concatenate([summing[:upper][:, is_open].any(axis=1), is_open])
    if not is_open.any():
        return np.zeros((0, base.shape[1]))
    parts = (base[kept], summing[np.ix_(kept, is_open)], covariance[np.ix_(kept, kept)])
    return non_negative(*parts) if floor else project(*parts)
