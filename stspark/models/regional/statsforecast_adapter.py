"""The border to statsforecast: its functions, the days they see, and its failures and noise.

The only module that imports it. Its model classes keep arrays as long as the history; the functions
beneath them take a fitted model as a dict, of which a few numbers are enough. statsforecast 2.x
is compiled C++ (no numba): nothing is compiled or cached per process.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import statsforecast.arima as _arima
import statsforecast.ces as _ces
import statsforecast.ets as _ets
import statsforecast.mfles as _mfles
import statsforecast.models as _models
import statsforecast.mstl as _mstl
import statsforecast.tbats as _tbats
import statsforecast.theta as _theta

from stspark.models.base import Floats, Parameters, Series

Fitted = dict[str, Any]
"""A model as statsforecast holds it."""

fit_ets: Callable[..., Fitted] = _ets.ets_f
forecast_ets: Callable[..., dict[str, Floats]] = _ets.forecast_ets
fit_arima: Callable[..., Fitted] = _arima.Arima
search_arima: Callable[..., Fitted] = _arima.auto_arima_f
forward_arima: Callable[..., Fitted] = _arima.forward_arima
forecast_arima: Callable[..., dict[str, Any]] = _arima.forecast_arima
fit_theta: Callable[..., Fitted] = _theta.auto_theta
forecast_theta: Callable[..., dict[str, Floats]] = _theta.forecast_theta
fit_ces: Callable[..., Fitted] = _ces.auto_ces
forecast_ces: Callable[..., dict[str, Floats]] = _ces.forecast_ces
fit_tbats: Callable[..., Fitted] = _tbats.tbats_selection
decompose: Callable[..., Any] = _mstl.mstl
new_mfles: Callable[..., Any] = _mfles.MFLES
smooth_tsb: Callable[..., dict[str, Floats]] = _models._tsb
smooth_imapa: Callable[..., dict[str, Floats]] = _models._imapa
smooth_croston: dict[str, Callable[..., dict[str, Floats]]] = {
    "classic": _models._croston_classic,
    "optimized": _models._croston_optimized,
    "sba": _models._croston_sba,
}


def level_and_fitted(made: dict[str, Floats]) -> tuple[float, Floats]:
    """A flat forecast's level, and the fitted values [n] (NaN before the first)."""
    return float(made["mean"][0]), np.asarray(made["fitted"], dtype=np.float64)


def training_days(model: str, history: Series, min_length: int, max_history: int | None) -> Floats:
    """Return the target of the last `max_history` days (of all, when None): [n] float64.

    Raises ValueError when `history` has fewer than `min_length` days or four seasons; no smaller
    `max_history` counts either.
    """
    needed = max(min_length, 4 * history.season)
    if len(history) < needed:
        raise ValueError(f"{model} needs {needed} days of history (season {history.season}); there are {len(history)}")
    y = history.y if max_history is None else history.y[-max(max_history, needed) :]
    return np.ascontiguousarray(y, dtype=np.float64)


def fitted_days(history: Series, y: Floats) -> Parameters:
    """Return which days `y`, the end of `history`, covers: readable entries for the parameters."""
    return {
        "season": history.season,
        "days": len(y),
        "first_day": str(history.dates[-len(y)]),
        "last_day": str(history.dates[-1]),
    }


def days_to_filter(model: str, parameters: Parameters, history: Series) -> Floats:
    """Return the target from the fit's first day to the end of `history`: [n] float64.

    A model's initial states belong to that day, so the filter must start there. Raises ValueError
    when `history` starts later.
    """
    first = np.datetime64(parameters["first_day"], "D")
    start = int(np.searchsorted(history.dates, first))
    if start == len(history) or history.dates[start] != first:
        raise ValueError(f"{model} was fitted from {first} on, a day that the history lacks; fit it again")
    return np.ascontiguousarray(history.y[start:], dtype=np.float64)


def json_number(value: float | None) -> float | None:
    """A float that JSON can hold: None for NaN and infinity."""
    return float(value) if value is not None and math.isfinite(value) else None


@contextmanager
def statsforecast_errors(model: str) -> Iterator[None]:
    """Turn whatever statsforecast raises into ValueError, and keep its warnings out of the logs.

    It raises bare Exception ("no model able to be fitted"), NotImplementedError ("tiny datasets"),
    LinAlgError and IndexError alike; it warns of every optimiser that stops early.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        raise ValueError(f"{model}: {type(error).__name__}: {error}") from error
