"""Detectors of change: statistic and p-value each, for a short series of days. No Spark."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr
from scipy.stats import binom, chi2, rankdata

Floats = NDArray[np.float64]

SLACK = 0.5
"""CUSUM's allowance k, in standard deviations: half of the shift that it is to find fastest (Montgomery, SQC, 9.1)."""
MEDIAN_EFFICIENCY = 2 / np.pi
"""Share of the observations that a median is worth, of those that a mean takes (of normal ones)."""
RARE = 0.25
"""Share of the mean square that the median of the blocks' is at least, where errors are of one kind."""
DRAWS, SEED = 20_000, 20240601
FREEDOMS = (3, 5, 8, 12, 20, 40, 80)
"""Degrees of freedom for which the sequential detectors' distributions are simulated."""


@dataclass(frozen=True)
class Days:
    """Values of days [n], and how many of them came from each forecast: days of one forecast err alike."""

    values: Floats
    blocks: tuple[int, ...]

    @classmethod
    def of(cls, values: Floats, cutoffs: Sequence[object]) -> Days:
        """cutoffs: [n] what each day was forecast from."""
        return cls(values, tuple(Counter(cutoffs).values()))

    def __len__(self) -> int:
        return len(self.values)

    def design_effect(self, rho: float) -> float:
        """Variance of the mean over that of independent days (Kish 1965), days of a block being correlated by rho."""
        return 1.0 + rho * sum(b * (b - 1) for b in self.blocks) / max(sum(self.blocks), 1)

    def freedom(self, rho: float) -> float:
        """Degrees of freedom of their mean square: squares of days correlated by rho are so by rho squared."""
        return max(len(self) / self.design_effect(rho**2), 2.0)

    def usual(self, rho: float) -> tuple[float, float]:
        """Their usual root mean square and its degrees of freedom.

        With three blocks or more it is the median over blocks, so that weeks which were foreseen badly (the return of
        demand after a long holiday) do not hide what is not usual; each block's mean square is about chi-squared. Where
        it is far below the mean, rare large errors are usual themselves (intermittent demand), and the mean is taken.
        """
        squares = [float(np.mean(part**2)) for part in np.split(self.values, np.cumsum(self.blocks)[:-1])]
        mean, freedom = float(np.mean(self.values**2)), self.freedom(rho)
        middle = float(np.median(squares))
        if len(squares) < 3 or middle <= RARE * mean:
            return float(np.sqrt(mean)), freedom
        per_block = max(freedom / len(squares), 1.0)
        unbiased = middle * per_block / float(chi2.ppf(0.5, per_block))
        return float(np.sqrt(unbiased)), max(MEDIAN_EFFICIENCY * freedom, 2.0)


def mean_shift(new: Days, reference: Days, rho: float) -> tuple[float, float]:
    """t of the mean of `new` against 0, in the reference's usual root mean square, and its two-sided p-value.

    rho: correlation of days within a forecast; it widens the mean's error and costs the scale degrees of freedom.
    """
    if len(new) == 0 or len(reference) < 2:
        return 0.0, 1.0
    scale, freedom = reference.usual(rho)
    if scale == 0:
        return 0.0, 1.0 if not new.values.any() else 0.0
    t = float(new.values.mean()) / (scale * np.sqrt(new.design_effect(rho) / len(new)))
    return t, float(min(1.0, 2 * stdtr(freedom, -abs(t))))


def error_growth(new: Days, reference: Days, rho: float) -> tuple[float, float]:
    """Ratio of mean absolute errors, new to reference, and the one-sided p-value of a rank sum test on them.

    Ranks, since one large sale where demand is intermittent says nothing (Mann & Whitney 1947, normal approximation);
    the statistic is divided by the root of the design effect.
    """
    if len(new) < 2 or len(reference) < 2:
        return 1.0, 1.0
    a, b = np.abs(new.values), np.abs(reference.values)
    if b.mean() == 0:
        return float("inf") if a.any() else 1.0, 0.0 if a.any() else 1.0
    n, m = len(a), len(b)
    above = float(rankdata(np.concatenate([a, b]))[:n].sum()) - n * (n + 1) / 2 - n * m / 2
    z = above / np.sqrt(n * m * (n + m + 1) / 12 * new.design_effect(rho))
    return float(a.mean() / b.mean()), float(ndtr(-z))


def coverage(held: Days, rate: float, rho: float) -> tuple[float, float]:
    """Share of days within the interval (1 = inside), and the one-sided binomial p-value of so few.

    rate: the share that is usual. Days count as many as independent ones would (days / design effect).
    """
    if len(held) == 0:
        return rate, 1.0
    share = float(held.values.mean())
    whole = round(max(len(held) / held.design_effect(rho), 1.0))
    return share, float(binom.cdf(np.ceil(share * whole), whole, min(max(rate, 0.0), 0.99)))


def cusum(z: Floats) -> float:
    """The largest excursion of the two-sided tabular CUSUM (Page 1954) of standardised days, in deviations."""
    high = low = most = 0.0
    for value in z:
        high, low = max(0.0, high + value - SLACK), max(0.0, low - value - SLACK)
        most = max(most, high, low)
    return most


def page_hinkley(z: Floats) -> float:
    """Largest rise of the cumulated absolute values above their least (Page-Hinkley): grows when errors grow.

    The allowance is SLACK beyond the mean absolute value of a standard normal day.
    """
    drift = np.cumsum(np.abs(z) - np.sqrt(2 / np.pi) - SLACK)
    least = np.minimum.accumulate(np.concatenate([[0.0], drift]))[:-1] if len(drift) else drift
    return float(max((drift - least).max(initial=0.0), 0.0))


def tail_of(detector: str, value: float, days: int, rho: float, freedom: float) -> float:
    """p-value of a sequential detector's statistic over `days` normal days with equal correlation rho; simulated.

    freedom: degrees of freedom of the scale that the days were divided by.
    """
    nearest = min(FREEDOMS, key=lambda df: abs(np.log(df / freedom)))
    null = _null(detector, days, round(rho, 1), nearest)
    return float((1 + np.sum(null >= value)) / (1 + len(null)))


@functools.lru_cache(maxsize=64)
def _null(detector: str, days: int, rho: float, freedom: int) -> Floats:
    rng = np.random.default_rng(SEED)
    shared = rng.standard_normal((DRAWS, 1)) * np.sqrt(rho)
    z = shared + rng.standard_normal((DRAWS, days)) * np.sqrt(1 - rho)
    z /= np.sqrt(rng.chisquare(freedom, (DRAWS, 1)) / freedom)
    if detector == "cusum":
        high = low = most = np.zeros(DRAWS)
        for day in range(days):
            high = np.maximum(0.0, high + z[:, day] - SLACK)
            low = np.maximum(0.0, low - z[:, day] - SLACK)
            most = np.maximum(most, np.maximum(high, low))
        return np.asarray(most, dtype=np.float64)
    return np.array([page_hinkley(row) for row in z[:2000]])


def psi(new: Floats, reference: Floats, bins: int = 5) -> tuple[float, float]:
    """Population stability index over the reference's quantile bins, and its p-value.

    Where nothing has changed, PSI · n m / (n + m) is about chi-squared with bins - 1 degrees of freedom (Yurdakul 2018,
    "Statistical properties of the population stability index"). Empty bins count half a day.
    """
    if len(new) < 2 * bins or len(reference) < 4 * bins:
        return 0.0, 1.0
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    count = len(edges) + 1
    shares = []
    for sample in (new, reference):
        n = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=count)
        shares.append(np.maximum(n, 0.5) / np.maximum(n, 0.5).sum())
    a, b = shares
    index = float(((a - b) * np.log(a / b)).sum())
    size = len(new) * len(reference) / (len(new) + len(reference))
    return index, float(chi2.sf(index * size, max(count - 1, 1)))


def at_least(count: int, days: int, rate: float) -> float:
    """Probability of `count` or more of `days`, where each has probability `rate`."""
    return float(binom.sf(count - 1, days, min(rate, 1.0)))


def combined(p: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """One p-value of several tests of the same thing: their weighted harmonic mean (Good 1958; Wilson 2019, PNAS 116).

    Tests that depend on each other need no correction, as Bonferroni's would be; a test of weight w that alone stands
    out costs a factor of 1 / w. Weights are those of the tests named, scaled to sum to 1.
    """
    total = sum(weights[name] for name in p)
    inverse = sum(weights[name] / total / max(value, 1e-300) for name, value in p.items())
    return min(1.0, 1.0 / inverse) if inverse > 0 else 1.0


def benjamini_hochberg(p: Floats, level: float) -> NDArray[np.bool_]:
    """Which hypotheses are rejected at a false discovery rate of `level` (Benjamini & Hochberg 1995)."""
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= level * np.arange(1, len(p) + 1) / max(len(p), 1))
    rejected = np.zeros(len(p), dtype=bool)
    rejected[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return rejected


def holm(p: Floats, level: float) -> NDArray[np.bool_]:
    """Which hypotheses are rejected where any false rejection at all has probability `level` (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    passed = p[order] <= level / np.arange(len(p), 0, -1)
    rejected = np.zeros(len(p), dtype=bool)
    rejected[order[: len(p) if passed.all() else int(passed.argmin())]] = True
    return rejected
