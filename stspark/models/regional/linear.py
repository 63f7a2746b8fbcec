"""Linear regression on the calendar and covariates known ahead, lifted to the latest level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.linear_model import RidgeCV

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import options
from stspark.models.regional.empirical import empirical_forecast, error_facts

_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
_YEAR = 365.25
_COVARIATE = "covariate_"


@dataclass(frozen=True)
class Linear:
    """Ridge regression (Hoerl & Kennard 1970) whose penalty leave-one-out errors choose; harmonic regression as in
    FPP3, 7.4 and 10.5.

    Columns: place in the season, `yearly_terms` Fourier pairs of the year (from `yearly_from` years of history),
    public holiday, every covariate that varies. half_life: days after which a day counts half; level_days: the
    forecast is lifted by the mean error of the last observed days; log: estimate on log(1 + y), so that effects are
    factors (not where the target falls below zero).
    """

    yearly_terms: int = 3
    yearly_from: float = 1.5
    half_life: float = 180.0
    level_days: int = 14
    log: bool = True

    name: ClassVar[str] = "linear"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.whole("models.linear.yearly_terms", self.yearly_terms, at_least=0)
        options.positive("models.linear.yearly_from", self.yearly_from)
        options.positive("models.linear.half_life", self.half_life)
        options.whole("models.linear.level_days", self.level_days, at_least=1)
        options.flag("models.linear.log", self.log)

    def fit(self, history: Series) -> Parameters:
        """Estimate on the observed days; raise ValueError when they are too few."""
        seen = history.observed
        if seen.sum() < self.min_length:
            raise ValueError(f"linear needs {self.min_length} observed days; there are {int(seen.sum())}")
        log = self.log and bool((history.y >= 0).all())
        years = len(history) / _YEAR
        terms = self.yearly_terms if years >= self.yearly_from else 0
        columns = _columns(history, history.dates[0], terms)
        kept = {name: values for name, values in columns.items() if np.ptp(values[seen]) > 0}
        target = np.log1p(history.y) if log else history.y
        age = np.arange(len(history))[::-1]
        coefficients, intercept, penalty = _ridge(
            np.column_stack([*kept.values(), np.zeros(len(history))])[seen],
            target[seen],
            0.5 ** (age / self.half_life)[seen],
        )
        parameters: Parameters = {
            "model": f"Linear({'log, ' if log else ''}{len(kept)} columns)",
            "log": log,
            "season": history.season,
            "yearly_terms": terms,
            "penalty": penalty,
            "intercept": intercept,
            "first_day": str(history.dates[0]),
            "last_day": str(history.dates[-1]),
            "days": len(history),
        }
        parameters |= {f"coef_{name}": float(c) for name, c in zip(kept, coefficients, strict=False)}
        return parameters | error_facts(self._errors(parameters, history)[0])

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """The regression of each day ahead plus the latest level; quantiles from past errors of just that."""
        errors, level = self._errors(parameters, history)
        ahead = Series(
            future.dates,
            np.zeros(len(future)),
            np.ones(len(future), bool),
            future.covariates,
            history.names,
            int(parameters["season"]),
            future.holidays,
        )
        mean = _regression(parameters, ahead) + level
        made = empirical_forecast(mean, errors, quantiles)
        return Forecast(np.expm1(made.mean), np.expm1(made.quantiles)) if parameters["log"] else made

    def _errors(self, parameters: Parameters, history: Series) -> tuple[Floats, float]:
        """[m] errors of the observed days, each against the level of the days before it; and the latest level."""
        target = np.log1p(np.maximum(history.y, 0.0)) if parameters["log"] else history.y
        rest = (target - _regression(parameters, history))[history.observed]
        if not len(rest):
            return rest, 0.0
        window = min(self.level_days, len(rest))
        sums = np.concatenate([[0.0], np.cumsum(rest)])
        levels = (sums[window:] - sums[:-window]) / window  # [m - window + 1], ending with the latest
        return rest[window:] - levels[:-1], float(levels[-1])


def _columns(days: Series, origin: np.datetime64, yearly_terms: int) -> dict[str, Floats]:
    """Name -> [n]: the season's places, harmonics of the year, holiday, covariates; counted from `origin`."""
    since = (days.dates - origin) / np.timedelta64(1, "D")
    columns = {f"place_{p}": (since % days.season == p) * 1.0 for p in range(days.season)}
    angle = 2 * np.pi * days.dates.astype("datetime64[D]").astype(np.int64) / _YEAR
    for k in range(1, yearly_terms + 1):
        columns |= {f"year_sin_{k}": np.sin(k * angle), f"year_cos_{k}": np.cos(k * angle)}
    if days.holidays:
        columns["public_holiday"] = np.array([name != "" for name in days.holidays]) * 1.0
    return columns | {_COVARIATE + name: days.covariates[:, i] for i, name in enumerate(days.names)}


def _regression(parameters: Parameters, days: Series) -> Floats:
    """[n] what the coefficients say of each day; a column that the fit did not have counts nothing."""
    columns = _columns(days, np.datetime64(parameters["first_day"], "D"), int(parameters["yearly_terms"]))
    total = np.full(len(days), float(parameters["intercept"]))
    for name, values in columns.items():
        total += parameters.get(f"coef_{name}", 0.0) * values
    return total


def _ridge(columns: Floats, target: Floats, weights: Floats) -> tuple[Floats, float, float]:
    """Coefficients in the columns' own units, intercept, penalty."""
    scale = columns.std(axis=0)
    scale[scale == 0] = 1.0
    model = RidgeCV(alphas=_PENALTIES).fit(columns / scale, target, sample_weight=weights)
    return np.asarray(model.coef_ / scale), float(model.intercept_), float(model.alpha_)
