"""Families of simulated daily series to pretrain on, each a mixture of what real demand is made of; no Spark.

log demand = trend + week + waves of the year + yearly events + promotions + level shifts + slow noise, then counts for
small series and a share of days without demand for intermittent ones. Every part is on or off by chance, after the
synthetic corpora of Chronos (Ansari et al. 2024, https://arxiv.org/abs/2403.07815) and TimesFM (Das et al. 2024,
https://arxiv.org/abs/2310.10688). Shapes: T days, N series.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from stspark.snapshot import Floats, Manifest, Snapshot

Days = NDArray[np.datetime64]

YEAR = 365.25
SEASON = 7


def simulated_families(count: int, days: int, last: date, seed: int) -> Snapshot:
    """`count` series of `days` days that end on `last`, each with its own draws; the same seed gives the same."""
    g = np.random.default_rng([seed, count, days])
    dates = np.datetime64(last, "D") - np.arange(days)[::-1]
    parts = (_trend, _week, _year, _events, _promotions, _shifts, _slow_noise)
    log = np.sum([part(g, dates, count) for part in parts], axis=0)
    y = _counted(g, np.exp(np.clip(log, -8.0, 8.0)) * np.exp(g.uniform(0.5, 8.0, count)))
    seen = g.random((days, count)) > np.where(g.random(count) < 0.2, 0.03, 0.0)
    manifest = Manifest(
        data_version=f"families-{seed}-{count}-{days}-{last}",
        regions=tuple(f"family-{k}" for k in range(count)),
        first_date=last - timedelta(days=days - 1),
        n_history=days,
        n_total=days,
        covariates=(),
        edges=(),
        season=SEASON,
        horizon=1,
        quantiles=(0.5,),
        seed=seed,
    )
    alive = np.ones((days, count), dtype=bool)
    return Snapshot(manifest, y, seen, alive, np.zeros((days, count, 0)), np.zeros((count, count)))


def _on(g: np.random.Generator, count: int, share: float) -> Floats:
    return (g.random(count) < share).astype(float)


def _trend(g: np.random.Generator, dates: Days, count: int) -> Floats:
    """[T, N] a straight line that bends at up to three days."""
    t = np.arange(len(dates))[:, None] / YEAR
    line = g.normal(0.0, 0.3, count) * t
    for _ in range(3):
        bend = g.uniform(0, t[-1, 0], count)
        line = line + g.normal(0.0, 0.4, count) * np.maximum(t - bend, 0.0) * _on(g, count, 0.3)
    return np.asarray(line * _on(g, count, 0.7))


def _week(g: np.random.Generator, dates: Days, count: int) -> Floats:
    """[T, N] a profile of the week that may drift into another."""
    weekday = (dates.astype(np.int64) + 3) % SEASON
    size = g.gamma(2.0, 0.15, count) * _on(g, count, 0.9)
    early, late = (g.normal(0.0, 1.0, (SEASON, count)) for _ in range(2))
    share = np.linspace(0.0, 1.0, len(dates))[:, None] * _on(g, count, 0.2)
    return np.asarray(size * ((1 - share) * early[weekday] + share * late[weekday]))


def _year(g: np.random.Generator, dates: Days, count: int) -> Floats:
    """[T, N] three waves of the year."""
    phase = 2 * np.pi * dates.astype(np.int64)[:, None] / YEAR
    waves = [np.sin(k * phase + g.uniform(0, 2 * np.pi, count)) * g.normal(0.0, 0.25 / k, count) for k in (1, 2, 3)]
    return np.asarray(sum(waves) * _on(g, count, 0.7))


def _events(g: np.random.Generator, dates: Days, count: int) -> Floats:
    """[T, N] a few days of the year that come again: up before them, down on them, or the other way round."""
    day = (dates - dates.astype("datetime64[Y]")).astype(np.int64)[:, None]
    total = np.zeros((len(dates), count))
    for _ in range(6):
        off = (day - g.integers(0, 365, count)).astype(float)
        rise = np.where((off < 0) & (off >= -g.integers(1, 14, count)), g.normal(0.1, 0.15, count), 0.0)
        total += (rise + np.where(np.abs(off) < g.integers(1, 3, count), g.normal(-0.2, 0.6, count), 0.0)) * _on(
            g, count, 0.6
        )
    return total


def _promotions(g: np.random.Generator, dates: Days, count: int) -> Floats:
    """[T, N] bursts of days at irregular times."""
    starts = g.random((len(dates), count)) < 0.01
    length = int(g.integers(2, 10))
    running = np.zeros((len(dates), count))
    for k in range(length):
        running[k:] += starts[: len(dates) - k]
    return np.asarray(np.minimum(running, 1.0) * np.abs(g.normal(0.0, 0.5, count)) * _on(g, count, 0.4))


def _shifts(g: np.random.Generator, dates: Days, count: int) -> Floats:
    """[T, N] at most two steps of the level."""
    t = np.arange(len(dates))[:, None]
    steps = [
        (t >= g.integers(0, len(dates), count)) * g.normal(0.0, 0.5, count) * _on(g, count, 0.25) for _ in range(2)
    ]
    return np.asarray(sum(steps))


def _slow_noise(g: np.random.Generator, dates: Days, count: int) -> Floats:
    """[T, N] first-order autoregression and plain noise."""
    rho, size = g.uniform(0.3, 0.99, count), g.gamma(2.0, 0.04, count)
    draws = g.normal(0.0, 1.0, (len(dates), count)) * np.sqrt(1 - rho**2)
    noise = np.empty_like(draws)
    state = g.normal(0.0, 1.0, count)
    for t in range(len(dates)):
        state = rho * state + draws[t]
        noise[t] = state
    return np.asarray(size * noise + g.normal(0.0, 1.0, noise.shape) * g.gamma(2.0, 0.04, count))


def _counted(g: np.random.Generator, mean: Floats) -> Floats:
    """Half of the series are counts; a tenth is intermittent."""
    counts = g.random(mean.shape[1]) < 0.5
    y = np.where(counts, g.poisson(np.minimum(mean, 1e6)), mean)
    idle = np.where(g.random(mean.shape[1]) < 0.1, g.uniform(0.2, 0.8, mean.shape[1]), 0.0)
    return np.asarray(y * (g.random(mean.shape) >= idle))
