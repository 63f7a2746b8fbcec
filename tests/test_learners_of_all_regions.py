"""What holds for boosted trees, shared seasons and the trees on what those leave: what may not change a forecast."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from shop_panel import HORIZON, QUANTILES, cutoff_of, in_order

from stspark.models.panel.boosted.model import BoostedTrees
from stspark.models.panel.residual_trees.model import ResidualTrees
from stspark.models.panel.seasons.model import SharedSeasons

MODELS = [
    BoostedTrees(rows=1500, boosters=2, rounds=40, learning_rate=0.2, columns=0.5),
    SharedSeasons(windows=4),
    ResidualTrees(rows=500, boosters=2, rounds=20, learning_rate=0.2, columns=0.5),
]


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.name)
def model(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(model, known):
    return model.fit(known)


@pytest.fixture(scope="module")
def forecast(model, known, fitted):
    return model.predict(fitted, known, QUANTILES)


def test_quantiles_do_not_cross_and_the_median_is_the_point(forecast):
    assert forecast.shape == (4, HORIZON, 4)
    assert (np.diff(forecast[:, :, 1:], axis=2) >= 0).all()
    np.testing.assert_allclose(forecast[:, :, 0], forecast[:, :, 2], rtol=1e-12)


def test_nothing_after_the_cutoff_changes_a_forecast(panel, model, forecast):
    """Targets are scrambled after the cutoff: bit by bit the same."""
    rng = np.random.default_rng(5)
    days = panel.manifest.n_history - HORIZON
    y, observed = panel.y.copy(), panel.observed.copy()
    y[days:] = rng.gamma(1.0, 1000.0, size=y[days:].shape)
    observed[days:] = rng.random(y[days:].shape) > 0.5
    scrambled = replace(panel, y=y, observed=observed).known_on(cutoff_of(panel))
    np.testing.assert_array_equal(model.predict(model.fit(scrambled), scrambled, QUANTILES), forecast)


def test_covariates_after_the_horizon_do_not_matter(panel, model):
    """A cutoff in the middle of the panel; what is known ahead ends with its horizon."""
    cutoff = panel.manifest.day(119)
    covariates = panel.covariates.copy()
    covariates[120 + HORIZON :] = 1 - covariates[120 + HORIZON :]
    here, other = panel.known_on(cutoff), replace(panel, covariates=covariates).known_on(cutoff)
    np.testing.assert_array_equal(
        model.predict(model.fit(other), other, QUANTILES), model.predict(model.fit(here), here, QUANTILES)
    )


def test_a_second_fit_is_the_same(known, model, fitted):
    assert model.fit(known) == fitted


def test_the_values_of_days_that_were_not_observed_do_not_matter(known, model, forecast):
    hidden = replace(known, y=np.where(known.observed, known.y, 12345.0))
    np.testing.assert_array_equal(model.predict(model.fit(hidden), hidden, QUANTILES), forecast)


@pytest.mark.parametrize("index", [[3, 1, 0, 2], [2, 3, 1, 0]])
def test_the_order_of_the_regions_does_not_matter(known, model, forecast, index):
    moved = in_order(known, index)
    np.testing.assert_array_equal(model.predict(model.fit(moved), moved, QUANTILES), forecast[index])


def test_stored_parameters_give_the_same_forecast(known, model, fitted, forecast):
    stored = json.loads(json.dumps(fitted))
    np.testing.assert_array_equal(model.predict(stored, known, QUANTILES), forecast)
