"""Los-loop (207 loop detectors, 5-minute speeds) in the protocol of T-GCN (Zhao et al. 2020,
https://arxiv.org/abs/1811.05320): the first 80% of the steps to learn from, the rest to test; windows of 12 steps in
and 12 out lie wholly inside their part; RMSE and MAE in mph over all detectors and all steps up to 3, 6, 9, 12.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Forecaster = Callable[[int, int], Floats]
"""(first origin, count) -> [count, 12, R] speeds in mph of the 12 steps after each origin."""

DATA = Path("../shared/data/los_loop")
DAY, STEPS_IN, STEPS_OUT = 288, 12, 12
UP_TO = (3, 6, 9, 12)
WEEKEND = (2, 3)
"""Days of the file that are Saturday and Sunday: it begins on Thursday, 2012-03-01."""
BATCH = 64


@dataclass(frozen=True)
class Traffic:
    """speed: [N, R] mph, detectors in spectral order; weights: [R, R], row-standardised, without the diagonal."""

    speed: Floats
    weights: Floats

    @property
    def split(self) -> int:
        """First step of the test part."""
        return int(len(self.speed) * 0.8)


@dataclass(frozen=True)
class Errors:
    """rmse, mae: mph, over steps up to 3, 6, 9 and 12."""

    rmse: tuple[float, ...]
    mae: tuple[float, ...]


def load(folder: Path = DATA) -> Traffic:
    """Read both files; neighbours on the road lie near each other in the order of detectors."""
    speed = np.loadtxt(folder / "los_speed.csv.gz", delimiter=",", skiprows=1)
    near = np.loadtxt(folder / "los_adj.csv", delimiter=",")
    order = _spectral_order(near)
    speed, near = speed[:, order], near[np.ix_(order, order)]
    np.fill_diagonal(near, 0.0)
    total = near.sum(axis=1, keepdims=True)
    return Traffic(speed, near / np.where(total > 0, total, 1.0))


def _spectral_order(near: Floats) -> NDArray[np.int64]:
    """Order along the second eigenvector of the normalised Laplacian (Fiedler 1973); there are no coordinates."""
    both = np.maximum(near, near.T)
    np.fill_diagonal(both, 0.0)
    both = both + 1e-3  # joins what the roads do not
    root = 1.0 / np.sqrt(both.sum(axis=1))
    laplacian = np.eye(len(both)) - root[:, None] * both * root[None, :]
    _, vectors = np.linalg.eigh(laplacian)
    return np.argsort(vectors[:, 1] * np.sign(vectors[0, 1]), kind="stable")


def origins(first: int, end: int, out: int = STEPS_OUT) -> tuple[int, int]:
    """First origin and number of origins of windows, 12 steps in and `out` steps out, in first … end - 1.

    T-GCN's own loop leaves out the last such window, so this does.
    """
    start = first + STEPS_IN - 1
    return start, end - out - start - 1


def errors(traffic: Traffic, forecast: Forecaster, first: int, end: int) -> Errors:
    """Judge a forecaster on a part. Windows up to k steps need only k steps out: there are more of them for small k."""
    start, count = origins(first, end, UP_TO[0])
    missing = np.full((STEPS_OUT, traffic.speed.shape[1]), np.nan)
    truth = np.concatenate([traffic.speed[:end], missing])
    square, absolute = (np.zeros((count, STEPS_OUT)) for _ in range(2))
    for begin in range(0, count, BATCH):
        size = min(BATCH, count - begin)
        steps = np.arange(start + begin, start + begin + size)[:, None] + 1 + np.arange(STEPS_OUT)[None, :]
        miss = forecast(start + begin, size) - truth[steps]
        square[begin : begin + size] = (miss**2).mean(axis=2)
        absolute[begin : begin + size] = np.abs(miss).mean(axis=2)
    inside = {k: slice(0, origins(first, end, k)[1]) for k in UP_TO}
    rmse = [float(np.sqrt(square[inside[k], :k].mean())) for k in UP_TO]
    return Errors(tuple(rmse), tuple(float(absolute[inside[k], :k].mean()) for k in UP_TO))


def last_value(traffic: Traffic) -> Forecaster:
    """The speed at the origin, twelve times."""
    return lambda first, count: np.repeat(traffic.speed[first : first + count, None], STEPS_OUT, axis=1)


def mean_of_window(traffic: Traffic) -> Forecaster:
    """What T-GCN calls historical average: the mean of the 12 steps in."""

    def forecast(first: int, count: int) -> Floats:
        means = [traffic.speed[t - STEPS_IN + 1 : t + 1].mean(axis=0) for t in range(first, first + count)]
        return np.repeat(np.stack(means)[:, None], STEPS_OUT, axis=1)

    return forecast


def profile(traffic: Traffic, end: int, reach: int = 3) -> Floats:
    """[N + 12, R] usual speed at each step's time of day, from steps before `end` on other days of the same kind.

    Kinds are working day and weekend; the mean over days is smoothed over `reach` steps on both sides. A day never
    takes part in its own profile, so that a network does not learn to trust it more than it may.
    """
    steps, regions = traffic.speed.shape
    days = -(-(steps + STEPS_OUT) // DAY)
    padded = np.full((days * DAY, regions), np.nan)
    padded[:end] = traffic.speed[:end]
    by_day = padded.reshape(days, DAY, regions)
    usual = np.empty_like(by_day)
    for day in range(days):
        others = [d for d in range(days) if d != day and (d in WEEKEND) == (day in WEEKEND)]
        seen = ~np.isnan(by_day[others])
        total, count = np.where(seen, by_day[others], 0.0).sum(axis=0), seen.sum(axis=0)
        mean = np.where(count > 0, total / np.maximum(count, 1), traffic.speed[:end].mean(axis=0))
        usual[day] = np.mean([np.roll(mean, shift, axis=0) for shift in range(-reach, reach + 1)], axis=0)
    return usual.reshape(-1, regions)[: steps + STEPS_OUT]
