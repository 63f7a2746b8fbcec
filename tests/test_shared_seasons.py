"""A wandering level and shared seasons: what is found in a known panel, and what may not change a forecast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shop_panel import HORIZON, QUANTILES, cutoff_of, shop_panel

from stspark.models.panel.seasons.arrow import solve
from stspark.models.panel.seasons.columns import Columns, Strength, columns
from stspark.models.panel.seasons.earlier import origins, spread
from stspark.models.panel.seasons.easter import days_from_easter
from stspark.models.panel.seasons.model import SharedSeasons, scaled
from stspark.snapshot import Snapshot

MODEL = SharedSeasons(windows=4)


@pytest.fixture(scope="module")
def fitted(known):
    return MODEL.fit(known)


@pytest.fixture(scope="module")
def forecast(known, fitted):
    return MODEL.predict(fitted, known, QUANTILES)


def test_weekdays_and_promotions_ahead_are_found(panel, forecast):
    """Noise is 2%, a promotion doubles and a weekday moves 40%."""
    truth = panel.y[-HORIZON:].T
    share = np.abs(forecast[:, :, 0] - truth).sum(axis=1) / truth.sum(axis=1)
    assert share[:3].max() < 0.06


def test_a_region_of_three_weeks_has_the_season_and_the_promotions_of_the_others(panel, forecast):
    truth = panel.y[-HORIZON:, 3]
    assert np.abs(forecast[3, :, 0] - truth).sum() / truth.sum() < 0.10


def test_quantiles_are_apart(forecast):
    assert (np.diff(forecast[:, :, 1:], axis=2) > 0).all()


def test_parameters_of_another_cutoff_are_refused(panel, fitted):
    with pytest.raises(ValueError, match="fitted on 150 days, the panel has 100"):
        MODEL.predict(fitted, panel.known_on(panel.manifest.day(99)), QUANTILES)


def test_regions_that_have_not_started_or_were_not_fitted_have_no_forecast(known, fitted):
    renamed = replace(known, manifest=replace(known.manifest, regions=("oslo", "bergen", "turku", "odense")))
    assert np.isnan(MODEL.predict(fitted, renamed, QUANTILES)[3]).all()
    alive, observed = known.alive.copy(), known.observed.copy()
    alive[:, 1] = observed[:, 1] = False
    late = replace(known, alive=alive, observed=observed)
    made = MODEL.predict(MODEL.fit(late), late, QUANTILES)
    assert np.isnan(made[1]).all()
    assert np.isfinite(made[[0, 2, 3]]).all()


def test_a_level_that_has_moved_stays_where_it_went(panel):
    """Demand doubles three weeks before the cutoff: a level that may wander follows, one held back does not."""
    days = panel.manifest.n_history - HORIZON
    y = panel.y.copy()
    y[days - 21 :] *= 2
    known = replace(panel, y=y).known_on(cutoff_of(panel))

    def share(model):
        made = model.predict(model.fit(known), known, QUANTILES)[:3, :, 0]
        return made.sum() / y[-HORIZON:, :3].sum()

    assert share(SharedSeasons(windows=2, wander=0.1)) == pytest.approx(1, abs=0.08)
    assert share(SharedSeasons(windows=2, wander=1e6)) < 0.85


def test_nothing_observed_is_refused(known):
    with pytest.raises(ValueError, match="no observed"):
        MODEL.fit(replace(known, observed=np.zeros_like(known.observed)))


@pytest.mark.parametrize("options", [{"windows": 1}, {"year": 0}, {"wander": -1.0}, {"year": True}])
def test_useless_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SharedSeasons(**options)


def in_columns(dates, values, **changes):
    """Columns of two regions that sell `values` on `dates`; the last HORIZON days are ahead."""
    days, first = len(dates) - HORIZON, dates[0].astype(object)
    manifest = replace(shop_panel().manifest, regions=("a", "b"), first_date=first, n_history=days, n_total=len(dates))
    y = np.repeat(values[:days, None], 2, axis=1)
    seen = np.ones(y.shape, dtype=bool)
    manifest = replace(manifest, covariates=(), **changes)
    return Snapshot(manifest, y, seen, seen, np.zeros((len(dates), 2, 0)), np.zeros((2, 2)))


def test_easter_is_known_wherever_it_falls():
    """Sales double on Good Friday and halve on Easter Monday, in April and in March: the next one is foreseen."""
    dates = np.arange(np.datetime64("2021-01-04"), np.datetime64("2024-04-04"))
    sundays = np.array(["2021-04-04", "2022-04-17", "2023-04-09", "2024-03-31"], dtype="datetime64[D]")
    y = 100.0 * np.where(np.isin(dates, sundays - 2), 2.0, np.where(np.isin(dates, sundays + 1), 0.5, 1.0))
    panel = in_columns(dates, y * np.exp(0.05 * np.random.default_rng(0).normal(size=len(y))))
    made = MODEL.predict(MODEL.fit(panel), panel, QUANTILES)[0, :, 0]
    good_friday, monday = (int(np.flatnonzero(dates[-HORIZON:] == sundays[3] + k)[0]) for k in (-2, 1))
    assert made[good_friday] > 1.4 * np.median(made)
    assert made[monday] < 0.7 * np.median(made)


def test_the_distance_to_easter_is_the_nearest_ones():
    dates = np.array(["2023-04-09", "2023-04-07", "2023-12-31", "2024-01-01", "2024-03-31"], dtype="datetime64[D]")
    np.testing.assert_array_equal(days_from_easter(dates), [0, -2, -91, -90, 0])


def test_weekdays_may_change_with_the_year():
    """Saturday sells 40% more in winter and 40% less in summer."""
    dates = np.arange(np.datetime64("2021-01-04"), np.datetime64("2023-07-20"))
    angle = 2 * np.pi * (dates - dates.astype("datetime64[Y]")).astype(float) / 365.25
    saturday = (dates.astype(int) + 3) % 7 == 5
    y = 100 * np.where(saturday, 1 + 0.4 * np.cos(angle), 1.0)
    panel = in_columns(dates, y)
    made = MODEL.predict(MODEL.fit(panel), panel, QUANTILES)[0, :, 0]
    np.testing.assert_allclose(made, y[-HORIZON:], rtol=0.1)


@pytest.mark.parametrize("season", [1, 2, 12, 52])
def test_any_length_of_the_season_is_taken(known, season):
    other = replace(known, manifest=replace(known.manifest, season=season))
    assert np.isfinite(MODEL.predict(MODEL.fit(other), other, QUANTILES)).all()


def test_older_days_weigh_less(known):
    weight = scaled(known)[1]
    ratio = weight[-1, 0] / weight[0, 0]
    assert ratio == pytest.approx(2 ** ((len(known.y) - 1) / 700))
    assert (weight[~known.observed] == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_arrow_solves_the_normal_equations(seed):
    """The same coefficients as one dense ridge regression over all regions' blocks."""
    rng = np.random.default_rng(seed)
    days, regions = 40, 3
    made = Columns(
        rng.normal(size=(days, 2)),
        rng.normal(size=(days, regions, 1)),
        rng.normal(size=(days, 2)),
        ("year", "wander", "effect"),
        ("level", "season"),
    )
    strength = Strength(year=3.0, wander=0.5)
    z, weight = rng.normal(size=(days, regions)), rng.random((days, regions)) * (rng.random((days, regions)) > 0.2)
    shared, own = solve(made, z, weight, strength)
    blocks = [np.hstack([made.shared(r), *(made.own * (k == r) for k in range(regions))]) for r in range(regions)]
    x, y, w = np.vstack(blocks), z.T.ravel(), weight.T.ravel()
    ridge, own_ridge = made.penalties(strength)
    dense = np.linalg.solve((x.T * w) @ x + np.diag([*ridge, *np.tile(own_ridge, regions)]), (x.T * w) @ y)
    np.testing.assert_allclose(np.concatenate([shared, own.ravel()]), dense, atol=1e-9)


def test_columns_of_the_level_are_over_on_the_last_day_of_history(known):
    made = columns(known)
    level = made.common[:, [k for k, kind in enumerate(made.kinds[: made.common.shape[1]]) if kind == "wander"]]
    assert (level[len(known.y) - 1 :] == 0).all()
    assert (level[0] < 0).all()


def test_errors_grow_with_the_days_ahead_and_are_centred():
    found = np.random.default_rng(0).normal(size=(20, 5, 14)) * np.arange(1, 15)
    made = spread(found)
    assert (np.diff(made.by_day) >= 0).all()
    off = made.at([0.1, 0.5, 0.9], range(5))
    np.testing.assert_allclose(off[:, :, 1], 0, atol=1e-9)
    np.testing.assert_allclose(off[:, :, 0], -off[:, :, 2])
    inside = np.abs(found) <= off[None, :, :, 2]
    assert inside[:, :, 7:].mean() == pytest.approx(0.8, abs=0.05)


def test_earlier_windows_are_half_a_horizon_apart_and_keep_the_weekday(known):
    assert origins(known, 3) == [142, 135, 128]
    assert origins(replace(known, y=known.y[:64]), 9) == [56]
