"""Trees on what the seasons leave: what they learn, what they see, and panels at the edge of what can be learned."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from shop_panel import HORIZON, QUANTILES, cutoff_of, shop_panel

from stspark.models.panel.boosted.features import TIME_OF_YEAR
from stspark.models.panel.boosted.model import learning_design
from stspark.models.panel.boosted.sample import origins
from stspark.models.panel.residual_trees.events import events, surroundings
from stspark.models.panel.residual_trees.model import FIRST_ORIGIN, ResidualTrees
from stspark.models.panel.residual_trees.rows import draw, seen_from
from stspark.models.panel.residual_trees.targets import limit, pattern
from stspark.models.panel.seasons.earlier import forecasts
from stspark.models.panel.seasons.model import STRENGTH, SharedSeasons, forecast

SMALL = ResidualTrees(rows=500, boosters=1, rounds=20, learning_rate=0.2, columns=0.5)


def made(panel, model=SMALL):
    return model.predict(model.fit(panel), panel, QUANTILES)


def sold(panel, y):
    """The panel with another target."""
    return replace(panel, y=np.where(panel.alive, y, 0.0))


def test_weekdays_and_promotions_ahead_are_found(panel, known):
    truth = panel.y[-HORIZON:].T
    share = np.abs(made(known)[:, :, 0] - truth).sum(axis=1) / truth.sum(axis=1)
    assert share[:3].max() < 0.06
    assert share[3] < 0.15


def test_what_additive_seasons_cannot_say_is_learned_of_their_errors():
    """A promotion sells three times as much on even weekdays and nothing more on odd ones."""
    panel = shop_panel(320, seed=3)
    weekday = np.arange(len(panel.y)) % 7
    promoted = panel.covariates[:, :, 0] == 1
    y = 100.0 * np.where(promoted & (weekday % 2 == 0)[:, None], 3.0, 1.0) * np.ones_like(panel.y)
    everywhere = np.ones_like(panel.alive)
    panel = replace(panel, y=y, alive=everywhere, observed=everywhere)
    off = {}
    for model in (SharedSeasons(windows=2), replace(SMALL, rows=5000, rounds=60, columns=1.0)):
        known = panel.known_on(cutoff_of(panel))
        off[model.name] = np.abs(made(known, model)[:, :, 0] - y[-HORIZON:].T).mean()
    assert off["residual_trees"] < 0.65 * off["shared_seasons"]


def test_a_region_that_was_not_fitted_has_no_forecast(known):
    fitted = SMALL.fit(known)
    renamed = replace(known, manifest=replace(known.manifest, regions=("oslo", "bergen", "turku", "odense")))
    forecast = SMALL.predict(fitted, renamed, QUANTILES)
    assert np.isnan(forecast[3]).all()
    assert np.isfinite(forecast[:3]).all()


def test_a_region_that_has_not_started_has_no_forecast_and_harms_no_other(known):
    alive, observed = known.alive.copy(), known.observed.copy()
    alive[:, 1] = observed[:, 1] = False
    forecast = made(replace(known, alive=alive, observed=observed))
    assert np.isnan(forecast[1]).all()
    assert np.isfinite(forecast[[0, 2, 3]]).all()


def test_parameters_of_another_cutoff_are_refused(panel, known):
    with pytest.raises(ValueError, match="fitted on 150 days, the panel has 100"):
        SMALL.predict(SMALL.fit(known), panel.known_on(panel.manifest.day(99)), QUANTILES)


def test_a_constant_stays_what_it_is(known):
    np.testing.assert_allclose(made(sold(known, np.full_like(known.y, 50.0)))[:, :, 0], 50.0, rtol=0.01)


def test_zeros_only_stay_zeros(known):
    np.testing.assert_allclose(made(sold(known, np.zeros_like(known.y)))[:, :, 0], 0.0, atol=0.01)


def test_a_wave_without_noise_is_learned_by_heart():
    """Nothing but a week's wave: hardly anything may be left."""
    panel = shop_panel(noise=0.0)
    y = np.array([100.0, 50, 20, 10]) * (1 + 0.4 * np.sin(2 * np.pi * np.arange(len(panel.y)) / 7))[:, None]
    everywhere = np.ones_like(panel.alive)
    panel = replace(panel, y=y, alive=everywhere, observed=everywhere)
    np.testing.assert_allclose(made(panel.known_on(cutoff_of(panel)))[:, :, 0], y[-HORIZON:].T, rtol=0.02)


def test_returns_and_rare_sales_are_numbers(known):
    y = known.y.copy()
    y[:, 1] = np.where(np.arange(len(y)) % 5 == 0, 3.0, 0.0)
    y[:, 2] = -20.0
    y[-3, 0] = -8000.0
    forecast = made(sold(known, y))
    assert np.isfinite(forecast).all()
    assert np.abs(forecast[1]).max() < 30
    assert forecast[2, :, 0].max() < 0


@pytest.mark.parametrize(
    "changes", [{"season": 1}, {"season": 52}, {"horizon": 1}, {"horizon": 40}, {"covariates": ()}], ids=str
)
def test_any_season_horizon_and_no_covariates_are_taken(panel, changes):
    """Cut early enough for the longest horizon."""
    manifest = replace(panel.manifest, **changes)
    kept = panel.covariates[:, :, : len(manifest.covariates)]
    known = replace(panel, manifest=manifest, covariates=kept).known_on(panel.manifest.day(116))
    forecast = made(known)
    assert forecast.shape == (4, manifest.horizon, 1 + len(QUANTILES))
    assert np.isfinite(forecast[:3]).all()
    assert (np.diff(forecast[:3, :, 1:], axis=2) >= 0).all()


@pytest.mark.parametrize("days", [10, 60, 77])
def test_a_short_history_is_refused(days):
    short = shop_panel(100)
    with pytest.raises(ValueError, match=f"{days} days of history give no example"):
        SMALL.fit(short.known_on(short.manifest.day(days - 1)))


def test_the_shortest_history_is_enough():
    short = shop_panel(100)
    known = short.known_on(short.manifest.day(SMALL.min_length - 1))
    assert np.isfinite(made(known)[:3]).all()


def test_nothing_observed_is_refused(known):
    with pytest.raises(ValueError, match="no observed"):
        SMALL.fit(replace(known, observed=np.zeros_like(known.observed)))


@pytest.mark.parametrize("options", [{"rows": 0}, {"leaves": 1}, {"columns": 1.5}, {"width": 0.0}])
def test_useless_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ResidualTrees(**options)


@pytest.mark.parametrize("seed", range(3))
def test_a_pattern_is_what_a_line_or_the_median_leaves(seed):
    rng = np.random.default_rng(seed)
    ahead = np.arange(40)
    errors = rng.normal(size=(4, 40)) + 0.1 * ahead
    errors[1, rng.permutation(40)[:8]] = np.nan  # 32 known: a line
    errors[2, 20:] = np.nan  # 20 known: the median
    errors[3, 10:] = np.nan  # too few
    found = pattern(errors)
    for r in (0, 1):
        use = np.isfinite(errors[r])
        line = np.polyval(np.polyfit(ahead[use], errors[r, use], 1), ahead)
        np.testing.assert_allclose(found[r], errors[r] - line, atol=1e-9)
    np.testing.assert_allclose(found[2], errors[2] - np.nanmedian(errors[2]))
    assert np.isnan(found[3]).all()


def test_the_pattern_of_a_week_needs_half_of_it():
    errors = np.array([[1.0, 2, 3, 9, np.nan, np.nan, np.nan], [1.0, 2, 3, np.nan, np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(pattern(errors)[0, :4], [-1.5, -0.5, 0.5, 6.5])
    assert np.isnan(pattern(errors)[1]).all()


def test_the_limit_follows_the_usual_error_but_never_below_one():
    assert limit(np.full((2, 3), np.nan)) == limit(np.full((2, 3), 0.1)) == 1.0
    assert limit(np.array([[1.0, -1.0, 30.0]])) == pytest.approx(4 * 1.4826)


def test_events_are_the_covariates_of_zeros_and_ones(known):
    assert events(learning_design(known)) == (0,)  # "never" does not vary, so it is not looked at
    assert events(learning_design(replace(known, covariates=known.covariates * 0.5))) == ()


def test_surroundings_worked_by_hand(known):
    """Events two days before the origin, and one, three and four days after it."""
    origin = 100
    covariates = np.zeros_like(known.covariates)
    covariates[[origin - 2, origin + 1, origin + 3, origin + 4, origin + HORIZON + 1], :, 0] = 1
    design = learning_design(replace(known, covariates=covariates))
    seen = surroundings(design, (0,), origin)[0]  # [H, F], the same of all regions
    np.testing.assert_array_equal(seen[:, 2], [0, 1, 0, 0, 15, 15, 15])
    np.testing.assert_array_equal(seen[:, 3], [0, 1, 0, 0, 1, 2, 3])
    np.testing.assert_array_equal(seen[:, 4], [2, 2, 1, 0, 0, 0, 0])
    first = known.manifest.first_date + timedelta(days=origin + 1)
    assert str(first) == "2023-04-13"  # Easter Sunday is the 9th
    np.testing.assert_array_equal(seen[:, 0], [4, 5, 6, 7, 8, 8, 8])
    np.testing.assert_array_equal(seen[:, 1], -20)


def test_what_is_seen_from_an_earlier_day_does_not_change_with_what_followed(known):
    """Within one panel: targets after the origin, and covariates after its horizon."""
    origin = 110
    y, observed, covariates = known.y.copy(), known.observed.copy(), known.covariates.copy()
    y[origin + 1 :] *= 7
    observed[origin + 1 :, 1] = False
    covariates[origin + 1 + HORIZON :] = 1 - covariates[origin + 1 + HORIZON :]
    covariates[:, :, 1] = 0
    seen = []
    for panel in (known, replace(known, y=y, observed=observed, covariates=covariates)):
        design = learning_design(panel)
        made = forecasts(design.panel, lambda cut: forecast(cut, STRENGTH), [origin])[0]
        seen.append(seen_from(design, events(design), made))
    np.testing.assert_array_equal(*seen)


def test_the_time_of_the_year_stands_where_it_is_left_out(known):
    rows = learning_design(known).rows(100)[0, 0]  # of 2023-04-13
    assert rows[list(TIME_OF_YEAR)].tolist() == [102, 3]


def test_about_as_many_rows_are_drawn_as_asked_for(known):
    design = learning_design(known)
    found = forecasts(design.panel, lambda cut: forecast(cut, STRENGTH), origins(len(known.y), FIRST_ORIGIN))
    errors = [(one, one.errors(design.panel, 28)) for one in found]
    total = sum(np.isfinite(off).sum() for _, off in errors)
    everything, again = draw(design, (), errors, 10**6, [1, 2])
    assert len(everything.error) == total
    np.testing.assert_array_equal(everything.error, again.error)
    some, other = draw(design, (), errors, total // 2, [1, 2])
    assert len(some.error) == pytest.approx(total / 2, rel=0.2)
    assert len(some.error) == len(some.x) == len(some.pattern)
    assert not np.array_equal(some.error, other.error[: len(some.error)])
