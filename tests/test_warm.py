"""Warm starts, predicted cost and packs, without Spark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import numpy as np
import pytest

from stspark.fleet.attempt import Plan, Region, attempt_here
from stspark.fleet.origin import Origin
from stspark.fleet.packing import longest_first
from stspark.fleet.race import Race
from stspark.fleet.region import run_model
from stspark.fleet.warm import WarmStart
from stspark.models.base import Forecast, Future, Series
from stspark.models.regional.registry import build
from stspark.models.regional.seasonal_naive import SeasonalNaive

START, DAYS, HORIZON = np.datetime64("2024-01-01", "D"), 200, 7


def region(days: int = DAYS, jump: float = 0.0) -> Region:
    """Daily counts with a weekly profile; `jump` is added to the last month's."""
    rng = np.random.default_rng(3)
    t = np.arange(DAYS + HORIZON)
    y = rng.poisson(40 * (1 + 0.3 * np.sin(2 * np.pi * t / 7))).astype(float) + jump * (t >= DAYS - 40)
    dates = START + t
    series = Series(dates[:days], y[:days], np.ones(days, bool), np.zeros((days, 0)))
    ahead = days + HORIZON
    return Region("a", series, Future(dates[:ahead], np.zeros((ahead, 0)), ("",) * ahead), np.zeros(ahead, bool))


def plan(days: int) -> Plan:
    last = START + days - 1
    return Plan((last - 7, last), HORIZON, (0.1, 0.5, 0.9), non_negative=True, fit_seconds=30)


def day_two(name: str, jump: float = 0.0, **limits) -> tuple:
    """A run as of the day before, and the next day's run that may keep what it fitted."""
    model, naive = build(name, {}), SeasonalNaive()
    one = run_model(model, region(DAYS - 1), naive, plan(DAYS - 1))
    warm = WarmStart(one.parameters, **({"days": 7, "drift": 1.5} | limits))
    two = run_model(model, region(jump=jump), naive, plan(DAYS), warm.around(attempt_here))
    return one, two, warm.kind


@pytest.mark.parametrize("name", ["auto_ets", "auto_arima", "sarima", "theta", "auto_ces"])
def test_the_next_day_keeps_the_parameters_and_its_forecasts_are_the_same_as_filtering_them_forward(name):
    one, two, kind = day_two(name)
    assert (kind, two.fits, two.status) == ("kept", 0, "ok")
    assert two.parameters == one.parameters
    model, history = build(name, {}), region().series
    future, _ = region().future(history.dates[-1], HORIZON)
    expected = model.predict(one.parameters, history, future, (0.1, 0.5, 0.9))
    np.testing.assert_array_equal(two.forecasts[history.dates[-1]].mean, expected.mean)


@pytest.mark.parametrize(
    ("name", "change", "kind"),
    [
        pytest.param("theta", {"jump": 300.0}, "drifted", id="the level has jumped"),
        pytest.param("theta", {"days": 0}, "aged", id="too old"),
        pytest.param("theta", {"drift": 0.01}, "drifted", id="no patience"),
        pytest.param("mfles", {}, "full", id="does not carry forward"),
        pytest.param("seasonal_naive", {}, "full", id="costs nothing"),
    ],
)
def test_what_cannot_be_kept_is_fitted_anew(name, change, kind):
    _, two, verdict = day_two(name, **change)
    assert verdict == kind
    assert two.fits > 0
    model, naive = build(name, {}), SeasonalNaive()
    cold = run_model(model, region(jump=change.get("jump", 0.0)), naive, plan(DAYS))
    assert two.parameters == cold.parameters


def test_parameters_from_after_the_first_cutoff_are_never_kept():
    """They would know what the back-test must not."""
    model, naive = build("theta", {}), SeasonalNaive()
    late = model.fit(region().series)
    warm = WarmStart(late, days=30, drift=10.0)
    outcome = run_model(model, region(), naive, plan(DAYS), warm.around(attempt_here))
    assert (warm.kind, outcome.fits) == ("aged", 1)


def test_parameters_that_no_longer_fit_the_history_lead_to_a_full_fit():
    parameters = build("theta", {}).fit(region().series.until(START + DAYS - 9)) | {"first_day": "2023-05-05"}
    warm = WarmStart(parameters, days=30, drift=10.0)
    outcome = run_model(build("theta", {}), region(), SeasonalNaive(), plan(DAYS), warm.around(attempt_here))
    assert (warm.kind, outcome.status, outcome.fits) == ("drifted", "ok", 1)


def test_nothing_after_the_first_cutoff_decides_what_is_kept():
    shop = region()
    wild = replace(shop, series=replace(shop.series, y=np.where(np.arange(DAYS) < DAYS - 7, shop.series.y, 9e5)))
    earlier = build("theta", {}).fit(shop.series.until(START + DAYS - 9))
    kinds = []
    for known in (shop, wild):
        warm = WarmStart(earlier, days=7, drift=1.5)
        run_model(build("theta", {}), known, SeasonalNaive(), plan(DAYS), warm.around(attempt_here))
        kinds.append(warm.kind)
    assert kinds == ["kept", "kept"]


def raced(margin: float, bias: float):
    """The naive's outcome and that of a model which is fitted anew at each of four cutoffs, `bias` off the truth."""
    shop = region()
    last = START + DAYS - 1
    four = replace(plan(DAYS), cutoffs=(last - 21, last - 14, last - 7, last))
    race = Race(margin)
    run_model(SeasonalNaive(), shop, SeasonalNaive(), four, race.around(attempt_here))
    return run_model(Biased(bias), shop, SeasonalNaive(), four, race.around(attempt_here))


@dataclass(frozen=True)
class Biased:
    bias: float
    name: ClassVar[str] = "biased"
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = False

    def fit(self, history):
        return {"last": history.y[-7:].tolist()}

    def predict(self, parameters, history, future, quantiles):
        mean = np.array(parameters["last"]) + self.bias
        return Forecast(mean, np.repeat(mean[:, None], len(quantiles), axis=1))


@pytest.mark.parametrize(
    ("margin", "bias", "fits"),
    [
        pytest.param(1.2, 100.0, 2, id="hopeless: out after two cutoffs"),
        pytest.param(1.2, 0.0, 4, id="as good as the best: to the end"),
        pytest.param(0.0, 100.0, 4, id="no race"),
        pytest.param(1e6, 100.0, 4, id="wide margin"),
    ],
)
def test_a_model_that_can_hardly_win_stops(margin, bias, fits):
    outcome = raced(margin, bias)
    assert outcome.fits == fits
    assert len(outcome.fallbacks) == 4 - fits
    assert outcome.status == ("ok" if fits == 4 else "skipped")
    if fits < 4:
        assert "times the error of seasonal_naive" in outcome.error


@pytest.mark.parametrize(
    ("seconds", "packs", "loads"),
    [
        pytest.param([7, 6, 5, 4, 3, 2, 1], 2, [14, 14], id="even"),
        pytest.param([10, 1, 1, 1], 2, [10, 3], id="one dear region has a pack to itself"),
        pytest.param([1, 1], 4, [1, 1, 0, 0], id="more packs than regions"),
        pytest.param([], 3, [0, 0, 0], id="nothing"),
    ],
)
def test_packs_take_about_the_same_time(seconds, packs, loads):
    places = longest_first(seconds, packs)
    assert (
        sorted((sum(s for s, p in zip(seconds, places, strict=True) if p == k) for k in range(packs)), reverse=True)
        == loads
    )


@pytest.mark.parametrize(("seed", "packs"), list(product(range(10), (2, 8))))
def test_the_longest_pack_is_within_four_thirds_of_the_best(seed, packs):
    seconds = np.random.default_rng(seed).lognormal(0, 1.5, 60).tolist()
    places = longest_first(seconds, packs)
    longest = max(sum(s for s, p in zip(seconds, places, strict=True) if p == k) for k in range(packs))
    assert longest <= 4 / 3 * max(sum(seconds) / packs, max(seconds)) + 1e-9


@pytest.mark.parametrize("gap", [0, 3])
def test_a_gap_is_left_out_of_what_decides_a_race(gap):
    """A model that is right on the days that are judged stays in, wherever those begin."""
    shop = region()
    shop = replace(shop, series=replace(shop.series, y=np.arange(DAYS, dtype=float)))
    last = START + DAYS - 1
    cutoffs = tuple(last - 14 * k for k in (3, 2, 1, 0))
    four = replace(plan(DAYS), cutoffs=cutoffs, origin=Origin(gap=gap), as_of=last)
    race = Race(1.2)
    run_model(Counting("late", late=gap), shop, SeasonalNaive(), four, race.around(attempt_here))
    outcome = run_model(Counting(), shop, SeasonalNaive(), four, race.around(attempt_here))
    assert (outcome.status, outcome.fits) == ("ok", 4)
    for cutoff in cutoffs[:-1]:
        first = int((cutoff - START).astype(int)) + 1 + gap
        np.testing.assert_array_equal(outcome.forecasts[cutoff].mean, np.arange(first, first + HORIZON))


@dataclass(frozen=True)
class Counting:
    """Goes on counting; `late` days behind."""

    name: str = "counting"
    late: int = 0
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = False

    def fit(self, history):
        return {"last": float(history.y[-1])}

    def predict(self, parameters, history, future, quantiles):
        mean = parameters["last"] + 1 - self.late + np.arange(len(future), dtype=float)
        return Forecast(mean, np.repeat(mean[:, None], len(quantiles), axis=1))


@pytest.mark.parametrize("name", ["auto_ets", "theta"])
def test_parameters_are_kept_beside_a_gap_too(name):
    """What they are checked by ends on the first cutoff, whatever the gap."""
    model, shop = build(name, {}), region()
    last = START + DAYS - 1
    gapped = replace(plan(DAYS), cutoffs=(last - 10, last), origin=Origin(gap=3), as_of=last)
    earlier = model.fit(shop.series.until(last - 11))
    warm = WarmStart(earlier, days=7, drift=1.5)
    outcome = run_model(model, shop, SeasonalNaive(), gapped, warm.around(attempt_here))
    assert (warm.kind, outcome.fits, outcome.status) == ("kept", 0, "ok")
