"""SAR, dynamic SAR and STV: estimates against truth and spreg, forecasts without a leak, saved and read alike."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from stspark.errors import ConfigError
from stspark.models.panel.base import TooLittle
from stspark.models.panel.contributions import PARTS
from stspark.models.panel.dynamic_sar import DynamicSar, Sar
from stspark.models.panel.lags import (
    STABLE,
    Equations,
    at_rest,
    iterate,
    lag_terms,
    lagged,
    spectral_radius,
    stabilised,
)
from stspark.models.panel.registry import build
from stspark.models.panel.spatial_lag import effects, fit_spatial_lag
from stspark.models.panel.stv import Stv
from stspark.snapshot import Manifest, Snapshot

QUANTILES = (0.1, 0.5, 0.9)
MODELS = [DynamicSar(paths=60), Sar(paths=60), Stv(paths=60)]
IDS = [model.name for model in MODELS]


def ring(regions):
    """Each region has its two neighbours on a circle."""
    w = np.zeros((regions, regions))
    for i in range(regions):
        w[i, [(i - 1) % regions, (i + 1) % regions]] = 0.5
    return w


def nearest(regions, k, seed):
    """Each region has its k nearest of random places: not symmetric."""
    place = np.random.default_rng(seed).random((regions, 2))
    distance = ((place[:, None] - place) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    w = np.zeros((regions, regions))
    for i, row in enumerate(np.argsort(distance, axis=1)[:, :k]):
        w[i, row] = 1 / k
    return w


def static_panel(rho, seed, days=365, regions=27):
    """y = ρWy + x (1, -0.5) + region effects + ε: y, x, weights."""
    g, w = np.random.default_rng(seed), nearest(regions, 4, seed)
    x = g.normal(size=(days, regions, 2))
    right = x @ [1.0, -0.5] + g.normal(size=regions) + g.normal(size=(days, regions))
    return right @ np.linalg.inv(np.eye(regions) - rho * w).T, x, w


def panel(seed=0, days=200, regions=8, horizon=7, rho=0.3):
    """Counts that spill over to neighbours the same day and the next, a week, a promotion, one late region."""
    g, w, total = np.random.default_rng(seed), ring(regions), days + horizon
    promotion = (g.random((total, regions)) < 0.1) * 1.0
    z, back = np.zeros((total, regions)), np.linalg.inv(np.eye(regions) - rho * w).T
    for t in range(1, total):
        z[t] = (0.3 * z[t - 1] + 0.3 * w @ z[t - 1] + 0.4 * promotion[t] + 0.2 * g.normal(size=regions)) @ back
        z[t] += 0.1 * np.sin(2 * np.pi * t / 7)
    y = np.exp(3 + z[:days])
    alive = np.ones((days, regions), dtype=bool)
    alive[:150, 2] = False
    observed = alive & (g.random((days, regions)) > 0.02)
    edges = tuple((i, int(j), 0.5) for i in range(regions) for j in np.flatnonzero(w[i]))
    manifest = Manifest(
        f"v{seed}", tuple(f"r{i}" for i in range(regions)), date(2023, 1, 2), days, total, ("promotion",), edges, 7,
        horizon, QUANTILES, seed=3, past_only=("users",),
    )  # fmt: skip
    users = np.where(observed, y * g.uniform(1, 2, size=y.shape), np.nan)[:, :, None]
    return Snapshot(manifest, np.where(alive, y, 0.0), observed, alive, promotion[:, :, None], w, users)


@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.4, 0.7])
@pytest.mark.parametrize("seed", [1, 2])
def test_rho_is_recovered_within_three_hundredths(rho, seed):
    fit = fit_spatial_lag(*static_panel(rho, seed))
    assert fit.rho == pytest.approx(rho, abs=0.03)
    assert abs(fit.rho - rho) < 4 * fit.rho_error
    np.testing.assert_allclose(fit.beta, [1.0, -0.5], atol=0.05)


def test_estimates_and_standard_errors_equal_those_of_spreg():
    spreg, libpysal = pytest.importorskip("spreg"), pytest.importorskip("libpysal")
    y, x, w = static_panel(0.4, 5, days=120, regions=20)
    theirs = spreg.Panel_FE_Lag(y.reshape(-1, 1), x.reshape(-1, 2), libpysal.weights.full2W(w))
    ours = fit_spatial_lag(y, x, w)
    np.testing.assert_allclose([*ours.beta, ours.rho], theirs.betas.ravel(), rtol=1e-5)
    np.testing.assert_allclose([*ours.beta_error, ours.rho_error], theirs.std_err, rtol=1e-3)


def test_a_panel_without_neighbours_is_plain_least_squares():
    y, x, w = static_panel(0.0, 3, days=60, regions=5)
    fit = fit_spatial_lag(y, x, np.zeros_like(w))
    centred = [v - v.mean(axis=0) for v in (x, y)]
    wanted = np.linalg.lstsq(centred[0].reshape(-1, 2), centred[1].ravel(), rcond=None)[0]
    assert fit.rho == 0.0
    np.testing.assert_allclose(fit.beta, wanted, rtol=1e-8)


def test_effects_of_a_row_standardised_graph_add_up():
    """LeSage & Pace 2009, p. 38: the mean total effect is β / (1 - ρ) where the rows of W sum to 1."""
    found = effects(0.5, np.array([2.0]), ring(6))
    assert found["total"] == pytest.approx(2.0 / (1 - 0.5))
    assert found["direct"] + found["indirect"] == pytest.approx(found["total"])
    assert 2.0 < found["direct"] < found["total"]


def test_lag_terms_are_what_they_say():
    z = np.arange(100.0)[None, :, None]
    at_60 = lagged(z, lag_terms(7))[0, :, 60, 0]
    np.testing.assert_allclose(at_60, [59, 56, 60 - 14.5, 53, 60 - 17.5])
    assert len(lag_terms(1)) == 2


@pytest.mark.parametrize("seed", range(5))
def test_the_spectral_radius_equals_that_of_the_whole_companion_matrix(seed):
    g, terms, w = np.random.default_rng(seed), lag_terms(2), nearest(5, 2, seed)
    own, near = 0.3 * g.normal(size=(2, 2, 2, len(terms)))
    equations = Equations(0.2, own, near, np.zeros((2, 0)), np.zeros((2, 5)), terms)
    length = terms.shape[1]
    whole = np.zeros((10 * length, 10 * length))
    for k in range(length):
        step = np.block([
            [(own[v, u] @ terms[:, k]) * np.eye(5) + (near[v, u] @ terms[:, k]) * w for u in range(2)]
            for v in range(2)
        ])  # fmt: skip
        step[:5] = np.linalg.inv(np.eye(5) - 0.2 * w) @ step[:5]
        whole[:10, 10 * k : 10 * k + 10] = step
    whole[10:, :-10] = np.eye(10 * (length - 1))
    assert spectral_radius(equations, w) == pytest.approx(np.abs(np.linalg.eigvals(whole)).max(), rel=1e-6)


@pytest.mark.parametrize("anchored", [False, True])
def test_a_recursion_that_would_explode_is_drawn_back_before_it_is_iterated(anchored):
    terms, w = lag_terms(7), ring(4)
    own = np.zeros((1, 1, len(terms)))
    own[..., 0] = 1.2
    wild = Equations(0.0, own, 0.1 * own, np.zeros((1, 0)), np.zeros((1, 4)), terms)
    tame, before = stabilised(wild, w, at_rest(wild, anchored=anchored))
    assert before == pytest.approx(1.32)
    assert spectral_radius(tame, w) <= STABLE
    path = iterate(tame, np.ones((1, 30, 4)), np.zeros((400, 4, 0)), w, np.zeros((1, 1, 400, 4)))
    assert np.abs(path).max() <= 1.001


def test_the_dynamic_model_finds_the_spill_over():
    parameters = DynamicSar().fit(panel(days=600, rho=0.3))
    assert parameters["rho"] == pytest.approx(0.3, abs=0.06)
    assert parameters["spectral_radius"] <= STABLE
    assert parameters["effects"]["indirect"][0] > 0


@pytest.mark.parametrize("model", MODELS, ids=IDS)
class TestForecasts:
    def test_shapes_order_and_finite_values(self, model):
        made = panel()
        values = model.predict(model.fit(made), made, QUANTILES)
        assert values.shape == (8, 7, 4)
        assert np.isfinite(values).all()
        assert (np.diff(values[..., 1:], axis=-1) >= 0).all()
        assert (values >= 0).all()

    def test_nothing_after_the_cutoff_changes_a_forecast(self, model):
        made, now = panel(), date(2023, 7, 1)
        days = made.manifest.days_until(now)
        other = replace(made, y=made.y.copy(), observed=made.observed.copy(), past=made.past.copy())
        g = np.random.default_rng(9)
        other.y[days:] = g.gamma(1.0, 500.0, size=other.y[days:].shape)
        other.past[days:] = g.gamma(1.0, 500.0, size=other.past[days:].shape)
        other.observed[days:] = ~other.observed[days:]
        cut = [snapshot.known_on(now) for snapshot in (made, other)]
        np.testing.assert_array_equal(*(model.predict(model.fit(c), c, QUANTILES) for c in cut))

    def test_parameters_survive_json_and_two_fits_are_identical(self, model):
        made = panel()
        one, two = model.fit(made), model.fit(made)
        assert json.dumps(one, allow_nan=False) == json.dumps(two)
        read = json.loads(json.dumps(one))
        np.testing.assert_array_equal(model.predict(one, made, QUANTILES), model.predict(read, made, QUANTILES))

    def test_the_order_of_regions_does_not_matter(self, model):
        made = panel()
        order = np.random.default_rng(1).permutation(8)
        moved = replace(
            made, y=made.y[:, order], observed=made.observed[:, order], alive=made.alive[:, order],
            covariates=made.covariates[:, order], weights=made.weights[np.ix_(order, order)], past=made.past[:, order],
        )  # fmt: skip
        one, other = (model.predict(model.fit(s), s, QUANTILES)[..., 0] for s in (made, moved))
        np.testing.assert_allclose(one[order], other, rtol=1e-6)

    def test_a_region_that_has_not_started_has_none_and_one_with_a_day_has_one(self, model):
        made = panel()
        values = [model.predict(model.fit(c), c, QUANTILES) for c in (
            made.known_on(made.manifest.day(140)), made.known_on(made.manifest.day(152))
        )]  # fmt: skip
        assert np.isnan(values[0][2]).all()
        assert np.isfinite(np.delete(values[0], 2, axis=0)).all()
        assert np.isfinite(values[1]).all()

    def test_the_unit_of_the_target_does_not_matter(self, model):
        made = panel()
        scaled = replace(made, y=1000 * made.y)
        one, other = (model.predict(model.fit(s), s, QUANTILES) for s in (made, scaled))
        np.testing.assert_allclose(1000 * one, other, rtol=1e-6)

    def test_negative_demand_stays_negative(self, model):
        made = panel()
        returns = replace(made, y=-made.y)
        assert (model.predict(model.fit(returns), returns, QUANTILES)[..., 0] < 0).mean() > 0.9

    def test_regions_without_neighbours_are_forecast_too(self, model):
        alone = panel()
        alone = replace(alone, weights=np.zeros_like(alone.weights))
        assert np.isfinite(model.predict(model.fit(alone), alone, QUANTILES)).all()

    def test_the_parts_of_a_forecast_add_up(self, model):
        made = panel().known_on(date(2023, 7, 18))
        parameters = model.fit(made)
        parts = model.explain(parameters, made)
        assert tuple(parts) == PARTS
        point = model.predict(parameters, made, QUANTILES)[:, :, 0]
        np.testing.assert_allclose(np.sum(list(parts.values()), axis=0), point, rtol=1e-8)
        assert bool(parts["second_variable"].any()) == (model.name == "stv")
        assert bool(parts["own_past"].any()) == bool(parts["neighbours"].any()) == (model.name != "sar")

    def test_its_intervals_hold_about_what_they_promise(self, model):
        made, hits = panel(days=400, horizon=7), []
        for back in range(7, 120, 7):
            cut = made.known_on(made.manifest.day(399 - back))
            values = model.predict(model.fit(cut), cut, QUANTILES)
            truth = made.y[len(cut.y) : len(cut.y) + 7].T
            hits.append((truth >= values[..., 1]) & (truth <= values[..., 3]))
        assert 0.68 < np.mean(hits) < 0.92


@pytest.mark.parametrize("season", [7, 1])
@pytest.mark.parametrize("model", [DynamicSar(), Stv()], ids=["dynamic_sar", "stv"])
def test_a_level_once_reached_is_kept_where_lags_are_anchored(model, season):
    """Steady demand doubles for good two months before the end."""
    made = panel(days=400)
    y = made.y * 0 + 50 * np.exp(0.05 * np.random.default_rng(0).normal(size=made.y.shape))
    y[-60:] *= 2.0
    manifest = replace(made.manifest, season=season)
    doubled = replace(made, manifest=manifest, y=np.where(made.alive, y, 0.0), past=y[:, :, None])
    values = model.predict(model.fit(doubled), doubled, QUANTILES)[:, -1, 0]
    assert values == pytest.approx(np.full(8, 100.0), rel=0.05)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_a_panel_where_nothing_ever_changes_is_left_to_others(model):
    made = panel()
    flat = replace(made, y=np.full_like(made.y, 3.0), past=np.full_like(made.past, 5.0))
    with pytest.raises(TooLittle, match="no day differs from another"):
        model.fit(flat)


def test_the_second_variable_helps_where_it_leads():
    """Visitors of today are tomorrow's orders."""
    made = panel(days=300)
    visitors = np.full((*made.y.shape, 1), np.nan)
    visitors[:-1, :, 0] = made.y[1:]
    visitors[-1, :, 0] = 5.0
    leading = replace(made, past=visitors)
    forecasts = [Stv(paths=60).predict(Stv(paths=60).fit(s), s, QUANTILES)[:, 0, 0] for s in (made, leading)]
    assert (forecasts[1] < 0.6 * forecasts[0]).all()


def test_a_snapshot_without_the_second_variable_is_named():
    made = panel()
    bare = replace(made, manifest=replace(made.manifest, past_only=()))
    with pytest.raises(ValueError, match="holds no column 'users', only none"):
        Stv().fit(bare)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        pytest.param("dynamic_sar", {"paths": 3}, "models.dynamic_sar.paths: is 3; give a whole number", id="paths"),
        pytest.param("sar", {"ridge": -1}, "refuses its options: ridge is -1", id="ridge"),
        pytest.param("stv", {"second": ""}, "refuses its options: second is ''", id="second"),
        pytest.param("stv", {"secnd": "users"}, "did you mean 'second'", id="unknown"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, options)
