"""Boosted trees over all regions: what they learn, and what may not change a forecast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shop_panel import HORIZON, QUANTILES, cutoff_of, shop_panel

from stspark.models.panel.boosted.model import BoostedTrees, learning_design
from stspark.models.panel.boosted.rolling import centred_mean, trailing_mean
from stspark.models.panel.boosted.transform import from_learnt, to_learn
from stspark.models.panel.order import by_name

SMALL = BoostedTrees(rows=1500, boosters=2, rounds=40, learning_rate=0.2, columns=0.5)


@pytest.fixture(scope="module")
def fitted(known):
    return SMALL.fit(known)


@pytest.fixture(scope="module")
def forecast(known, fitted):
    return SMALL.predict(fitted, known, QUANTILES)


def test_weekdays_and_promotions_ahead_are_learned(panel, forecast):
    """Noise is 2%, a promotion doubles and a weekday moves 40%: the error must be of the noise's size."""
    truth = panel.y[-HORIZON:].T
    share = np.abs(forecast[:, :, 0] - truth).sum(axis=1) / truth.sum(axis=1)
    assert share[:3].max() < 0.10


def test_a_region_of_three_weeks_learns_from_the_others(panel, forecast):
    truth = panel.y[-HORIZON:, 3]
    assert np.abs(forecast[3, :, 0] - truth).sum() / truth.sum() < 0.15


def test_the_median_is_the_point_to_the_last_bit(forecast):
    np.testing.assert_array_equal(forecast[:, :, 0], forecast[:, :, 2])


def test_by_name_tells_the_way_back(known):
    ordered, back = by_name(known)
    assert [ordered.manifest.regions[k] for k in back] == list(known.manifest.regions)


def test_a_region_that_the_fit_has_not_seen_is_forecast_from_its_own_history(known, fitted, forecast):
    names = ("oslo", "bergen", "turku", "odense")
    renamed = replace(known, manifest=replace(known.manifest, regions=names))
    made = SMALL.predict(fitted, renamed, QUANTILES)
    assert np.isfinite(made).all()
    np.testing.assert_allclose(made[3], forecast[3], rtol=0.3)


def test_a_region_that_has_not_started_has_no_forecast(known, fitted):
    alive, observed = known.alive.copy(), known.observed.copy()
    alive[:, 1] = observed[:, 1] = False
    made = SMALL.predict(fitted, replace(known, alive=alive, observed=observed), QUANTILES)
    assert np.isnan(made[1]).all()
    assert np.isfinite(made[[0, 2, 3]]).all()


def test_zeros_and_net_returns_are_numbers(known):
    """A region that mostly sells nothing, and one with a day of returns."""
    y = known.y.copy()
    y[:, 1] = np.where(np.arange(len(y)) % 5 == 0, 3.0, 0.0)
    y[-3, 2] = -80.0
    made = SMALL.predict(SMALL.fit(replace(known, y=y)), replace(known, y=y), QUANTILES)
    assert np.isfinite(made).all()
    assert np.abs(made[1]).max() < 30


def test_a_history_without_examples_is_refused():
    short = shop_panel(40)
    none = replace(short, observed=np.zeros_like(short.observed))
    with pytest.raises(ValueError, match="no example"):
        SMALL.fit(none.known_on(cutoff_of(short)))


def test_a_horizon_of_more_than_a_year_shows_no_later_day(panel):
    """Last year's day and those around it then lie after the origin."""
    made = replace(panel, manifest=replace(panel.manifest, horizon=400))
    later = replace(made, y=made.y.copy())
    later.y[81:] *= 3.0
    one, other = (learning_design(each).rows(80) for each in (made, later))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("options", [{"rows": 0}, {"leaves": 1}, {"columns": 1.5}, {"half_life": -1.0}])
def test_useless_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        BoostedTrees(**options)


@pytest.mark.parametrize("seed", range(5))
def test_the_transform_rises_and_turns_back(seed):
    rng = np.random.default_rng(seed)
    y, level = np.sort(rng.normal(50, 60, size=40)), rng.gamma(2.0, 20.0)
    z = to_learn(y, level)
    assert (np.diff(z) > 0).all()
    np.testing.assert_allclose(from_learnt(z, level), y, atol=1e-9)
    assert to_learn(np.array(2 * level), np.array(level)) == pytest.approx(np.log(2), rel=0.01)


def test_rolling_means_skip_what_was_not_observed():
    y = np.array([[1.0], [np.nan], [3.0], [8.0]])
    np.testing.assert_allclose(trailing_mean(y, 2).ravel(), [1, 1, 3, 5.5])
    np.testing.assert_allclose(centred_mean(y, 3).ravel(), [1, 2, 5.5, np.nan])
