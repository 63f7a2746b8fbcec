"""Boosted trees over all regions: what they learn, and what may not change a forecast."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from stspark.models.panel.boosted.model import BoostedTrees
from stspark.models.panel.boosted.rolling import centred_mean, trailing_mean
from stspark.models.panel.boosted.transform import from_learnt, to_learn
from stspark.models.panel.order import by_name
from stspark.snapshot import Manifest, Snapshot

QUANTILES = (0.1, 0.5, 0.9)
HORIZON = 7
SMALL = BoostedTrees(rows=1500, boosters=2, rounds=40, learning_rate=0.2, columns=0.5)


def shop_panel(days: int = 150, seed: int = 0, noise: float = 0.02) -> Snapshot:
    """Four regions of very different sizes with a weekly profile, promotions that double sales, and a late start."""
    rng = np.random.default_rng(seed)
    total, sizes = days + HORIZON, np.array([2000.0, 40.0, 300.0, 90.0])
    weekday = 1 + 0.4 * np.sin(2 * np.pi * np.arange(total) / 7)
    promotion = (rng.random((total, 4)) < 0.1).astype(float)
    y = sizes * weekday[:, None] * (1 + promotion) * np.exp(noise * rng.normal(size=(total, 4)))
    alive = np.ones((total, 4), dtype=bool)
    alive[: days - 20, 3] = False
    observed = alive & (rng.random((total, 4)) > 0.03)
    manifest = Manifest(
        data_version="test",
        regions=("oslo", "bergen", "turku", "aarhus"),
        first_date=date(2023, 1, 2),
        n_history=total,
        n_total=total,
        covariates=("promotion", "never"),
        edges=((0, 1, 1.0), (1, 0, 1.0), (2, 0, 0.5), (2, 1, 0.5), (3, 0, 1.0)),
        season=7,
        horizon=HORIZON,
        quantiles=QUANTILES,
    )
    weights = np.zeros((4, 4))
    for i, j, w in manifest.edges:
        weights[i, j] = w
    covariates = np.stack([promotion, np.zeros_like(promotion)], axis=2)
    return Snapshot(manifest, np.where(alive, y, 0.0), observed, alive, covariates, weights)


def cutoff_of(panel: Snapshot) -> date:
    return panel.manifest.first_date + timedelta(days=panel.manifest.n_history - HORIZON - 1)


@pytest.fixture(scope="module")
def panel():
    return shop_panel()


@pytest.fixture(scope="module")
def known(panel):
    return panel.known_on(cutoff_of(panel))


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


def test_quantiles_do_not_cross_and_the_median_is_the_point(forecast):
    assert forecast.shape == (4, HORIZON, 4)
    assert (np.diff(forecast[:, :, 1:], axis=2) >= 0).all()
    np.testing.assert_array_equal(forecast[:, :, 0], forecast[:, :, 2])


def test_nothing_after_the_cutoff_changes_a_forecast(panel, forecast):
    """Targets are scrambled after the cutoff, known-future covariates behind the horizon: bit by bit the same."""
    rng = np.random.default_rng(5)
    days = panel.manifest.n_history - HORIZON
    y, observed = panel.y.copy(), panel.observed.copy()
    y[days:] = rng.gamma(1.0, 1000.0, size=y[days:].shape)
    observed[days:] = rng.random(y[days:].shape) > 0.5
    scrambled = replace(panel, y=y, observed=observed).known_on(cutoff_of(panel))
    np.testing.assert_array_equal(SMALL.predict(SMALL.fit(scrambled), scrambled, QUANTILES), forecast)


def test_the_values_of_days_that_were_not_observed_do_not_matter(known, forecast):
    hidden = replace(known, y=np.where(known.observed, known.y, 12345.0))
    np.testing.assert_array_equal(SMALL.predict(SMALL.fit(hidden), hidden, QUANTILES), forecast)


@pytest.mark.parametrize("order", [(3, 1, 0, 2), (2, 3, 1, 0)])
def test_the_order_of_the_regions_does_not_matter(known, forecast, order):
    index = list(order)
    manifest = replace(known.manifest, regions=tuple(known.manifest.regions[k] for k in index))
    moved = Snapshot(
        manifest,
        known.y[:, index],
        known.observed[:, index],
        known.alive[:, index],
        known.covariates[:, index],
        known.weights[np.ix_(index, index)],
    )
    np.testing.assert_array_equal(SMALL.predict(SMALL.fit(moved), moved, QUANTILES), forecast[index])


def test_by_name_tells_the_way_back(known):
    ordered, back = by_name(known)
    assert [ordered.manifest.regions[k] for k in back] == list(known.manifest.regions)


def test_stored_parameters_give_the_same_forecast(known, fitted, forecast):
    stored = json.loads(json.dumps(fitted))
    np.testing.assert_array_equal(SMALL.predict(stored, known, QUANTILES), forecast)


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
