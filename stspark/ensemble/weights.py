"""Weights of models that add up to one: equal, by inverse error, or stacked with shrinkage to all regions' weights.

Sources: Bates & Granger 1969, Oper. Res. Q. 20 (inverse error); Wolpert 1992 and Breiman 1996 (non-negative stacking);
Timmermann 2006, Handbook of Economic Forecasting 1 (why shrinkage towards equal weights pays).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from stspark.ensemble.windows import Flags, Floats

SUM_TO_ONE = 1e3
"""How much heavier than an error of one scale the sum of the weights weighs."""
ROUNDS = 3
"""Rounds of reweighting by the size of the errors."""
RIDGE = 0.1
"""Share of the best model's mean square that is added to every model's: it pulls towards equal weights."""
SMALLEST = 0.1
"""Smallest size of an error, in scales, that a day is divided by."""
TRUST = 30.0
"""Days of its own at which a region's errors weigh as much as those of all regions."""


def equal(usable: Flags) -> Floats:
    """[M] the same weight for every usable model; all models where none is usable."""
    some = usable if usable.any() else np.ones_like(usable)
    weights: Floats = some / some.sum()
    return weights


def inverse_error(losses: Floats, usable: Flags) -> Floats:
    """[M] weights as 1 / mean squared error: losses [M], usable [M]."""
    known = usable & np.isfinite(losses) & (losses > 0)
    if not known.any():
        return equal(usable)
    inverse = np.where(known, 1.0 / np.where(known, losses, 1.0), 0.0)
    weights: Floats = inverse / inverse.sum()
    return weights


def products(errors: Floats, around: Floats) -> tuple[Floats, float]:
    """Mean [M, M] of the products of the models' errors, each day's divided by its size, and the number of days.

    errors: [n, M] in scales, days with NaN are left out; around: [M] weights whose error is a day's size. Dividing by
    it turns the sum of squares into that of absolute errors (iteratively reweighted least squares).
    """
    known = errors[np.isfinite(errors).all(axis=1)]
    if not len(known):
        return np.zeros((errors.shape[1], errors.shape[1])), 0.0
    size = np.maximum(np.abs(known @ around), SMALLEST)
    mean: Floats = (known / size[:, None]).T @ known / len(known)
    return mean, float(len(known))


def pooled(errors: Floats) -> tuple[Floats, Floats]:
    """Weights [M] for all regions together, and the mean products [M, M] around them; errors: [n, M] in scales."""
    usable: Flags = np.asarray(np.isfinite(errors).any(axis=0))
    kept = np.where(usable, errors, 0.0)
    around = equal(usable)
    for _ in range(ROUNDS):
        mean, n = products(kept, around)
        around = stacked((mean, n), mean, 0.0, usable)
    return around, products(kept, around)[0]


def of_region(errors: Floats, around: Floats, together: Floats, usable: Flags) -> Floats:
    """Stacked weights [M] of a region: its errors [n, M] in scales, shrunk to those of all regions (`pooled`)."""
    kept = np.where(usable, errors, 0.0)
    for _ in range(ROUNDS):
        around = stacked(products(kept, around), together, TRUST, usable)
    return around


def stacked(own: tuple[Floats, float], together: Floats, trust: float, usable: Flags) -> Floats:
    """[M] non-negative weights that sum to one and minimise the combination's error.

    own: mean products [M, M] of the region's errors and their number of days; together: mean products of all regions,
    which count as `trust` days more.
    """
    mean, n = own
    if not usable.any() or (n + trust * bool(together.any())) == 0:
        return equal(usable)
    blend = (n * mean + trust * together) / (n + trust) if together.any() else mean
    place = np.flatnonzero(usable)
    part = blend[np.ix_(place, place)]
    part = part + RIDGE * np.diag(part).min() * np.eye(len(place))
    values, vectors = np.linalg.eigh(part)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    heavy = SUM_TO_ONE * max(float(np.sqrt(np.trace(part))), 1e-12)
    found, _ = nnls(np.vstack([root, np.full((1, len(place)), heavy)]), np.append(np.zeros(len(place)), heavy))
    if not found.sum() > 0:
        return equal(usable)
    weights = np.zeros(len(usable))
    weights[place] = found / found.sum()
    return weights
