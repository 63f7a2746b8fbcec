"""Regional models: golden arithmetic, JSON round trips, filtering forward, no leaks, odd series, registry."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from statsforecast.models import ARIMA, AutoARIMA, AutoCES, AutoETS, DynamicOptimizedTheta

from stspark.errors import ConfigError
from stspark.models.base import Forecast, Future, Parameters, Series
from stspark.models.regional import registry
from stspark.models.regional.arima_estimate import finished, invertible, stationary
from stspark.models.regional.gaussian import checked
from stspark.models.regional.seasonal_naive import SeasonalNaive
from stspark.models.regional.statsforecast_adapter import fit_arima

QUANTILES = (0.025, 0.1, 0.3, 0.5, 0.7, 0.9, 0.975)
CARRYING = tuple(n for n in registry.known() if registry.build(n, {}).carries_forward)
ON_STATSFORECAST = ("auto_ets", "auto_arima", "sarima", "sarimax", "theta", "auto_ces")
EMPIRICAL = ("window_average", "mfles", "croston", "tsb", "imapa", "linear", "recurrent")
"""Models whose intervals are past errors: the middle one is not the mean."""
LONG = {"prophet": 30_000, "recurrent": 60_000, "tbats": 6_000, "mfles": 4_000, "linear": 2_000, "mstl": 1_500}
"""Characters of parameters, where they are more than a thousand."""
START = np.datetime64("2022-01-01")

# Box & Jenkins series G, thousands of passengers a month.
AIR_1958 = [340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337]
AIR_1959 = [360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405]
AIR_1960 = [417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432]


def series(y, season=7, observed=None) -> Series:
    """A history of `y` without covariates, from START on."""
    y = np.asarray(y, dtype=np.float64)
    seen = np.ones(len(y), bool) if observed is None else np.asarray(observed, bool)
    return Series(START + np.arange(len(y)), y, seen, np.zeros((len(y), 0)), (), season)


def after(history: Series, h: int) -> Future:
    """The h days after a history; covariates are 0, and no day is a holiday."""
    return Future(history.dates[-1] + 1 + np.arange(h), np.zeros((h, len(history.names))))


def demand(seed: int = 0, n: int = 420, h: int = 14) -> tuple[Series, Future]:
    """Daily counts with a weekly profile, a promotion worth +50 % and New Year's Day; and the h days after."""
    rng = np.random.default_rng(seed)
    dates = START + np.arange(n + h)
    week = 1 + 0.3 * np.sin(2 * np.pi * np.arange(n + h) / 7)
    promotion = (rng.random(n + h) < 0.1).astype(np.float64)
    y = rng.poisson(30 * week * (1 + 0.5 * promotion)).astype(np.float64)
    names = tuple("New Year's Day" if str(day).endswith("01-01") else "" for day in dates)
    constant = np.ones(n + h)
    covariates = np.column_stack([promotion, constant])
    history = Series(dates[:n], y[:n], rng.random(n) > 0.03, covariates[:n], ("promotion", "constant"), 7, names[:n])
    return history, Future(dates[n:], covariates[n:], names[n:])


def first(history: Series, n: int) -> Series:
    return history.until(history.dates[n - 1])


def same(one: Forecast, other: Forecast) -> None:
    """Equal to the last bit."""
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.quantiles, other.quantiles)


# ---------------------------------------------------------------- seasonal naive


@pytest.mark.parametrize(
    ("y", "observed", "season", "mean", "sigma"),
    [
        # steps 3-1, 5-2, 4-3, 5-5 = 2, 3, 1, 0: sigma = sqrt((4 + 9 + 1 + 0) / 4)
        pytest.param([1, 2, 3, 5, 4, 5], None, 2, [4, 5, 4], np.sqrt(14 / 4), id="two seasons and more"),
        # the third day was filled: the steps into and out of it fall away, 3 and 0 stay
        pytest.param([1, 2, 3, 5, 4, 5], [1, 1, 0, 1, 1, 1], 2, [4, 5, 4], np.sqrt(9 / 2), id="filled day"),
        pytest.param([1, 2, 4], None, 1, [4, 4, 4], np.sqrt((1 + 4) / 2), id="no season: the random walk"),
        # no step: the standard deviation of 2 and 6 is 2; the day before the first is their mean
        pytest.param([2, 6], None, 3, [4, 2, 6], 2.0, id="shorter than a season"),
        pytest.param([2, 6, 9], None, 3, [2, 6, 9], np.std([2, 6, 9]), id="exactly one season"),
        pytest.param([2, 6, 9], [1, 1, 0], 3, [2, 6, 9], 2.0, id="spread of observed days only"),
        pytest.param([2, 6], [0, 0], 3, [4, 2, 6], 2.0, id="nothing observed"),
        pytest.param([5], None, 7, [5, 5, 5], 0.0, id="one day"),
        pytest.param([4, 4, 4, 4], None, 2, [4, 4, 4], 0.0, id="constant"),
        pytest.param([0, 0, 0, 0], None, 2, [0, 0, 0], 0.0, id="zeros"),
    ],
)
def test_seasonal_naive(y, observed, season, mean, sigma):
    model, history = SeasonalNaive(), series(y, season, observed)
    parameters = model.fit(history)
    assert parameters["sigma"] == pytest.approx(sigma)
    assert model.predict(parameters, history, after(history, 3), [0.5]).mean.tolist() == mean


def test_seasonal_naive_widens_each_season():
    """sigma * sqrt(k + 1) (FPP3, table 5.2): steps 1..2 lie in season 0, 3..4 in 1, 5 in 2; z(0.9) = 1.2816."""
    history = series([1, 2, 3, 5, 4, 5], season=2)
    model = SeasonalNaive()
    forecast = model.predict(model.fit(history), history, after(history, 5), [0.1, 0.9])
    half = 1.2815515655446004 * np.sqrt(14 / 4) * np.sqrt([1, 1, 2, 2, 3])
    np.testing.assert_allclose(forecast.quantiles[:, 1] - forecast.mean, half)
    np.testing.assert_allclose(forecast.mean - forecast.quantiles[:, 0], half)


def test_seasonal_naive_on_air_passengers():
    """Box & Jenkins series G: 1959 as forecast of 1960; |errors| sum to 574. 1958 to 1959 gives sigma."""
    history = series(AIR_1958 + AIR_1959, season=12)
    model = SeasonalNaive()
    parameters = model.fit(history)
    errors = np.array(AIR_1960) - model.predict(parameters, history, after(history, 12), [0.5]).mean
    assert np.abs(errors).sum() == 574
    # 20, 24, 44, 48, 57, 37, 57, 54, 59, 48, 52, 68: squares sum to 29112
    assert parameters["sigma"] == pytest.approx(np.sqrt(29112 / 12))


@pytest.mark.parametrize("seed", range(10))
def test_seasonal_naive_follows_the_unit_of_measure(seed):
    y = np.random.default_rng(seed).gamma(2.0, 50.0, size=60)
    model, history, scaled = SeasonalNaive(), series(y), series(3 * y)
    one = model.predict(model.fit(history), history, after(history, 10), QUANTILES)
    three = model.predict(model.fit(scaled), scaled, after(scaled, 10), QUANTILES)
    np.testing.assert_allclose(three.mean, 3 * one.mean)
    np.testing.assert_allclose(three.quantiles, 3 * one.quantiles)


def test_seasonal_naive_needs_a_day():
    with pytest.raises(ValueError, match="there is none"):
        SeasonalNaive().fit(series([]))


# ---------------------------------------------------------------- every model


@pytest.mark.parametrize("name", registry.known())
def test_parameters_are_plain_json_and_score_to_the_same_bit(name):
    history, future = demand()
    model = registry.build(name, {})
    parameters = model.fit(history)
    text = json.dumps(parameters, allow_nan=False)
    state = parameters.get("state", {})
    readable = {key: value for key, value in parameters.items() if key != "state"}
    assert list(parameters)[-1] == "state" or not state
    assert all(value is None or isinstance(value, (str, int, float, list)) for value in readable.values())
    assert len(text) < LONG.get(name, 1_200)  # no residuals, no fitted values
    same(
        model.predict(parameters, history, future, QUANTILES),
        model.predict(json.loads(text), history, future, QUANTILES),
    )


@pytest.mark.parametrize("name", registry.known())
def test_fits_and_forecasts_repeat(name):
    history, future = demand(1)
    runs = [registry.build(name, {}) for _ in range(2)]
    fits = [model.fit(history) for model in runs]
    assert fits[0] == fits[1]
    same(*(model.predict(fits[0], history, future, QUANTILES) for model in runs))


@pytest.mark.parametrize("name", registry.known())
def test_quantiles_rise_around_the_mean(name):
    history, future = demand(2)
    model = registry.build(name, {})
    forecast = model.predict(model.fit(history), history, future, QUANTILES)
    assert forecast.mean.shape == (14,)
    assert forecast.quantiles.shape == (14, len(QUANTILES))
    assert (np.diff(forecast.quantiles, axis=1) > 0).all()
    middle = forecast.quantiles[:, QUANTILES.index(0.5)]
    if name == "prophet" or name in EMPIRICAL:  # from draws, or past errors
        np.testing.assert_allclose(middle, forecast.mean, rtol=0.1)
    else:
        np.testing.assert_array_equal(middle, forecast.mean)
    assert 15 < forecast.mean.mean() < 60


@pytest.mark.parametrize("name", registry.known())
def test_nothing_after_the_cutoff_matters(name):
    """Fit at one cutoff and, where the model carries forward, predict at a later one: both are blind beyond."""
    whole, _ = demand(3)
    model = registry.build(name, {})
    fitted_at, cutoff = 380, 394 if model.carries_forward else 380
    y, covariates = whole.y.copy(), whole.covariates.copy()
    y[cutoff:] = np.random.default_rng(9).gamma(1.0, 1e4, len(y) - cutoff)
    covariates[cutoff + 7 :] = -1.0
    scrambled = replace(whole, y=y, covariates=covariates, observed=whole.observed & (np.arange(len(y)) < cutoff))
    future = Future(
        whole.dates[cutoff : cutoff + 7], whole.covariates[cutoff : cutoff + 7], whole.holidays[cutoff:][:7]
    )
    forecasts = []
    for known in (whole, scrambled):
        parameters = model.fit(first(known, fitted_at))
        forecasts.append(model.predict(parameters, first(known, cutoff), future, QUANTILES))
    same(*forecasts)


def test_another_process_scores_the_same(tmp_path):
    """What a Spark executor does: parameters come as text, no model object does."""
    history, future = demand(4)
    expected, parameters = {}, {}
    for name in registry.known():
        model = registry.build(name, {})
        parameters[name] = model.fit(history)
        expected[name] = model.predict(parameters[name], history, future, QUANTILES).quantiles.tolist()
    (tmp_path / "parameters.json").write_text(json.dumps(parameters))
    (tmp_path / "data.pickle").write_bytes(pickle.dumps((history, future, QUANTILES)))
    script = """
import json, pathlib, pickle, sys
from stspark.models.regional import registry
here = pathlib.Path(sys.argv[1])
history, future, quantiles = pickle.loads((here / "data.pickle").read_bytes())
found = {
    name: registry.build(name, {}).predict(parameters, history, future, quantiles).quantiles.tolist()
    for name, parameters in json.loads((here / "parameters.json").read_text()).items()
}
(here / "found.json").write_text(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")  # and says nothing
    assert json.loads((tmp_path / "found.json").read_text()) == expected


RNG = np.random.default_rng(5)


@pytest.mark.parametrize("name", registry.known())
@pytest.mark.parametrize(
    "y",
    [
        pytest.param([3.0], id="one day"),
        pytest.param(RNG.poisson(5, 9), id="nine days"),
        pytest.param(RNG.poisson(5, 28), id="four weeks"),
        pytest.param(np.full(28, 4.0), id="four constant weeks"),
        pytest.param(np.zeros(200), id="zeros"),
        pytest.param(np.full(200, 4.0), id="constant"),
        pytest.param(np.append(np.zeros(200), 5.0), id="zeros but for the last day"),
        pytest.param(np.tile(np.arange(7.0), 20), id="the same week again and again"),
        pytest.param(np.repeat([0.0, 50.0], 100), id="a step"),
        pytest.param((RNG.random(200) < 0.03) * 1.0, id="sparse"),
        pytest.param(-RNG.poisson(5, 200), id="net returns"),
    ],
)
def test_odd_series_give_a_finite_forecast_unless_they_are_too_short(name, y):
    model, history = registry.build(name, {}), series(y)
    if len(history) < model.min_length:
        with pytest.raises(ValueError, match=f"needs {model.min_length}"):
            model.fit(history)
        return
    parameters = model.fit(history)
    forecast = model.predict(parameters, history, after(history, 14), QUANTILES)
    json.dumps(parameters, allow_nan=False)
    assert np.isfinite(forecast.mean).all()
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=1) >= 0).all()


@pytest.mark.parametrize("name", [n for n in registry.known() if registry.build(n, {}).min_length > 20])
def test_short_histories_are_refused_with_the_number_of_days(name):
    with pytest.raises(ValueError, match=f"{name} needs 28 .*there are 20"):
        registry.build(name, {}).fit(series(np.arange(20.0)))


def test_a_forecast_that_is_not_finite_is_refused_with_its_step():
    with pytest.raises(ValueError, match="step 2 is not finite"):
        checked(Forecast(np.array([1.0, np.nan]), np.ones((2, 1))))


# ---------------------------------------------------------------- filtering forward


@pytest.mark.filterwarnings("ignore::UserWarning:statsforecast")
@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        pytest.param("auto_ets", {}, AutoETS(7, "AZA"), id="ets"),
        pytest.param("auto_ets", {"components": "AAA", "damped": True}, AutoETS(7, "AAA", True), id="damped ets"),
        pytest.param(
            "auto_arima",
            {"estimation": "css-ml"},
            AutoARIMA(season_length=7, max_p=3, max_q=3, max_P=1, max_Q=1, D=1, approximation=True, nmodels=20),
            id="auto_arima",
        ),
        pytest.param("sarima", {"estimation": "css-ml"}, ARIMA((1, 0, 1), 7, (0, 1, 1)), id="sarima"),
        pytest.param(
            "sarima",
            {"order": [1, 0, 0], "include_drift": True, "estimation": "css-ml"},
            ARIMA((1, 0, 0), 7, (0, 1, 1), include_drift=True),
            id="sarima with drift",
        ),
        pytest.param(
            "sarima",
            {"order": [2, 0, 1], "seasonal_order": [1, 0, 0], "estimation": "css-ml"},
            ARIMA((2, 0, 1), 7, (1, 0, 0)),
            id="sarima with intercept",
        ),
        pytest.param(
            "sarima",
            {"order": [0, 1, 1], "seasonal_order": [0, 0, 0], "estimation": "css-ml"},
            ARIMA((0, 1, 1), 7, (0, 0, 0)),
            id="arima without a season",
        ),
        pytest.param("theta", {}, DynamicOptimizedTheta(7), id="theta"),
        pytest.param("auto_ces", {"season": "F"}, AutoCES(7, "F"), id="ces"),
    ],
)
def test_a_longer_history_is_filtered_as_statsforecast_does(name, options, theirs):
    whole, _ = demand(6)
    model = registry.build(name, options)
    parameters = json.loads(json.dumps(model.fit(first(whole, 399))))
    theirs.fit(whole.y[:399])
    for n in (399, 400, 420):
        history = first(whole, n)
        ours = model.predict(parameters, history, after(history, 7), [0.1, 0.9])
        expected = theirs.forward(whole.y[:n], h=7, level=[80])
        np.testing.assert_array_equal(ours.mean, expected["mean"])
        if name not in ("theta", "auto_ces"):  # theirs come from draws
            np.testing.assert_allclose(ours.quantiles[:, 0], expected["lo-80"])
            np.testing.assert_allclose(ours.quantiles[:, 1], expected["hi-80"])


@pytest.mark.parametrize("name", CARRYING)
def test_new_days_move_the_forecast_and_keep_the_parameters(name):
    whole, _ = demand(6)
    model = registry.build(name, {})
    parameters = model.fit(first(whole, 399))
    before = json.dumps(parameters)
    early, late = (model.predict(parameters, first(whole, n), after(first(whole, n), 7), [0.5]) for n in (406, 413))
    assert not np.array_equal(early.mean, late.mean)
    assert json.dumps(parameters) == before


@pytest.mark.parametrize("name", ON_STATSFORECAST)
def test_max_history_forgets_what_came_before(name):
    """A fit on the last 100 of 399 days is the fit on those 100 alone, also when filtered on 413."""
    whole, _ = demand(7)
    rewritten = replace(whole, y=np.where(np.arange(len(whole)) < 299, 1e6, whole.y))
    model = registry.build(name, {"max_history": 100})
    forecasts = [
        model.predict(model.fit(first(known, 399)), first(known, 413), after(first(known, 413), 7), QUANTILES)
        for known in (whole, rewritten)
    ]
    same(*forecasts)


@pytest.mark.parametrize("name", ON_STATSFORECAST)
def test_a_history_that_starts_after_the_fit_is_refused(name):
    history, future = demand(7)
    model = registry.build(name, {})
    parameters = model.fit(history)
    tail = slice(10, None)
    cut = Series(history.dates[tail], history.y[tail], history.observed[tail], history.covariates[tail], history.names)
    with pytest.raises(ValueError, match="fitted from 2022-01-01 on"):
        model.predict(parameters, cut, future, QUANTILES)


# ---------------------------------------------------------------- one model's own


@pytest.mark.parametrize("components", ["ANN", "AAN", "ANA", "AAA"])
def test_ets_intervals_are_statsforecasts_within_a_season(components):
    history, _ = demand(8)
    model = registry.build("auto_ets", {"components": components, "damped": False})
    ours = model.predict(model.fit(history), history, after(history, 7), [0.1, 0.9])
    theirs = AutoETS(7, components, False).fit(history.y).predict(7, level=[80])
    np.testing.assert_allclose(ours.quantiles[:, 0], theirs["lo-80"])
    np.testing.assert_allclose(ours.quantiles[:, 1], theirs["hi-80"])


def test_ets_widens_by_gamma_only_from_the_second_season_on():
    """ANA: var = sigma2 * (1 + alpha^2 (h - 1) + gamma k (2 alpha + gamma)), k = floor((h - 1) / 7) (FPP3, table 8.7).

    The sum of squares is (h - 1 - k) alpha^2 + k (alpha + gamma)^2, the same.
    """
    history, _ = demand(8)
    model = registry.build("auto_ets", {"components": "ANA"})
    parameters = model.fit(history) | {"alpha": 0.2, "gamma": 0.1}
    forecast = model.predict(parameters, history, after(history, 15), [0.5, 0.8413447460685429])
    factor = ((forecast.quantiles[:, 1] - forecast.mean) / (forecast.quantiles[0, 1] - forecast.mean[0])) ** 2
    h = np.arange(1, 16)
    k = (h - 1) // 7
    np.testing.assert_allclose(factor, 1 + 0.04 * (h - 1) + 0.1 * k * (0.4 + 0.1))


def test_theta_sigma_leaves_the_season_out():
    """A season of amplitude 20 and noise of 1 around zero: additive decomposition; statsforecast's residuals say 14."""
    rng = np.random.default_rng(0)
    y = 20 * np.sin(2 * np.pi * np.arange(280) / 7) + rng.normal(0, 1, 280)
    parameters = registry.build("theta", {}).fit(series(y))
    assert parameters["decomposition"] == "additive"
    assert 0.8 < parameters["sigma"] < 1.3


@pytest.mark.parametrize("n", [277, 280, 282])
def test_theta_interval_scales_with_the_season_of_the_day(n):
    """Noise in proportion to the day's level: so are the widths, whatever day the history ends on."""
    rng = np.random.default_rng(0)
    level = np.tile([10, 10, 10, 10, 10, 100, 100], 42)
    history = series(level[:n] * rng.gamma(400, 1 / 400, n))
    model = registry.build("theta", {})
    forecast = model.predict(model.fit(history), history, after(history, 7), [0.1, 0.9])
    width = forecast.quantiles[:, 1] - forecast.quantiles[:, 0]
    relative = width / level[n : n + 7]
    assert relative.max() < 1.1 * relative.min()
    assert relative.mean() == pytest.approx(2 * 1.2816 * 0.05, rel=0.25)


def test_auto_arima_says_its_orders_and_coefficients():
    history, _ = demand(9)
    found = registry.build("auto_arima", {}).fit(history)
    orders = {key: found[key] for key in "pdqPDQ"}
    assert orders["D"] == 1
    assert found["model"] == "ARIMA({p},{d},{q})({P},{D},{Q})[7]".format(**orders)
    assert all(isinstance(found[f"sma{i + 1}"], float) for i in range(orders["Q"]))


@pytest.mark.parametrize("name", ["sarima", "sarimax", "auto_arima"])
def test_least_squares_come_near_the_greatest_likelihood(name):
    """Criteria of either estimation are those of the exact likelihood: none has a greater one than the greatest."""
    history, ahead = demand(9)
    order = {"max_p": 1, "max_q": 1, "d": 0} if name == "auto_arima" else {}
    found = {way: registry.build(name, {"estimation": way, **order}).fit(history) for way in ("css", "css-ml")}
    least, most = found["css"], found["css-ml"]
    assert least["model"] == most["model"]
    assert most["aicc"] - 1e-3 <= least["aicc"] <= most["aicc"] + 2
    assert least["aicc"] - least["aic"] == pytest.approx(most["aicc"] - most["aic"])
    assert least["bic"] - least["aic"] == pytest.approx(most["bic"] - most["aic"])
    assert least["sigma2"] == pytest.approx(most["sigma2"], rel=0.02)
    means = [registry.build(name, order).predict(found[way], history, ahead, QUANTILES).mean for way in found]
    np.testing.assert_allclose(*means, rtol=0.02)


@pytest.mark.parametrize("name", ["sarima", "auto_arima"])
def test_a_growth_that_least_squares_take_for_explosive_is_drawn_back(name):
    rng = np.random.default_rng(3)
    y = np.exp(np.linspace(0, 6, 300)) * rng.gamma(400, 1 / 400, 300)
    history = series(y)
    model = registry.build(name, {"max_q": 0, "max_P": 0, "d": 0} if name == "auto_arima" else {})
    parameters = model.fit(history)
    phi = np.array([parameters[f"ar{i + 1}"] for i in range(parameters["p"])])
    nearest = np.abs(np.roots(np.append(-phi[::-1], 1.0))).min()
    assert nearest == pytest.approx(1 / 0.99) if name == "sarima" else nearest > 1
    made = model.predict(parameters, history, after(history, 7), [0.1, 0.9])
    assert np.isfinite(made.quantiles).all()
    assert (made.mean > y[-60]).all()


def test_polynomials_are_stationary_and_invertible():
    np.testing.assert_allclose(stationary(np.array([0.5, 0.3])), [0.5, 0.3])
    explosive = stationary(np.array([1.0, 0.3]))
    assert np.abs(np.roots([-explosive[1], -explosive[0], 1.0])).min() == pytest.approx(1 / 0.99)
    np.testing.assert_allclose(stationary(np.zeros(2)), 0.0)
    np.testing.assert_allclose(invertible(np.array([-1.6])), [-0.625])
    np.testing.assert_allclose(invertible(np.array([0.4, 0.0])), [0.4, 0.0])
    pair = invertible(np.array([2.5, 1.0, 0.0]))  # roots -2 and -1/2
    np.testing.assert_allclose(pair, [1.0, 0.25, 0.0])


def test_a_coefficient_that_is_nothing_does_not_upset_the_filter():
    """Least squares find 1e-21 where a series has no memory from day to day: the filter's likelihood was NaN there."""
    history, _ = demand(9)
    fitted = fit_arima(history.y, method="CSS", order=(1, 0, 0), seasonal={"order": (1, 1, 0), "period": 7})
    found = []
    for tiny in (0.0, 1e-21, -1e-18, 1e-30, 1e-300):
        coefficients = {**fitted["coef"], "ar1": tiny}
        parameters = finished("css", {**fitted, "coef": coefficients}, history, history.y)
        found.append(parameters)
    assert all(parameters == found[0] for parameters in found)
    assert np.isfinite(found[0]["sigma2"])


@pytest.mark.parametrize("name", ["sarima", "sarimax"])
def test_an_order_that_leaves_no_days_is_refused(name):
    history, _ = demand(9)
    short = first(history, 40)
    with pytest.raises(ValueError, match="40 days are too few for ARIMA"):
        registry.build(name, {"order": [5, 0, 5], "seasonal_order": [2, 1, 2]}).fit(short)


def test_prophet_uses_covariates_that_vary_and_holidays_that_it_has_seen():
    history, future = demand(10)
    y = history.y.copy()
    y[np.array(history.holidays) != ""] += 60
    model = registry.build("prophet", {})
    parameters = model.fit(replace(history, y=y))
    assert parameters["covariates"] == ["promotion"]
    assert parameters["seasons"] == ["weekly"]  # 420 days are no year and a half
    plain = Future(future.dates, np.zeros_like(future.covariates), ("",) * 14)
    promoted = replace(plain, covariates=np.ones_like(future.covariates))
    holiday = replace(plain, holidays=("", "New Year's Day", "Day nobody knows", *[""] * 11))
    means = [model.predict(parameters, history, ahead, QUANTILES).mean for ahead in (plain, promoted, holiday)]
    np.testing.assert_allclose(means[1] - means[0], 15, atol=3)  # half of 30
    assert means[2][1] - means[0][1] > 20
    np.testing.assert_allclose(np.delete(means[2], 1), np.delete(means[0], 1))


@pytest.mark.parametrize("name", ["sarimax", "linear", "recurrent"])
def test_covariates_known_ahead_move_the_forecast(name):
    """A promotion is worth half as much again: 15 of 30. The constant is left out, and no promotion is no change."""
    history, future = demand(10)
    model = registry.build(name, {})
    parameters = model.fit(history)
    plain = Future(future.dates, np.zeros_like(future.covariates), ("",) * 14)
    promoted = replace(plain, covariates=np.ones_like(future.covariates))
    means = [model.predict(parameters, history, ahead, QUANTILES).mean for ahead in (plain, promoted)]
    assert (means[1] - means[0]).mean() == pytest.approx(15, abs=4)


@pytest.mark.parametrize("name", ["croston", "tsb", "imapa"])
def test_intermittent_demand_has_a_flat_level_and_zeros_for_lower_quantiles(name):
    """A piece on every fourth day: 0.25 a day; three days in four are zero."""
    history = series(np.tile([0.0, 0.0, 0.0, 1.0], 50))
    model = registry.build(name, {})
    forecast = model.predict(model.fit(history), history, after(history, 7), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(forecast.mean, 0.25, atol=0.06)
    np.testing.assert_allclose(forecast.quantiles[:, :2], 0.0, atol=0.08)
    assert (forecast.quantiles[:, 2] > 0.6).all()


def test_window_average_is_the_mean_of_each_place_in_the_season():
    history = series([1, 10, 3, 20, 5, 30], season=2)
    model = registry.build("window_average", {"seasons": 2})
    assert model.predict(model.fit(history), history, after(history, 3), [0.5]).mean.tolist() == [4, 25, 4]


def test_drift_goes_on_as_it_went():
    """y = 2 t with a season of 2: 4 a season."""
    history = series(2.0 * np.arange(10), season=2)
    model = registry.build("drift", {})
    forecast = model.predict(model.fit(history), history, after(history, 3), [0.1, 0.9])
    assert forecast.mean.tolist() == [20, 22, 24]
    np.testing.assert_allclose(forecast.quantiles[:, 0], forecast.mean)


def test_tbats_forecasts_as_statsforecast_does():
    from statsforecast.models import AutoTBATS

    history, _ = demand(6)
    model = registry.build("tbats", {"arma_errors": False})
    theirs = AutoTBATS(7, use_boxcox=False, use_arma_errors=False).fit(history.y).predict(7, level=[80])
    ours = model.predict(model.fit(history), history, after(history, 7), [0.1, 0.9])
    np.testing.assert_allclose(ours.mean, theirs["mean"])
    np.testing.assert_allclose(ours.quantiles[:, 1], theirs["hi-80"])


def test_mfles_forecasts_as_statsforecast_does():
    from statsforecast.models import MFLES

    history, _ = demand(6)
    model = registry.build("mfles", {})
    ours = model.predict(model.fit(history), history, after(history, 7), [0.5])
    np.testing.assert_allclose(ours.mean, MFLES(7, multiplicative=False).fit(history.y).predict(7)["mean"])


def test_prophet_takes_a_yearly_season_from_a_year_and_a_half():
    days = np.arange(600)
    history = series(50 + 10 * np.sin(2 * np.pi * days / 365.25) + np.random.default_rng(0).normal(0, 1, 600))
    assert "yearly" in registry.build("prophet", {}).fit(history)["seasons"]
    assert "yearly" not in registry.build("prophet", {"yearly_from": 2}).fit(history)["seasons"]


def test_prophet_leaves_filled_days_out():
    history, future = demand(11)
    model = registry.build("prophet", {})
    filled = replace(history, y=np.where(history.observed, history.y, 1e5))
    forecasts = [model.predict(model.fit(known), known, future, QUANTILES) for known in (history, filled)]
    same(*forecasts)


def test_prophet_leaves_the_global_generator_as_it_was():
    history, future = demand(12)
    model = registry.build("prophet", {})
    parameters = model.fit(history)
    np.random.seed(1)
    expected = np.random.random(3)
    np.random.seed(1)
    model.predict(parameters, history, future, QUANTILES)
    np.testing.assert_array_equal(np.random.random(3), expected)


def test_prophet_refuses_a_history_that_went_on():
    history, _ = demand(12)
    model = registry.build("prophet", {})
    parameters = model.fit(first(history, 400))
    with pytest.raises(ValueError, match=r"fitted up to 2023-02-04.*fit it again"):
        model.predict(parameters, history, after(history, 7), QUANTILES)


# ---------------------------------------------------------------- registry


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        pytest.param("auto_est", {}, ["no model 'auto_est'", "did you mean 'auto_ets'"], id="unknown name"),
        pytest.param("xyzzy", {}, ["no model 'xyzzy'", "seasonal_naive, auto_ets"], id="nothing near"),
        pytest.param(
            "sarima", {"oder": [1, 0, 1]}, ["models.sarima.oder", "did you mean 'order'"], id="unknown option"
        ),
        pytest.param("seasonal_naive", {"zzz": 1}, ["models.seasonal_naive.zzz", "no options"], id="takes none"),
        pytest.param("seasonal_naive", {"min_length": 3}, ["models.seasonal_naive.min_length"], id="not an option"),
        pytest.param("sarima", {"estimation": "ml"}, ["models.sarima.estimation", "css, css-ml"], id="estimation"),
        pytest.param("sarima", {"order": [1, 0]}, ["models.sarima.order", "three whole numbers"], id="short order"),
        pytest.param("sarima", {"order": [1, 0, -1]}, ["models.sarima.order", "-1", "0 or more"], id="negative"),
        pytest.param("sarima", {"include_drift": "yes"}, ["models.sarima.include_drift", "true or false"], id="flag"),
        pytest.param(
            "auto_arima", {"approximation": False}, ["auto_arima.approximation", "css-ml"], id="no likelihood"
        ),
        pytest.param("auto_arima", {"max_p": 2.5}, ["models.auto_arima.max_p", "whole number"], id="fraction"),
        pytest.param("auto_arima", {"max_history": 3}, ["models.auto_arima.max_history", "28 or more"], id="too few"),
        pytest.param(
            "auto_ets", {"components": "AAM"}, ["models.auto_ets.components", "one of ANN, ANA"], id="letters"
        ),
        pytest.param("auto_ets", {"components": "ANA", "damped": True}, ["damped", "without a trend"], id="at odds"),
        pytest.param("theta", {"decomposition": "multiplicativ"}, ["did you mean 'multiplicative'"], id="near value"),
        pytest.param("prophet", {"changepoint_prior_scale": 0}, ["changepoint_prior_scale", "above 0"], id="prior"),
        pytest.param("no.such.module:Model", {}, ["cannot import 'no.such.module'"], id="no module"),
        pytest.param(f"{__name__}:YesterdayModl", {}, ["did you mean 'YesterdayModel'"], id="no class"),
        pytest.param(f"{__name__}:Halfway", {}, ["lacks", "predict", "Forecaster"], id="not a forecaster"),
        pytest.param(f"{__name__}:YesterdayModel", {"facto": 1}, ["did you mean 'factor'"], id="own option"),
        pytest.param(f"{__name__}:YesterdayModel", {"factor": -1}, ["refuses its options: negative"], id="own value"),
    ],
)
def test_registry_names_the_mistake_and_the_remedy(name, options, says):
    with pytest.raises(ConfigError) as caught:
        registry.build(name, options)
    for words in says:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_registry_builds_a_model_of_the_users_own():
    model = registry.build(f"{__name__}:YesterdayModel", {"factor": 2.0})
    history = series([1, 2, 3])
    assert model.predict(model.fit(history), history, after(history, 2), [0.5]).mean.tolist() == [6.0, 6.0]


@pytest.mark.parametrize("name", registry.known())
def test_models_travel_to_executors(name):
    model = registry.build(name, {})
    assert model.name == name
    assert pickle.loads(pickle.dumps(model)) == model


class YesterdayModel:
    """What a user may bring: the last value times a factor."""

    name: ClassVar[str] = "yesterday"
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = True

    def __init__(self, factor: float = 1.0) -> None:
        if factor < 0:
            raise ValueError("negative")
        self.factor = factor

    def fit(self, history: Series) -> Parameters:
        return {"factor": self.factor}

    def predict(self, parameters, history, future, quantiles) -> Forecast:
        mean = np.full(len(future), parameters["factor"] * history.y[-1])
        return Forecast(mean, np.repeat(mean[:, None], len(quantiles), axis=1))


class Halfway:
    """Not a Forecaster: it cannot predict."""

    name = "halfway"

    def fit(self, history: Series) -> Parameters:
        return {}
