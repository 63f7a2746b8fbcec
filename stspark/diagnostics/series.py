"""Tests of one region's series: stationarity, autocorrelation, season, remainder, and the orders that they suggest."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from statsmodels.stats.diagnostic import acorr_ljungbox, het_arch
from statsmodels.tools.sm_exceptions import InterpolationWarning
from statsmodels.tsa.seasonal import STL
from statsmodels.tsa.stattools import acf, adfuller, kpss, pacf

from stspark.diagnostics.finding import LEVEL, Finding, NotApplicable, described, tried

Floats = NDArray[np.float64]
Parts = tuple[Floats, Floats, Floats]
STRONG = 0.64
"""Seasonal strength from which a seasonal difference is advised (Wang, Smith & Hyndman 2006; R forecast::nsdiffs)."""
LAGS = 28
LONGEST = 60
"""Longest period that is tried for a season, and the days of the running median that it is seen against."""


def series_findings(y: Floats, season: int) -> list[Finding]:
    """All tests of a series [n] without gaps; `season` is the configured one, in periods."""
    y = np.asarray(y, dtype=float)
    parts = functools.cache(lambda: decompose(y, season))
    groups = (
        ("adf", lambda: [_adf(y)]),
        ("kpss", lambda: [_kpss(y)]),
        ("acf", lambda: _autocorrelation(y)),
        ("season_length", lambda: [season_length(y)]),
        ("season_strength", lambda: _decomposed(parts(), season)),
        ("suggested_d", lambda: _orders(y, season, parts() if season > 1 else None)),
    )
    return [finding for name, make in groups for finding in tried(name, make)]


def _require(y: Floats, least: int) -> None:
    if len(y) < least:
        raise NotApplicable(f"{len(y)} days are fewer than {least}")
    if np.ptp(y) == 0:
        raise NotApplicable("the series is constant")


def _adf(y: Floats) -> Finding:
    """Augmented Dickey-Fuller, constant, lags by AIC: the null hypothesis is a unit root."""
    _require(y, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # statsmodels announces a named result
        found = list(adfuller(y, maxlag=min(14, len(y) // 4), autolag="AIC"))
    statistic, p = (float(str(value)) for value in found[:2])
    verdict = "returns to its level" if p < LEVEL else "may wander without returning (unit root not refused)"
    return Finding("adf", float(statistic), float(p), verdict)


def _kpss(y: Floats) -> Finding:
    """Kwiatkowski et al. (1992), level: the null hypothesis is stationarity; p is bounded to 0.01 .. 0.1."""
    _require(y, 30)
    statistic, p = _kpss_of(y)
    verdict = "the level moves" if p < LEVEL else "no sign that the level moves"
    return Finding("kpss", statistic, p, verdict)


def _kpss_of(y: Floats) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterpolationWarning)  # p beyond the table is its border
        warnings.simplefilter("ignore", FutureWarning)
        statistic, p = kpss(y, regression="c", nlags="auto")[:2]
    return float(statistic), float(p)


def _autocorrelation(y: Floats) -> list[Finding]:
    """acf and pacf up to four weeks: the largest value, and the lags outside 1.96 / sqrt(n)."""
    _require(y, 30)
    lags = min(LAGS, len(y) // 3)
    bound = 1.96 / np.sqrt(len(y))
    found = []
    for name, values in (("acf", acf(y, nlags=lags, fft=True)), ("pacf", pacf(y, nlags=lags, method="ywm"))):
        inner = values[1:]
        order = np.argsort(-np.abs(inner), kind="stable")
        lag = [int(k) + 1 for k in order if abs(inner[k]) > bound]
        largest = int(order[0])
        more = f" and {len(lag) - 8} more" if len(lag) > 8 else ""
        shown = ", ".join(map(str, lag[:8])) + more
        verdict = f"significant lags, largest first: {shown}" if lag else "no lag is significant"
        found.append(described(name, float(inner[largest]), verdict))
    return found


def season_length(y: Floats) -> Finding:
    """The period by which folded days differ most surely from each other (epoch folding, Leahy et al. 1983, ApJ 266).

    For every period up to a third of the series, an F-test that all phases have the same mean, of the series without
    its level (running median), first-order autocorrelation and single spikes; the smallest p-value, times the number
    of periods tried (Bonferroni), decides. Multiples of a period are tried too and lose, having more phases.
    """
    _require(y, 30)
    x = _without_level(y)
    lagged = x[:-1] @ x[:-1]
    x = x[1:] - (x[:-1] @ x[1:] / lagged if lagged > 0 else 0.0) * x[:-1]
    if not np.ptp(x) > 0:
        raise NotApplicable("the series has no days that differ from their level")
    tried_periods = range(2, min(len(x) // 3, LONGEST) + 1)
    chances = [_folded(x, period) for period in tried_periods]
    best = int(np.argmin(chances))
    p = min(1.0, len(chances) * chances[best])
    if p >= LEVEL:
        return Finding("season_length", 1.0, p, "no period stands out of the noise")
    length = tried_periods[best]
    return Finding("season_length", float(length), p, f"repeats every {length} days")


def _without_level(y: Floats) -> Floats:
    """[n] y over its running median, spikes beyond three robust standard deviations cut off."""
    x = y - pd.Series(y).rolling(LONGEST, center=True, min_periods=LONGEST // 4).median().to_numpy()
    spread = 1.4826 * float(np.median(np.abs(x - np.median(x))))
    return np.asarray(np.clip(x, -3 * spread, 3 * spread) if spread > 0 else x)


def _folded(x: Floats, period: int) -> float:
    """p-value that the means of all phases are equal."""
    phase = np.arange(len(x)) % period
    n = np.bincount(phase)
    means = np.bincount(phase, weights=x) / n
    between = float(n @ (means - x.mean()) ** 2)
    within = float(((x - means[phase]) ** 2).sum())
    if within <= 1e-12 * between:
        return 0.0
    return float(f_distribution.sf(between / (period - 1) / (within / (len(x) - period)), period - 1, len(x) - period))


def _decomposed(parts: Parts, season: int) -> list[Finding]:
    """Strength of season and trend of a robust STL, then Ljung-Box and ARCH of what is left."""
    seasonal, trend, rest = parts
    strength = {}
    for name, part in (("season_strength", seasonal), ("trend_strength", trend)):
        total = float(np.var(part + rest))
        strength[name] = max(0.0, 1 - float(np.var(rest)) / total) if total > 0 else 0.0
    words = {name: _how_strong(value) for name, value in strength.items()}
    found = [
        described(
            "season_strength", strength["season_strength"], f"{words['season_strength']} season of {season} days"
        ),
        described("trend_strength", strength["trend_strength"], f"{words['trend_strength']} trend"),
    ]
    return found + tried("ljung_box", lambda: _remainder(rest, season))


def decompose(y: Floats, season: int) -> Parts:
    """Seasonal part, trend and rest of a robust STL (Cleveland et al. 1990); NotApplicable below three seasons."""
    if season < 2:
        raise NotApplicable("there is no season")
    _require(y, max(3 * season, 15))
    made = STL(y, period=season, robust=True).fit()
    return np.asarray(made.seasonal), np.asarray(made.trend), np.asarray(made.resid)


def _how_strong(value: float) -> str:
    return "strong" if value >= STRONG else "moderate" if value >= 0.3 else "weak"


def _remainder(rest: Floats, season: int) -> list[Finding]:
    box = acorr_ljungbox(rest, lags=[2 * season]).iloc[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # as above
        lm, p = (float(str(value)) for value in list(het_arch(rest, nlags=season))[:2])
    left = "season and trend leave a pattern to model" if box["lb_pvalue"] < LEVEL else "season and trend explain it"
    calm = "calm and wild spells follow each other (intervals should widen)" if p < LEVEL else "evenly noisy"
    return [
        Finding("ljung_box", float(box["lb_stat"]), float(box["lb_pvalue"]), left),
        Finding("arch", float(lm), float(p), calm),
    ]


def _orders(y: Floats, season: int, parts: Parts | None) -> list[Finding]:
    """D by the strength of the season, d by repeated KPSS (Hyndman & Khandakar 2008), and the season itself."""
    _require(y, max(30, 3 * season))
    seasonal, _, rest = parts or (np.zeros(len(y)), y, y)
    total = float(np.var(seasonal + rest))
    big = int(season > 1 and total > 0 and 1 - np.var(rest) / total >= STRONG)
    x, small = (y[season:] - y[:-season] if big else y), 0
    while small < 2 and np.ptp(x) > 0 and _kpss_of(x)[1] < LEVEL:
        x, small = np.diff(x), small + 1
    found = season_length(y)
    kept = int(found.statistic) if found.statistic > 1 and len(y) >= 3 * found.statistic else season
    return [
        described("suggested_d", small, f"difference {small} time{'s' if small != 1 else ''}"),
        described("suggested_D", big, "difference by the season once" if big else "no seasonal difference"),
        described("suggested_season", kept, f"a season of {kept} days"),
    ]
