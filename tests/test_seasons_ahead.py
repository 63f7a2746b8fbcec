"""What shared seasons expect, as a base of networks: made from what was known, one solution for a week of origins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from shop_panel import HORIZON, cutoff_of, in_order, shop_panel

from stspark.models.deep import seasons_ahead
from stspark.models.deep.seasons_ahead import GRID, expected
from stspark.models.deep.windows import fit_scaler, make_inputs
from stspark.models.panel.boosted.transform import from_learnt
from stspark.models.panel.seasons.columns import columns
from stspark.models.panel.seasons.earlier import SHORTEST
from stspark.models.panel.seasons.model import STRENGTH, forecast
from stspark.training.plan import Launch, TrainingConfig


@pytest.fixture(scope="module")
def cut():
    panel = shop_panel()
    return panel.known_on(cutoff_of(panel))


@pytest.fixture(scope="module")
def made(cut):
    return expected(cut, 0, {})


def test_each_origin_has_the_last_solution_made_by_then(cut, made):
    found, served = made
    assert found.shape[1:] == (GRID, HORIZON, 4)
    assert (served[: SHORTEST - 1, 0] == 0).all()
    assert np.isnan(found[0]).all()
    which, age = served[SHORTEST:].T
    assert (age < GRID).all()
    assert (np.diff(which - age / GRID) > -1).all()
    assert served[-1, 1] == 0  # the last day has its own
    changes = np.flatnonzero(np.diff(served[:, 0])) + 1
    assert (served[changes, 1] == 0).all()


def test_the_last_origin_has_what_the_model_itself_says(cut, made):
    found, served = made
    values, size = forecast(cut, STRENGTH)
    told = from_learnt(values, size[:, None])
    known = cut.observed.sum(axis=0) >= SHORTEST
    np.testing.assert_allclose(found[served[-1, 0], 0].T[known], told[known], rtol=1e-6)
    assert not known.all()
    assert np.isnan(found[served[-1, 0], :, :, ~known]).all()  # they are left to the mean of the same weekdays


def test_an_origin_knows_no_later_target(cut, made):
    later = replace(cut, y=cut.y.copy(), observed=cut.observed.copy())
    later.y[101:] *= 9.0
    later.observed[101:] = ~later.observed[101:]
    scrambled, served = expected(later, 0, {})
    np.testing.assert_array_equal(scrambled[: served[100, 0] + 1], made[0][: served[100, 0] + 1])
    assert not np.array_equal(scrambled[served[-1, 0]], made[0][served[-1, 0]], equal_nan=True)


@pytest.mark.parametrize("origin", range(100, 100 + GRID))
def test_an_origin_knows_no_covariate_beyond_its_horizon(cut, made, origin):
    """As a cutoff does not: or a network would learn above better seasons than it will be served with."""
    later = replace(cut, covariates=cut.covariates.copy())
    later.covariates[origin + HORIZON + 1 :] += 5.0
    scrambled, served = expected(later, 0, {})
    which, age = served[origin]
    np.testing.assert_array_equal(scrambled[which, age], made[0][which, age])
    assert not np.array_equal(scrambled[-1], made[0][-1], equal_nan=True)


def test_it_does_not_depend_on_the_order_of_regions(cut, made):
    order = [2, 0, 3, 1]
    np.testing.assert_array_equal(expected(in_order(cut, order), 0, {})[0], made[0][..., order])


def test_the_last_origin_alone_needs_one_solution(cut, made, monkeypatch):
    solved = []
    monkeypatch.setattr(seasons_ahead, "_ahead", lambda panel, day: solved.append(day) or made[0][made[1][day, 0]])
    found, served = expected(cut, len(cut.y) - 1, {})
    assert solved == [len(cut.y) - 1]
    np.testing.assert_array_equal(found[served[-1, 0]], made[0][made[1][-1, 0]])


def test_solutions_are_kept_for_the_next_cutoff_and_change_nothing(cut):
    earlier, solved = cut.known_on(cut.manifest.day(len(cut.y) - 11)), {}
    expected(earlier, 0, solved)
    assert solved
    assert max(solved) + GRID <= len(earlier.y)  # later ones will know more of the covariates ahead
    again, fresh = expected(cut, 0, solved), expected(cut, 0, {})
    np.testing.assert_array_equal(again[0], fresh[0])
    np.testing.assert_array_equal(again[1], fresh[1])


@pytest.mark.parametrize("days", [10, SHORTEST - 1])
def test_a_short_history_has_the_mean_of_the_same_weekdays(cut, days):
    short = cut.known_on(cut.manifest.day(days - 1))
    bases = [make_inputs(short, fit_scaler(short, base)).base(0, days) for base in ("shared_seasons", "seasonal_mean")]
    assert torch.equal(*bases)


def test_the_base_is_near_the_truth_where_weekdays_and_promotions_rule(cut):
    """A promotion doubles, which the mean of the last same weekdays does not know."""
    panel = shop_panel()
    errors = {}
    for base in ("shared_seasons", "seasonal_mean"):
        scaler = fit_scaler(cut, base)
        made = scaler.backward(make_inputs(cut, scaler).base(len(cut.y) - 1, 1)[0].double().numpy())
        errors[base] = np.abs(made - panel.y[-HORIZON:])[:, :3].sum(axis=0) / panel.y[-HORIZON:, :3].sum(axis=0)
    assert errors["shared_seasons"].max() < 0.1
    assert (errors["shared_seasons"] < errors["seasonal_mean"]).all()


def test_the_base_stays_near_what_a_region_was_ever_seen_at(cut, monkeypatch):
    monkeypatch.setattr(seasons_ahead, "_ahead", lambda panel, day: np.full((GRID, HORIZON, 4), 1e300))
    scaler = fit_scaler(cut, "shared_seasons")
    base = make_inputs(cut, scaler).base(len(cut.y) - 1, 1)[0].double().numpy()
    seen = np.where(cut.observed, scaler.forward(cut.y), -np.inf).max(axis=0)
    np.testing.assert_allclose(base, np.tile(seen + scaler.spread, (HORIZON, 1)), rtol=1e-5)


def test_a_day_before_an_event_that_was_seen_once_has_no_effect_of_its_own(cut):
    """An event on the last day of history: the days before it were never seen after it, and its own size only once."""
    covariates = cut.covariates.copy()
    days = len(cut.y)
    covariates[:, :, 1] = 0.0
    covariates[days - 1, :, 1], covariates[days : days + 2, :, 1] = 0.5, 1.0
    sudden = replace(cut, covariates=covariates)
    shown = columns(sudden).varying
    history, coming = shown[:days], shown[days:]
    assert (coming <= history.max(axis=(0, 1)) + 1e-12).all()
    values, _ = forecast(sudden, STRENGTH)
    usual, _ = forecast(cut, STRENGTH)
    assert np.abs(values - usual)[:3].max() < 3.0


@pytest.mark.parametrize(("days", "base"), [
    pytest.param(SHORTEST + 2 * HORIZON - 1, "seasonal_mean", id="too few origins above seasons to learn from"),
    pytest.param(SHORTEST + 2 * HORIZON, "shared_seasons", id="enough"),
])  # fmt: skip
def test_all_cutoffs_have_the_base_that_the_first_one_can_learn_above(cut, days, base):
    first, last = cut.manifest.day(days - 1), cut.manifest.day(len(cut.y) - 1)
    assert Launch("", "", TrainingConfig(), (first, last)).base(cut.manifest) == base
    assert Launch("", "", TrainingConfig(base="seasonal_mean"), (last,)).base(cut.manifest) == "seasonal_mean"


def test_nothing_observed_is_left_to_the_mean(cut):
    blank = replace(cut, observed=np.zeros_like(cut.observed))
    assert np.isnan(expected(blank, 0, {})[0]).all()
