"""Covariance of base forecast errors over a hierarchy's nodes: the weights of a reconciliation. No Spark."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from stspark.hierarchy.tree import Floats, Tree

Weights = Literal["ols", "wls_struct", "wls_var", "mint_shrink"]
WEIGHTS: tuple[str, ...] = get_args(Weights)
RIDGE = 2e-8
"""Least correlation shrinkage, and least variance as a share of the mean one: keeps W invertible."""


def error_covariance(method: str, tree: Tree, errors: Floats) -> Floats:
    """W [n, n] of the base errors [observations, n] (actual minus forecast; NaN = not observed).

    ols: identity; wls_struct: number of regions below the node; wls_var: mean squared errors (Hyndman, Lee & Wang
    2016); mint_shrink: their full covariance, correlations shrunk towards zero (Wickramasuriya, Athanasopoulos &
    Hyndman 2019). Only the ratios within W matter.
    """
    if method == "ols":
        return np.eye(len(tree.nodes))
    if method == "wls_struct":
        return np.diag(tree.summing.sum(axis=1))
    if method == "wls_var":
        return np.diag(variances(errors))
    if method == "mint_shrink":
        return shrunk_covariance(errors)
    raise ValueError(f"no covariance is called '{method}'; there are {', '.join(WEIGHTS)}")


def variances(errors: Floats) -> Floats:
    """[n] mean squared error of each node, never quite zero; the mean of the others where a node has none."""
    known = np.isfinite(errors)
    count = known.sum(axis=0)
    mean = np.where(known, errors, 0.0).__pow__(2).sum(axis=0) / np.maximum(count, 1)
    usual = float(mean[count > 0].mean()) if (count > 0).any() else 1.0
    floor: Floats = np.maximum(np.where(count > 0, mean, usual), max(RIDGE * usual, np.finfo(float).tiny))
    return floor


def shrunk_covariance(errors: Floats) -> Floats:
    """Covariance [n, n] of errors [observations, n] about zero, correlations shrunk towards 0.

    The intensity is that of Schäfer & Strimmer 2005 ("A shrinkage approach to large-scale covariance matrix
    estimation", eq. 10 with target D): the summed variances of the correlations over their summed squares. Days with a
    missing node are left out, except where none is complete: then missing errors count as zero.
    """
    complete = errors[np.isfinite(errors).all(axis=1)]
    used = complete if len(complete) >= 3 else np.nan_to_num(errors)
    variance = variances(errors)
    if len(used) < 3:
        return np.diag(variance)
    standard = used / np.sqrt(np.maximum(np.mean(used**2, axis=0), np.finfo(float).tiny))
    correlation = shrunk_correlation(standard)
    scale = np.sqrt(variance)
    covariance: Floats = correlation * np.outer(scale, scale)
    return covariance


def shrunk_correlation(standard: Floats) -> Floats:
    """Correlation [n, n] of standardised observations [observations, n], shrunk towards the identity."""
    m, n = standard.shape
    product = standard.T @ standard
    squares = (standard**2).T @ (standard**2)
    correlation = product / m
    spread = (squares - product**2 / m) / (m * (m - 1))
    off = ~np.eye(n, dtype=bool)
    total = float((correlation[off] ** 2).sum())
    intensity = 1.0 if total == 0 else float(np.clip(spread[off].sum() / total, RIDGE, 1.0))
    shrunk: Floats = (1 - intensity) * correlation
    np.fill_diagonal(shrunk, 1.0)
    return shrunk
