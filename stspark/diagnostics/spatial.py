"""Whether neighbours are alike: Moran's I of levels and residuals, where, and whether yesterday travels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from stspark.diagnostics.finding import LEVEL, Finding, NotApplicable

Floats = NDArray[np.float64]
PERMUTATIONS = 999
LEAST_REGIONS = 5


def row_standardised(weights: Floats) -> Floats:
    """Weights [n, n] whose rows sum to 1; an island's row stays 0."""
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1.0))


def moran(z: Floats, weights: Floats) -> float:
    """Moran's I (1950) of values [n] under weights [n, n]."""
    d = z - z.mean()
    return float(len(z) / weights.sum() * (d @ weights @ d) / (d @ d))


def moran_test(z: Floats, weights: Floats, seed: int) -> tuple[float, float]:
    """I and its two-sided p-value over 999 permutations of the regions."""
    rng = np.random.default_rng(seed)
    found = moran(z, weights)
    others = np.array([moran(rng.permutation(z), weights) for _ in range(PERMUTATIONS)])
    return found, pseudo_p(found, others)


def pseudo_p(found: float, others: Floats) -> float:
    """Two-sided p of a statistic among its permutations (Davison & Hinkley 1997): twice the smaller tail."""
    above, below = int((others >= found).sum()), int((others <= found).sum())
    return float(min(1.0, 2 * (min(above, below) + 1) / (len(others) + 1)))


def local_moran(z: Floats, weights: Floats, seed: int) -> tuple[Floats, Floats]:
    """Local I (Anselin 1995) of each region [n] and its p-value: the others are permuted around it."""
    rng = np.random.default_rng(seed)
    d = (z - z.mean()) / z.std()
    lag = weights @ d
    p = np.ones(len(z))
    for i in range(len(z)):
        near = np.flatnonzero(weights[i])
        if not len(near):
            continue
        rest = np.delete(d, i)
        drawn = np.array([rng.choice(rest, len(near), replace=False) for _ in range(PERMUTATIONS)])
        p[i] = pseudo_p(float(lag[i] * d[i]), d[i] * (drawn @ weights[i, near]))
    return d * lag, p


def false_discovery_bound(p: Floats, level: float = LEVEL) -> float:
    """Largest p-value that counts as found when at most `level` of the findings may be false (Benjamini & Hochberg)."""
    ordered = np.sort(p)
    kept = ordered <= level * np.arange(1, len(p) + 1) / len(p)
    return float(ordered[np.flatnonzero(kept).max()]) if kept.any() else 0.0


@dataclass(frozen=True)
class Field:
    """Regions that have neighbours, over days: names [n]; level [n]; residuals [t, n], NaN where not observed."""

    names: tuple[str, ...]
    level: Floats
    residuals: Floats
    weights: Floats


def make_field(names: tuple[str, ...], target: Floats, weights: Floats, season: int) -> Field:
    """The field of observed targets [t, n]: islands left out, weights row-standardised, levels on a log scale.

    A residual is the day's target less the region's mean of that day of the season and, then, less the mean of all
    regions on that day, over the region's standard deviation: what is left is local.
    """
    linked = (weights.sum(axis=1) > 0) & (np.isfinite(target).sum(axis=0) >= max(2 * season, 10))
    if linked.sum() < LEAST_REGIONS:
        raise NotApplicable(f"{int(linked.sum())} regions with neighbours are fewer than {LEAST_REGIONS}")
    y, w = target[:, linked], row_standardised(weights[np.ix_(linked, linked)])
    level = np.nanmean(y, axis=0)
    level = np.log(level) if (level > 0).all() else level
    rest = np.array(y)
    for k in range(season):
        part = rest[k::season]
        rest[k::season] = part - _mean(part)
    spread = np.nanstd(rest, axis=0)
    rest = rest / np.where(spread > 0, spread, 1.0)
    rest = rest - _mean(rest.T)[:, None]
    return Field(tuple(n for n, keep in zip(names, linked, strict=True) if keep), level, rest, w)


def _mean(values: Floats) -> Floats:
    """Column means without NaN; 0 for a column without values."""
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def level_findings(field: Field, seed: int) -> list[Finding]:
    """moran_levels: do large regions lie beside large ones."""
    value, p = moran_test(field.level, field.weights, seed)
    return [Finding("moran_levels", value, p, _alike(value, p, "levels of neighbours are"))]


def _alike(value: float, p: float, subject: str) -> str:
    if p >= LEVEL:
        return f"{subject} no more alike than by chance"
    return f"{subject} {'alike' if value > 0 else 'unlike'}"


def local_findings(field: Field, seed: int) -> dict[str, Finding]:
    """region -> local_moran of its level, judged under false-discovery control at 5%."""
    values, p = local_moran(field.level, field.weights, seed)
    bound = false_discovery_bound(p)
    high = field.level > field.level.mean()
    around = field.weights @ field.level > field.level.mean()
    words = {True: "high", False: "low"}
    return {
        name: Finding(
            "local_moran",
            float(values[k]),
            float(p[k]),
            f"{words[bool(high[k])]} among {words[bool(around[k])]} neighbours"
            if p[k] <= bound
            else "not told from chance (5% false discoveries)",
        )
        for k, name in enumerate(field.names)
    }


def residual_findings(field: Field, seed: int) -> list[Finding]:
    """moran_residuals: the mean over days of Moran's I of what season and common days leave.

    p: the regions are permuted, the same on all days, so that their own autocorrelation stays.
    """
    e = np.nan_to_num(field.residuals)
    return [_pooled("moran_residuals", (e, e), field.weights, seed)]


def _pooled(test: str, pair: tuple[Floats, Floats], weights: Floats, seed: int) -> Finding:
    """Sum over days of a'Wb over that of b'b; pair: a and b [t, n]; both are relabelled together."""
    a, b = pair
    cross, size = a.T @ b, float((b * b).sum())  # [n, n]: all that a relabelling needs
    if size == 0:
        raise NotApplicable("nothing is left after season and common days")
    rng = np.random.default_rng(seed)

    def of(order: NDArray[np.int64]) -> float:
        return float((weights * cross[np.ix_(order, order)]).sum()) / size

    n = len(weights)
    found = of(np.arange(n))
    p = pseudo_p(found, np.array([of(rng.permutation(n)) for _ in range(PERMUTATIONS)]))
    subject = "neighbours' surprises of the same day are"
    if test == "moran_space_time":
        subject = "a region and its neighbours the day before are"
    return Finding(test, found, p, _alike(found, p, subject))


def travel_findings(field: Field, seed: int) -> list[Finding]:
    """moran_space_time beside sar_coefficient: does yesterday next door tell something about today here.

    The bivariate Moran (Lee 2001) of today and the neighbours' yesterday mixes in what the region's own yesterday
    tells; the coefficient b of e_t = a e_(t-1) + b W e_(t-1) does not. Its p-value is clustered by day.
    """
    e = np.nan_to_num(field.residuals)
    now, before = e[1:], e[:-1]
    moran_row = _pooled("moran_space_time", (now, before), field.weights, seed)
    own, near = before, before @ field.weights.T
    x = np.stack([own.ravel(), near.ravel()], axis=1)
    inverse = np.linalg.pinv(x.T @ x)
    beta = inverse @ (x.T @ now.ravel())
    left = now - beta[0] * own - beta[1] * near
    scores = np.stack([(own * left).sum(axis=1), (near * left).sum(axis=1)], axis=1)  # [t, 2]
    error = np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))
    p = float(2 * norm.sf(abs(beta[1]) / error[1])) if error[1] > 0 else 1.0
    helps = "the neighbours' yesterday helps beyond the region's own" if p < LEVEL else "the neighbours add nothing"
    return [moran_row, Finding("sar_coefficient", float(beta[1]), p, helps)]
