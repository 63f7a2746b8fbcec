"""Combination, calibration and choice: properties over seeds, arithmetic by hand, no Spark but for the last part."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from stspark.ensemble import calibrate, choose, finish, weights, windows
from stspark.ensemble.spread import Known, finish_regions, prepare
from stspark.names import quantile_column
from stspark.settings import Settings

LEVELS = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
MODELS = ("seasonal_naive", "biased", "good", "poor")
ADAPTIVE = finish.Plan("stacked", "adaptive", "wape", 1.0, 4, True)


def shop(seed: int = 0, regions: int = 12, cutoffs: int = 16, noise: float = 8.0) -> windows.Windows:
    """Demand around 50 with weekly windows; intervals half as wide as they should be; event days are wilder."""
    rng = np.random.default_rng(seed)
    shape = (regions, cutoffs, 7)
    event = rng.random(shape) < 0.1
    y = np.maximum(50 + rng.normal(0, noise, shape) * np.where(event, 3, 1), 0)
    errors = {"seasonal_naive": (0, 12), "biased": (15, 4), "good": (0, 2), "poor": (0, 25)}
    point = np.stack([50 + bias + rng.normal(0, sd, shape) for bias, sd in errors.values()], axis=3)
    quantiles = point[..., None] + 0.5 * noise * norm.ppf(LEVELS)
    own = np.ones((regions, cutoffs, len(MODELS)), dtype=bool)
    names = tuple(f"r{k:02d}" for k in range(regions))
    return windows.Windows(
        names, tuple(range(0, 7 * cutoffs, 7)), tuple(range(1, 8)), MODELS, LEVELS, y, point, quantiles, own, event
    )


def alone(whole: windows.Windows, r: int) -> windows.Windows:
    return whole.of_regions(np.arange(len(whole.regions)) == r)


def coverage(made: np.ndarray, y: np.ndarray, level: float) -> float:
    i, j = LEVELS.index(round((1 - level) / 2, 3)), LEVELS.index(round((1 + level) / 2, 3))
    return float(((y >= made[..., i]) & (y <= made[..., j])).mean())


# Weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_not_negative_and_add_up_to_one(seed):
    rng = np.random.default_rng(seed)
    errors = rng.normal(0, rng.uniform(0.1, 3, 5), (40, 5))
    usable = rng.random(5) > 0.3
    around, together = weights.pooled(errors)
    for found in (weights.of_region(errors, around, together, usable), weights.equal(usable),
                  weights.inverse_error((errors**2).mean(axis=0), usable)):  # fmt: skip
        assert found.sum() == pytest.approx(1)
        assert (found >= 0).all()
        assert (found[~usable] == 0).all() or not usable.any()


def test_stacking_prefers_models_whose_errors_cancel():
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 1, 200)
    errors = np.column_stack([shared, -shared + rng.normal(0, 0.1, 200), rng.normal(0, 3, 200)])
    found, _ = weights.pooled(errors)
    assert found[0] == pytest.approx(found[1], abs=0.1)
    assert found[2] < 0.1


def test_a_region_without_days_takes_the_weights_of_all():
    rng = np.random.default_rng(2)
    around, together = weights.pooled(rng.normal(0, [1.0, 2.0, 4.0], (300, 3)))
    none = np.full((7, 3), np.nan)
    np.testing.assert_allclose(weights.of_region(none, around, together, np.ones(3, bool)), around, atol=0.02)


def test_a_region_with_many_days_follows_its_own():
    rng = np.random.default_rng(3)
    around, together = weights.pooled(rng.normal(0, [1.0, 4.0], (300, 2)))
    found = weights.of_region(rng.normal(0, [4.0, 1.0], (2000, 2)), around, together, np.ones(2, bool))
    assert around[0] > 0.8 > 0.2 > found[0]


def test_inverse_error_by_hand():
    usable = np.array([True, True, False])
    np.testing.assert_allclose(weights.inverse_error(np.array([1.0, 3.0, 0.1]), usable), [0.75, 0.25, 0])


# Calibration ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_hold_what_they_promise_on_windows_that_did_not_teach_them(seed, level):
    whole = shop(seed, regions=20)
    made = calibrate.calibrate(whole, calibrate.learn(whole), non_negative=True)
    for m in range(len(MODELS)):
        assert coverage(whole.quantiles[:, 8:, :, m], whole.y[:, 8:], level) < level
        assert coverage(made[:, 8:, :, m], whole.y[:, 8:], level) == pytest.approx(level, abs=0.035)


def test_event_days_have_intervals_of_their_own():
    whole = shop(regions=40)
    made = calibrate.calibrate(whole, calibrate.learn(whole), non_negative=True)[:, 8:, :, 2]
    y, event = whole.y[:, 8:], whole.event[:, 8:]
    assert coverage(made[event], y[event], 0.8) == pytest.approx(0.8, abs=0.05)
    assert coverage(made[~event], y[~event], 0.8) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("non_negative", [True, False])
def test_quantiles_do_not_cross_nor_fall_below_zero(non_negative):
    whole = shop(noise=60.0)
    made = calibrate.calibrate(whole, calibrate.learn(whole), non_negative)
    assert (np.diff(made, axis=-1) >= 0).all()
    assert (made >= 0).all() == non_negative


def test_the_level_follows_what_was_missed():
    """From window 6 on demand is twice as wild: adapted intervals come back to 80%, those that do not adapt lag."""
    whole = shop(4, regions=40)
    y = whole.y.copy()
    y[:, 6:] = 50 + 2.5 * (y[:, 6:] - 50)
    wild = replace(whole, y=y)
    kept = {rate: calibrate.calibrate(wild, calibrate.learn(wild, rate), False)[:, 8:12, :, 2] for rate in (0.0, 0.5)}
    gap = {rate: abs(coverage(made, y[:, 8:12], 0.8) - 0.8) for rate, made in kept.items()}
    assert gap[0.5] < gap[0.0]


def test_a_point_far_off_is_published_within_its_models_interval():
    """A model that is always too low by ten times the noise, and one that is not."""
    whole, shift = shop(regions=20), np.array([0.0, -95.0, 0.0, 0.0])
    low = replace(whole, point=whole.point + shift, quantiles=whole.quantiles + shift[:, None])
    plan = replace(ADAPTIVE, non_negative=False)
    done = finish.finish(alone(low, 0), finish.EVERYBODY, finish.learn(low, {}, plan), plan)
    said, made, lowest = done.windows.point[:, 8:], done.point[:, 8:], done.quantiles[:, 8:, ..., 0]
    assert (said[..., 1] < lowest[..., 1]).all()
    np.testing.assert_array_equal(made[..., 1], lowest[..., 1])
    np.testing.assert_array_equal(made[..., 2], said[..., 2])


def test_a_region_with_few_days_leans_on_others():
    own = np.full((1, 5), 9.0)
    grid = np.linspace(-1, 1, calibrate.POINTS)[None]
    levels = np.array([[0.1, 0.5, 0.9]])
    few = calibrate.blended_quantiles(own, grid, levels)[0]
    many = calibrate.blended_quantiles(np.tile(own, 400), grid, levels)[0]
    assert few[0] == pytest.approx(-0.8, abs=0.05)
    assert (many == 9.0).sum() >= 2


# Choice --------------------------------------------------------------------------------------------

LOSSES = {  # naive, default, other by window -> chosen (0 naive, 1 default, 2 other)
    "noise leaves the default": ([[5, 3, 2], [5, 2, 3], [5, 3, 2], [5, 2, 2.9]], 1),
    "a clear winner is taken": ([[5, 3, 1], [5, 3, 1.1], [5, 3, 1], [5, 3, 0.9]], 2),
    "the naive is taken where it wins": ([[1, 3, 4], [1, 3.2, 4], [1.1, 3, 4], [1, 3, 4]], 0),
    "too few windows leave the default": ([[5, 3, 1], [5, 3, 1]], 1),
    "ties go to the default": ([[2, 2, 2]] * 5, 1),
    "a default that stood in is not taken": ([[5, np.nan, 2], [5, 3, 2], [5, 3, 2], [5, 3, 2]], 2),
    "a winner that stood in is not taken": ([[5, 3, 1], [5, 3, np.nan], [5, 3, 1], [5, 3, 1]], 1),
    "windows without observation do not count": ([[np.nan] * 3, [5, 3, 1], [5, 3, 1]], 1),
    "no window": (np.zeros((0, 3)), 1),
}


@pytest.mark.parametrize(("losses", "chosen"), LOSSES.values(), ids=list(LOSSES))
def test_a_regions_champion(losses, chosen):
    assert choose.champion(np.array(losses, dtype=float), 1, 0, fewest=4, guard=1.0) == chosen


@pytest.mark.parametrize(
    ("means", "chosen"),
    [
        pytest.param([5, 3, 2.99], 1, id="the combination where it is as good as the best"),
        pytest.param([5, 3, 1], 2, id="the best where the combination is clearly worse"),
        pytest.param([2, 3, 4], 0, id="the naive where nothing beats it"),
    ],
)
def test_the_default_of_all_regions(means, chosen):
    noise = np.random.default_rng(0).normal(0, 0.3, (10, 6, 3))
    losses = np.array(means, dtype=float) + noise
    assert choose.default_model(losses, np.ones(10), naive=0, combination=1) == chosen


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        pytest.param(7, [0, 1, 2, 3, 4, 5], id="a horizon apart: all"),
        pytest.param(3, [2, 5], id="every third day: each third, back from the newest"),
        pytest.param(10, [0, 1, 2, 3, 4, 5], id="with days between"),
    ],
)
def test_windows_apart_do_not_overlap(step, kept):
    whole = replace(shop(regions=1, cutoffs=7), cutoffs=tuple(range(0, 7 * step, step)))
    assert whole.apart(6) == kept


def test_diebold_mariano_by_hand():
    """Differences -1, -2, -3: mean -2, variance 2/3; -2 / sqrt(2/9) = -4.243, times sqrt(2/3) = -3.464."""
    losses = np.array([[3.0, 2.0], [4.0, 2.0], [5.0, 2.0]])
    statistic, p = choose.diebold_mariano(losses, 1, 0)
    assert statistic == pytest.approx(-3.4641, abs=1e-4)
    assert p == pytest.approx(0.0742, abs=1e-4)


# All together --------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["wape", "mase", "rmse", "pinball"])
def test_the_combination_beats_its_parts_and_becomes_champion(metric):
    whole = shop(5, regions=10)
    plan = replace(ADAPTIVE, metric=metric)
    pool = finish.learn(whole, {}, plan)
    done = [finish.finish(alone(whole, r), "", pool, plan) for r in range(10)]
    error = np.concatenate([np.abs(d.windows.errors()) for d in done])[:, 8:].mean(axis=(0, 1, 2))
    assert error[-1] < 1.02 * error[:-1].min()
    chosen = np.concatenate([d.champion[:, -1] for d in done])
    assert set(chosen) <= {MODELS.index("good"), len(MODELS)}


@pytest.mark.parametrize("combination", ["stacked", "inverse", "equal"])
@pytest.mark.parametrize("k", [0, 1, 5, 15])
def test_nothing_of_a_window_or_after_it_changes_what_is_made_of_it(k, combination):
    """Actuals from window k on scrambled for all regions: forecast, quantiles and champion bit-identical."""
    true = shop(6, regions=6)
    y = true.y.copy()
    y[:, k:] = np.random.default_rng(7).gamma(2, 500, y[:, k:].shape)
    plan = replace(ADAPTIVE, combination=combination)
    made = []
    for whole in (true, replace(true, y=y)):
        done = finish.finish(alone(whole, 2), "", finish.learn(whole, {}, plan), plan)
        made.append((done.windows.point[:, k], done.quantiles[:, k], done.champion[:, k], done.weights[:, k]))
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)


def overlapping(daily: np.ndarray, horizons: range, cutoffs: int) -> windows.Windows:
    """Weekly cutoffs whose windows reach into the next ones; daily: [R, days] demand from the day after the first."""
    rng, days = np.random.default_rng(12), np.array(horizons)
    y = np.stack([daily[:, 7 * k + days - 1] for k in range(cutoffs)], axis=1)
    point = 50 + np.stack([rng.normal(bias, sd, y.shape) for bias, sd in ((0, 12), (15, 4), (0, 2), (0, 25))], axis=3)
    own, event = np.ones((*y.shape[:2], len(MODELS)), dtype=bool), np.zeros(y.shape, dtype=bool)
    names = tuple(f"r{r}" for r in range(len(daily)))
    return windows.Windows(
        names, tuple(range(0, 7 * cutoffs, 7)), tuple(horizons), MODELS, LEVELS,
        y, point, point[..., None] + 4 * norm.ppf(LEVELS), own, event,
    )  # fmt: skip


@pytest.mark.parametrize(
    "horizons", [pytest.param(range(1, 15), id="horizon 14"), pytest.param(range(8, 15), id="gap 7, horizon 7")]
)
@pytest.mark.parametrize("plan", [
    ADAPTIVE, replace(ADAPTIVE, combination="inverse", calibration="split", metric="mase"),
    replace(ADAPTIVE, metric="pinball"),
], ids=["stacked", "inverse", "pinball"])  # fmt: skip
def test_nothing_after_a_cutoff_changes_what_is_made_there_where_windows_overlap(horizons, plan):
    """Cutoffs are a week apart, forecasts end two weeks after them: the window before is half in the future."""
    daily = np.random.default_rng(6).normal(50, 8, (6, 7 * 12 + 14))
    later, k, made = daily.copy(), 8, []
    later[:, 7 * k :] += 500
    for demand in (daily, later):
        whole = overlapping(demand, horizons, 12)
        done = finish.finish(alone(whole, 2), "", finish.learn(whole, {}, plan), plan)
        made.append((done.windows.point[:, k], done.quantiles[:, k], done.champion[:, k], done.weights[:, k]))
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_stormy_windows_do_not_choose_for_the_quiet_ones():
    """In two windows of sixteen demand goes astray and only `poor` sees it: elsewhere it is the worst."""
    whole = shop(3, regions=6)
    rng = np.random.default_rng(5)
    y = 50 + rng.normal(0, 2, whole.y.shape)
    y[:, [4, 9]] += rng.normal(0, 60, (6, 2, 7))
    errors = rng.normal(0, [6.0, 8.0, 1.0, 9.0], whole.point.shape)
    errors[:, [4, 9]] += 0.9 * (50 - y[:, [4, 9], :, None]) * np.array([1, 1, 1, 0])
    stormy = replace(whole, y=y, point=y[..., None] + errors, event=np.zeros_like(whole.event))
    done = finish.finish(alone(stormy, 0), "", finish.learn(stormy, {}, ADAPTIVE), ADAPTIVE)
    weight = dict(zip(MODELS, done.weights[0, -1, 0], strict=True))
    assert weight["good"] > 0.7
    assert done.windows.models[done.champion[0, -1]] in ("good", "combination")
    sizes = finish.window_sizes(stormy, np.ones(len(MODELS), dtype=bool))
    assert sizes[-1, [4, 9]].min() > 4 * sizes[-1, :4].max()
    np.testing.assert_allclose(sizes[8, :8].mean(), 1.0)
    np.testing.assert_array_equal(sizes[8, 8:], 1.0)


@pytest.mark.parametrize(("combination", "k", "unsaid"), [
    pytest.param("stacked", 15, 4, id="as many as a choice needs"),
    pytest.param("inverse", 6, 2, id="four are left"),
    pytest.param("stacked", 4, 0, id="too few to leave out any"),
    pytest.param("equal", 15, 0, id="equal weights have nothing to learn"),
    pytest.param("none", 15, 0, id="no combination"),
])  # fmt: skip
def test_windows_in_which_the_combination_was_learning_say_nothing_of_it(combination, k, unsaid):
    whole, plan = shop(regions=2), replace(ADAPTIVE, combination=combination)
    losses = choose.day_losses(whole, whole.quantiles, "wape")
    known = finish._losses_before(whole, losses, k, np.ones((16, 16)), plan)
    assert np.isnan(known[:, :unsaid]).all()
    assert np.isfinite(known[:, unsaid:]).all()


def test_a_model_that_stood_in_has_no_weight():
    whole = shop(8, regions=4)
    whole.own[1, 5, MODELS.index("good")] = False
    done = finish.finish(alone(whole, 1), "", finish.learn(whole, {}, ADAPTIVE), ADAPTIVE)
    assert (done.weights[0, 5:, :, MODELS.index("good")] == 0).all()
    assert done.weights[0, 4, 0, MODELS.index("good")] > 0
    assert (done.champion[0, 5:] != MODELS.index("good")).all()


def test_a_region_that_opened_late_is_finished_from_then_on():
    whole = shop(9, regions=4)
    whole.point[3, :10], whole.quantiles[3, :10], whole.y[3, :10] = np.nan, np.nan, np.nan
    done = finish.finish(alone(whole, 3), "", finish.learn(whole, {}, ADAPTIVE), ADAPTIVE)
    assert np.isfinite(done.windows.point[0, 10:]).all()
    assert np.isfinite(done.quantiles[0, 10:]).all()
    assert np.isnan(done.windows.point[0, :10]).all()


def test_regions_of_zeros_and_one_window_come_out_whole():
    whole = shop(10, regions=3, cutoffs=1)
    flat = replace(whole, y=np.zeros_like(whole.y), point=np.zeros_like(whole.point))
    for case in (whole, flat, replace(shop(10, 3, 6), y=np.zeros((3, 6, 7)))):
        done = finish.finish(alone(case, 0), "", finish.learn(case, {}, ADAPTIVE), ADAPTIVE)
        assert np.isfinite(done.windows.point).all()
        assert np.isfinite(done.quantiles).all()


def test_rows_become_arrays_and_what_is_not_known_is_nan():
    rows = pd.DataFrame({
        "region": ["a", "a", "b"], "cutoff": [1, 1, 2], "horizon": [1, 2, 1], "model": ["m", "seasonal_naive", "m"],
        "y": [3.0, None, 5.0], "y_hat": [4.0, 6.0, 7.0], "q50": [4.0, 6.0, 7.0], "event": [True, False, False],
        "fallback_used": [None, None, "seasonal_naive"],
    })  # fmt: skip
    found = windows.to_windows(rows, windows.Axes((1, 2), (1, 2), ("seasonal_naive", "m"), (0.5,)))
    assert found.point.shape == (2, 2, 2, 2)
    assert found.point[0, 0, 0, 1] == 4.0
    assert found.point[0, 0, 1, 0] == 6.0
    assert np.isnan(found.point).sum() == 16 - 3
    assert (found.y[0, 0, 0], found.y[1, 1, 0]) == (3.0, 5.0)
    assert found.event[0, 0, 0]
    assert not found.own[1, 1, 1]
    assert found.own[0, 0].all()


# On Spark ------------------------------------------------------------------------------------------

FIRST = date(2024, 3, 4)
SETTINGS = Settings.model_validate({
    "dataset": "shop", "source": {"kind": "events", "path": "x", "columns": {"event_time": "t", "region": "r"}},
    "target": {"name": "sales"}, "models": [{"name": name} for name in MODELS], "quantiles": LEVELS,
})  # fmt: skip


@pytest.fixture(scope="module")
def said(spark):
    """Six regions' forecasts of eight windows and of the as-of day, their days and calendar; one day is closed."""
    whole = shop(11, regions=6, cutoffs=9)
    cutoffs = [FIRST + timedelta(days=7 * k) for k in range(9)]
    rows, days = [], []
    for r, k, h in np.ndindex(6, 9, 7):
        day = cutoffs[k] + timedelta(days=h + 1)
        if k < 8:
            days.append((f"r{r:02d}", day, "observed", float(whole.y[r, k, h])))
        for m, model in enumerate(MODELS):
            made = [float(whole.point[r, k, h, m]), *map(float, whole.quantiles[r, k, h, m])]
            rows.append((f"r{r:02d}", model, cutoffs[k], day, h + 1, None, *made))
    names = ", ".join(f"{quantile_column(q)} double" for q in LEVELS)
    keys = "region string, model string, cutoff date, date date, horizon int, fallback_used string, y_hat double"
    regions = [f"r{r:02d}" for r in range(6)]
    ahead = [(r, FIRST + timedelta(days=d), None, (r, d) == ("r01", 58)) for r in regions for d in range(70)]
    return (
        spark.createDataFrame(rows, f"{keys}, {names}").repartition(3).persist(),
        Known(
            spark.createDataFrame(days, "region string, date date, status string, target double"),
            spark.createDataFrame(ahead, "region string, date date, holiday_name string, is_closed boolean"),
        ),
        cutoffs,
    )


def test_regions_are_finished_on_executors_as_they_are_alone(said):
    rows, known, cutoffs = said
    made = finish_regions(prepare(rows, known, cutoffs[-1]), SETTINGS, MODELS).toPandas()
    forecasts, models = made[made["kind"] == "forecast"], made[made["kind"] == "model"]
    assert len(forecasts) == 6 * 9 * 7 * (len(MODELS) + 1)
    assert sorted(models["region"]) == [f"r{r:02d}" for r in range(6)]
    assert set(models["model"]) == {"combination"}
    whole = shop(11, regions=6, cutoffs=9)
    y, event = whole.y.copy(), np.zeros_like(whole.event)
    y[:, 8] = np.nan
    whole = replace(whole, y=y, event=event)
    pool = finish.learn(reordered(whole), dict.fromkeys(whole.regions, "smooth"), ADAPTIVE)
    done = finish.finish(alone(reordered(whole), 2), "smooth", pool, ADAPTIVE)
    mine = forecasts[(forecasts["region"] == "r02") & (forecasts["model"] == "combination")]
    mine = mine.sort_values(["cutoff", "horizon"])
    np.testing.assert_allclose(mine["y_hat"], done.windows.point[0, :, :, -1].ravel(), rtol=1e-12)
    np.testing.assert_allclose(mine["q90"], done.quantiles[0, :, :, -1, LEVELS.index(0.9)].ravel(), rtol=1e-12)


def reordered(whole: windows.Windows) -> windows.Windows:
    """The models in the order of a run: the naive, then by name."""
    place = [0, *sorted(range(1, len(MODELS)), key=lambda m: MODELS[m])]
    models = tuple(MODELS[m] for m in place)
    return replace(
        whole, models=models, point=whole.point[..., place], quantiles=whole.quantiles[..., place, :],
        own=whole.own[..., place],
    )  # fmt: skip


def test_the_last_window_alone_is_what_it_is_among_all(said):
    rows, known, cutoffs = said
    beside = prepare(rows, known, cutoffs[-1])
    both = [finish_regions(beside, SETTINGS, MODELS, first).toPandas() for first in (None, cutoffs[-1])]
    keys = ["region", "model", "horizon"]
    columns = [*keys, "y_hat", "q2_5", "q50", "q97_5", "is_champion"]
    one, other = (
        f[(f["kind"] == "forecast") & (f["cutoff"] == cutoffs[-1])][columns].sort_values(keys, ignore_index=True)
        for f in both
    )
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert set(both[1].loc[both[1]["kind"] == "forecast", "cutoff"]) == {cutoffs[-1]}
    closed = other[(other["region"] == "r01") & (other["horizon"] == 2)]
    assert (closed[["y_hat", "q2_5", "q97_5"]] == 0).all(axis=None)
    assert other.groupby(["region", "horizon"])["is_champion"].sum().eq(1).all()
