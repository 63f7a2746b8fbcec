"""Ridge regression with shared and own coefficients: the normal equations form an arrow, which is solved by region.

With X_r the shared and Z_r the own columns of region r, the own block is eliminated: the shared coefficients b solve
(Σ_r X'X − X'Z (Z'Z + Λ)⁻¹ Z'X + Λ_s) b = Σ_r X'y − X'Z (Z'Z + Λ)⁻¹ Z'y (the Schur complement; Golub & Van Loan 2013,
section 3.2.11). The cost is linear in the regions.
"""

from __future__ import annotations

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.seasons.columns import Columns, Strength


def solve(columns: Columns, z: Floats, weight: Floats, strength: Strength) -> tuple[Floats, Floats]:
    """z, weight [T, R] -> coefficients [S] and [R, P] of the least penalised squares; weight 0 leaves a day out."""
    ridge, own_ridge = columns.penalties(strength)
    left, right = np.diag(ridge), np.zeros(len(ridge))
    kept = []
    for r in range(z.shape[1]):
        use = np.flatnonzero(weight[:, r] > 0)
        root = np.sqrt(weight[use, r])[:, None]
        x, own, y = columns.shared(r)[use] * root, columns.own[use] * root, z[use, r] * root[:, 0]
        across = own.T @ x  # [P, S]
        gone = np.linalg.solve(own.T @ own + np.diag(own_ridge), np.column_stack([across, own.T @ y]))  # [P, S + 1]
        left = left + x.T @ x - across.T @ gone[:, :-1]
        right = right + x.T @ y - across.T @ gone[:, -1]
        kept.append(gone)
    shared: Floats = np.asarray(np.linalg.solve(left, right), dtype=np.float64)
    own_found: Floats = np.stack([gone[:, -1] - gone[:, :-1] @ shared for gone in kept])
    return shared, own_found


def fitted(columns: Columns, shared: Floats, own: Floats) -> Floats:
    """[N, R]: every day's value by the coefficients, history and horizon."""
    return np.stack([columns.shared(r) @ shared + columns.own @ own[r] for r in range(len(own))], axis=1)


def robust(columns: Columns, z: Floats, weight: Floats, strength: Strength) -> tuple[Floats, Floats]:
    """`solve`, and once more with days further off than three deviations weighing less (Huber 1964)."""
    found = solve(columns, z, weight, strength)
    off = np.abs(z - fitted(columns, *found)[: len(z)])
    seen = off[weight > 0]
    usual = 3 * 1.4826 * float(np.median(seen)) if len(seen) else 0.0
    if usual == 0:
        return found
    return solve(columns, z, weight / np.maximum(1.0, off / usual), strength)
