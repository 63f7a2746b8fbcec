"""Prophet: a piecewise linear trend with weekly and yearly seasons, holidays and covariates."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import options
from stspark.models.regional.gaussian import checked

logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)  # else: an error at import for want of plotly
from prophet import Prophet  # noqa: E402 - after its logger is set
from prophet.serialize import model_from_json, model_to_json  # noqa: E402

logging.getLogger("prophet").setLevel(logging.ERROR)
logging.getLogger("cmdstanpy").addHandler(logging.NullHandler())  # else it adds its own, and sets its level
logging.getLogger("cmdstanpy").setLevel(logging.ERROR)  # two lines at INFO for each fit

Days = NDArray[np.datetime64]

_SEED = 20240601
_YEAR = 365.25
_REGRESSOR = "covariate_"
"""Before each covariate's name: Prophet keeps names such as `trend` and `cap` for itself."""


@dataclass(frozen=True)
class ProphetModel:
    """Taylor & Letham (2018), "Forecasting at scale", The American Statistician 72(1), by MAP.

    Days that were not observed are left out. The weekly season is fitted where steps are shorter than a
    week, the yearly one from `yearly_from` years on (Prophet itself warns below 2). Covariates that are
    constant in the history are left out. seasonality_mode: additive or multiplicative;
    changepoint_prior_scale: how freely the trend bends; samples: draws behind the quantiles.
    """

    seasonality_mode: str = "additive"
    changepoint_prior_scale: float = 0.05
    n_changepoints: int = 25
    yearly_from: float = 1.5
    samples: int = 1000

    name: ClassVar[str] = "prophet"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = False

    def __post_init__(self) -> None:
        where = "models.prophet."
        options.one_of(where + "seasonality_mode", self.seasonality_mode, ("additive", "multiplicative"))
        options.positive(where + "changepoint_prior_scale", self.changepoint_prior_scale)
        options.whole(where + "n_changepoints", self.n_changepoints, at_least=0)
        options.positive(where + "yearly_from", self.yearly_from)
        options.whole(where + "samples", self.samples, at_least=100)

    def fit(self, history: Series) -> Parameters:
        """Estimate on the observed days; raise ValueError when they are too few or Stan fails."""
        seen = int(history.observed.sum())
        if seen < self.min_length:
            raise ValueError(f"prophet needs {self.min_length} observed days; there are {seen}")
        covariates = _varying(history)
        frame = _frame(history.dates, history.covariates, history.names, covariates)
        frame["y"] = history.y
        with _quiet(), tempfile.TemporaryDirectory(prefix="stan-") as scratch:
            model = self._specified(history, covariates)
            try:
                model.fit(frame[history.observed], seed=_SEED, output_dir=scratch)
            except RuntimeError as error:
                raise ValueError(f"prophet: Stan did not converge: {error}") from error
        return self._readable(model, history, covariates) | {"state": {"model": _serialised(model)}}

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Forecast with the fit's trend, seasons and effects; quantiles of `samples` seeded draws.

        Raises ValueError when `history` does not end where the fit's did.
        """
        if str(history.dates[-1]) != parameters["last_day"]:
            fitted, given = parameters["last_day"], history.dates[-1]
            raise ValueError(f"prophet was fitted up to {fitted}, the history ends on {given}; fit it again")
        frame = _frame(future.dates, future.covariates, history.names, parameters["covariates"])
        with _quiet(), _seeded():
            model = model_from_json(json.dumps(parameters["state"]["model"]))
            if model.holidays is not None:  # Prophet itself leaves out names that the fit has not seen
                model.holidays = pd.concat([model.holidays, _holidays(future.dates, future.holidays)])
            draws = model.predictive_samples(frame)["yhat"]
            model.uncertainty_samples = 0
            mean = model.predict(frame)["yhat"].to_numpy(dtype=np.float64)
        return checked(Forecast(mean, np.quantile(draws, list(quantiles), axis=1).T))

    def _specified(self, history: Series, covariates: Sequence[str]) -> Any:
        """A Prophet model, not yet fitted."""
        years = float((history.dates[-1] - history.dates[0]) / np.timedelta64(1, "D")) / _YEAR
        holidays = _holidays(history.dates, history.holidays)
        model: Any = Prophet(
            seasonality_mode=cast(Any, self.seasonality_mode),
            changepoint_prior_scale=self.changepoint_prior_scale,
            n_changepoints=self.n_changepoints,
            weekly_seasonality="auto",
            yearly_seasonality=years >= self.yearly_from,
            daily_seasonality=False,
            holidays=holidays if len(holidays) else None,
            uncertainty_samples=self.samples,
        )
        for name in covariates:
            model.add_regressor(_REGRESSOR + name)
        return model

    def _readable(self, model: Any, history: Series, covariates: list[str]) -> Parameters:
        """What was fitted, in words and numbers; growth and noise in the target's unit."""
        growth = float(model.params["k"].mean() + model.params["delta"].sum())
        per_day = growth * model.y_scale / (model.t_scale / pd.Timedelta(days=1))
        return {
            "model": f"Prophet({self.seasonality_mode})",
            "seasons": list(model.seasonalities),
            "trend_per_day": float(per_day),
            "sigma": float(model.params["sigma_obs"].mean() * model.y_scale),
            "covariates": covariates,
            "days": len(history),
            "days_used": len(model.history),
            "first_day": str(history.dates[0]),
            "last_day": str(history.dates[-1]),
        }


def _varying(history: Series) -> list[str]:
    """Names of the covariates that vary over the observed days."""
    seen = history.covariates[history.observed]
    return [name for i, name in enumerate(history.names) if np.ptp(seen[:, i]) > 0]


def _frame(dates: Days, covariates: Floats, names: Sequence[str], kept: Sequence[str]) -> pd.DataFrame:
    """Prophet's frame: ds and one column per covariate kept. dates: [n]; covariates: [n, len(names)]."""
    columns = {_REGRESSOR + name: covariates[:, list(names).index(name)] for name in kept}
    return pd.DataFrame({"ds": dates.astype("datetime64[ns]"), **columns})


def _holidays(dates: Days, names: Sequence[str]) -> pd.DataFrame:
    """Prophet's frame of holidays: holiday, ds; empty without a calendar."""
    named = [(name, day) for name, day in zip(names, dates.astype("datetime64[ns]"), strict=False) if name]
    return pd.DataFrame(named, columns=["holiday", "ds"])


def _serialised(model: Any) -> dict[str, Any]:
    """prophet.serialize's dict without what only plots and in-sample fits read (140 kB down to 30).

    Two days of history stay: Prophet takes the length of a step from them.
    """
    model.history = model.history[["ds", "y", "t"]].tail(2)
    model.history_dates = model.history_dates.tail(2)
    model.params.pop("trend", None)
    model.fit_kwargs = {}
    whole: dict[str, Any] = json.loads(model_to_json(model))
    return whole


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed numpy's global generator, from which Prophet draws, and put it back afterwards."""
    before = np.random.get_state()
    np.random.seed(_SEED)
    try:
        yield
    finally:
        np.random.set_state(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pandas' and numpy's warnings about Prophet's internals out of the logs."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
