"""Cold start: what a region with few days borrows, from whom, and that it is marked and costs the others nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from shop_panel import in_order
from test_ensemble import ADAPTIVE, alone, shop

from stspark.ensemble import finish, windows
from stspark.fleet.panel import run_cutoffs
from stspark.models.panel.borrowed.lend import Trust, forecast, lend
from stspark.models.panel.borrowed.model import Borrowed
from stspark.models.panel.borrowed.rehearse import AGES, lenders, nearest_age
from stspark.models.panel.registry import build, partial_models
from stspark.models.regional.seasonal_naive import SeasonalNaive
from stspark.settings import Model
from stspark.snapshot import Manifest, Snapshot

DAYS, H = 140, 7
EARLY = np.array([1.6, 1.4, 1.2, 1.0, 0.8, 0.6, 0.4])
LATE = EARLY[::-1]
QUANTILES = (0.1, 0.5, 0.9)


def panel(young_days: int = 3, noise: float = 0.05, seed: int = 0, groups: str = "weights") -> Snapshot:
    """Eleven regions in two groups with opposite weeks; `new`, of the early group, has had `young_days`.

    groups: how it is known who belongs together: by weights, or by parents. Ten days more than the snapshot's history
    are there as `truth`.
    """
    rng = np.random.default_rng(seed)
    names = ("new", *(f"early{k}" for k in range(5)), *(f"late{k}" for k in range(5)))
    shapes = np.stack([EARLY] * 6 + [LATE] * 5)
    sizes = np.array([50.0, *np.linspace(20, 90, 5), *np.linspace(20, 90, 5)])
    week = shapes[:, np.arange(DAYS + H) % 7].T
    y = sizes * week * np.exp(noise * rng.normal(size=week.shape))
    alive = np.ones((DAYS, 11), dtype=bool)
    alive[: DAYS - young_days, 0] = False
    early = np.array([name != "late" and not name.startswith("late") for name in names])
    weights = np.zeros((11, 11))
    if groups == "weights":
        weights = (early[:, None] == early[None, :]) * (1.0 - np.eye(11))
        weights /= weights.sum(axis=1, keepdims=True)
    parents = {name: ("e" if ours else "l") for name, ours in zip(names, early, strict=True)}
    manifest = Manifest(
        "test", names, date(2024, 1, 1), DAYS, DAYS, (), (), 7, H, QUANTILES,
        parents=parents if groups == "parents" else {},
    )  # fmt: skip
    return Snapshot(manifest, np.where(alive, y[:DAYS], 0.0), alive.copy(), alive, np.zeros((DAYS, 11, 0)), weights)


def truth(seed: int = 0, noise: float = 0.05) -> np.ndarray:
    """[H] the young region's expected days."""
    return 50.0 * EARLY[np.arange(DAYS, DAYS + H) % 7]


def made(snapshot: Snapshot, model: Borrowed | None = None) -> tuple[dict, np.ndarray]:
    model = model or Borrowed()
    parameters = model.fit(snapshot)
    return parameters, model.predict(parameters, snapshot, QUANTILES)


@pytest.mark.parametrize("days", [1, 2, 3, 5, 7, 13, 30, 55])
def test_few_days_suffice_for_a_level_and_the_neighbours_week(days):
    parameters, found = made(panel(days))
    assert np.abs(found[0, :, 0] / truth() - 1).max() < 0.15
    assert np.isnan(found[1:]).all()
    told = parameters["regions"]["new"]
    assert told["days"] == days
    assert 0 < told["borrowed_share"] <= 1
    assert all(name.startswith("early") for name in told["donors"])


def test_the_seasonal_naive_knows_no_week_after_three_days():
    """So the test above cannot pass by luck."""
    y = panel(3).y[-3:, 0]
    naive = np.concatenate([np.full(4, y.mean()), y])
    assert np.abs(naive / truth() - 1).max() > 0.5


@pytest.mark.parametrize(
    ("groups", "source"),
    [("weights", "neighbours"), ("parents", "parent"), ("none", "alike")],
)
def test_what_is_known_of_the_regions_decides_from_whom(groups, source):
    parameters, found = made(panel(5, groups=groups))
    assert parameters["ages"]["5"]["from"] == source
    assert np.abs(found[0, :, 0] / truth() - 1).max() < 0.3


def test_a_region_without_a_day_borrows_all_of_its_level():
    bare = panel(0)
    nothing = made(bare)[1]
    assert np.isnan(nothing).all()
    announced = replace(bare, manifest=replace(bare.manifest, opening=("new",)))
    parameters, found = made(announced)
    assert parameters["regions"]["new"]["borrowed_share"] == 1.0
    level = np.exp(np.log(np.linspace(20, 90, 5)).mean())
    assert found[0, :, 0].mean() == pytest.approx(level, rel=0.1)
    assert (np.diff(found[0, :, 0]) < 0).all()  # the early group's week
    assert (np.diff(found[0, :, 1:], axis=1) >= 0).all()


def test_an_announced_region_is_forecast_only_where_its_days_ahead_are_known():
    bare = panel(0)
    covariates = np.full((DAYS + H, 11, 1), 0.0)
    covariates[:DAYS, 0] = np.nan
    manifest = replace(bare.manifest, opening=("new",), n_total=DAYS + H, covariates=("holiday",))
    announced = replace(bare, manifest=manifest, covariates=covariates)
    earlier = announced.known_on(manifest.day(DAYS - 10))
    assert np.isfinite(made(announced)[1][0]).all()
    assert np.isnan(made(earlier)[1]).all()


def test_own_days_take_over():
    shares = [made(panel(days))[0]["regions"]["new"]["borrowed_share"] for days in (1, 7, 28)]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_intervals_hold_what_they_promise(noise):
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(1000 + seed)
        _, found = made(panel(4, noise, seed))
        y = truth() * np.exp(noise * rng.normal(size=H))
        inside.append((y >= found[0, :, 1]) & (y <= found[0, :, 3]))
    assert 0.7 < np.mean(inside) < 0.9


def test_without_old_regions_nothing_is_made_up():
    few = panel(3)
    alive = few.alive.copy()
    alive[: DAYS - 20] = False
    young = replace(few, alive=alive, y=np.where(alive, few.y, 0.0), observed=few.observed & alive)
    parameters, found = made(young)
    assert parameters["donors"] == 0
    assert np.isnan(found).all()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda y, seen: y.fill(0.0), id="zeros"),
        pytest.param(lambda y, seen: seen.fill(False), id="nothing observed"),
        pytest.param(lambda y, seen: y.__setitem__(-1, 1e6), id="a spike"),
        pytest.param(lambda y, seen: y.__imul__(-1.0), id="returns only"),
    ],
)
@pytest.mark.parametrize("whose", ["young", "donor"])
def test_odd_pasts_give_finite_forecasts(spoil, whose):
    odd = panel(10)
    column = 0 if whose == "young" else 3
    y, seen = odd.y.copy(), odd.observed.copy()
    spoil(y[-10:, column] if whose == "young" else y[:, column], seen[-10:, column])
    _, found = made(replace(odd, y=y, observed=seen))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1:]).all()


def test_all_zeros_everywhere_make_no_forecast():
    zero = panel(3)
    parameters, found = made(replace(zero, y=np.zeros_like(zero.y)))
    assert np.isnan(found).all()
    assert parameters["regions"] == {}


def test_the_order_of_the_regions_does_not_matter():
    order = [7, 3, 0, 1, 10, 2, 9, 8, 4, 6, 5]
    first, again = made(panel(5))[1], made(in_order(panel(5), order))[1]
    np.testing.assert_array_equal(first[order], again)


def test_nothing_after_the_cutoff_is_seen():
    whole, cutoff = panel(30), 115
    spoilt = replace(whole, y=np.where(np.arange(DAYS)[:, None] < cutoff, whole.y, 1e5))
    day = whole.manifest.day(cutoff - 1)
    np.testing.assert_array_equal(made(whole.known_on(day))[1], made(spoilt.known_on(day))[1])


def test_rehearsals_end_within_the_panel():
    """A wrong last week changes what is chosen, not what donors are; a rehearsal on the last days alone would."""
    assert nearest_age(0) == 0
    assert nearest_age(55) == max(AGES)
    assert len(lenders(panel(3)).index) == 10
    assert len(lenders(panel(3).known_on(panel(3).manifest.day(60))).index) == 0


def test_lent_shape_and_level_by_hand():
    """Two donors of levels 10 and 40: the usual level is their geometric mean, 20; own 2 days at the same index."""
    days = np.tile(EARLY, 8)[:, None] * np.array([10.0, 40.0])
    lent = lend(days, np.array([[0.5, 0.5]]), 7, flat=False)
    assert lent.level[0] == pytest.approx(20.0)
    np.testing.assert_allclose(lent.season[:, 0], EARLY)
    own = 30.0 * EARLY[-2:][:, None]
    made_here = forecast(own, np.ones((2, 1), bool), lent, Trust(1e-9, 1e9), 7)
    np.testing.assert_allclose(made_here.mean[:, 0], 30.0 * EARLY, rtol=1e-6)
    borrowed = forecast(own, np.ones((2, 1), bool), lent, Trust(1e9, 1e9), 9)
    np.testing.assert_allclose(borrowed.mean[:, 0], 20.0 * np.resize(EARLY, 9), rtol=1e-6)
    flat = lend(days, np.array([[0.5, 0.5]]), 7, flat=True)
    np.testing.assert_allclose(flat.season, 1.0)


@pytest.mark.parametrize("days", [0, 57, 3.5, True, "x"])
def test_wrong_options_are_named(days):
    with pytest.raises(ValueError, match="days is"):
        Borrowed(days)


# In a run ------------------------------------------------------------------------------------------


def test_only_young_regions_have_rows_and_old_ones_are_no_failure():
    snapshot = panel(3)
    (attempt,) = run_cutoffs(Borrowed(), snapshot, [snapshot.manifest.day(DAYS - 1)], 60)
    assert (attempt.status, attempt.error) == ("ok", None)
    assert np.isfinite(attempt.values[0]).all()
    assert np.isnan(attempt.values[1:]).all()


class Wild(Borrowed):
    """Forecasts a million times too much."""

    def predict(self, parameters, snapshot, quantiles):
        return super().predict(parameters, snapshot, quantiles) * 1e6


def test_an_unsound_borrowed_forecast_is_a_failure_that_says_how_many():
    snapshot = panel(3)
    (attempt,) = run_cutoffs(Wild(), snapshot, [snapshot.manifest.day(DAYS - 1)], 60)
    assert attempt.status == "failed"
    assert "forecast of 1 of 1 regions" in attempt.error


def test_it_is_known_by_name_as_partial():
    assert isinstance(build("borrowed", {"days": 28}), Borrowed)
    models = [Model(name="borrowed"), Model(name="dynamic_sar")]
    assert partial_models(models) == ("borrowed",)


PARTIAL = replace(ADAPTIVE, partial=("borrowed",))


def with_borrowed(whole: windows.Windows, young: dict[int, list[int]]) -> windows.Windows:
    """The windows with a model that forecast regions only in some windows, always by 5 too high."""
    point = np.full(whole.y.shape, np.nan)
    for r, ks in young.items():
        point[r, ks] = whole.y[r, ks] + 5
    quantiles = point[..., None] + np.linspace(-9, 9, len(whole.levels))
    grown = whole.with_model("borrowed", point, quantiles)
    grown.own[..., -1] = np.isfinite(point).all(axis=2)
    return grown


def test_a_young_region_is_given_what_it_borrowed_until_its_own_windows_speak():
    whole = shop(cutoffs=10)
    grown = with_borrowed(whole, {0: [6, 7, 8, 9]})
    before = grown.point[0, :6]
    before[:] = np.nan  # it opened after the sixth window
    pool = finish.learn(grown, {}, PARTIAL)
    done = finish.finish(alone(grown, 0), finish.EVERYBODY, pool, PARTIAL)
    names = [done.windows.models[m] for m in done.champion[0]]
    assert names[6:10] == ["borrowed"] * 4
    others = finish.finish(alone(grown, 1), finish.EVERYBODY, pool, PARTIAL)
    assert "borrowed" not in [others.windows.models[m] for m in others.champion[0]]


@pytest.mark.parametrize("combination", ["stacked", "inverse", "equal"])
def test_a_model_of_some_regions_changes_nothing_for_the_others(combination):
    plain_plan = replace(ADAPTIVE, combination=combination)
    plan = replace(PARTIAL, combination=combination)
    whole = shop(cutoffs=8)
    grown = with_borrowed(whole, {0: [6, 7]})
    plain = finish.finish(alone(whole, 3), finish.EVERYBODY, finish.learn(whole, {}, plain_plan), plain_plan)
    beside = finish.finish(alone(grown, 3), finish.EVERYBODY, finish.learn(grown, {}, plan), plan)
    last = -1
    np.testing.assert_allclose(beside.windows.point[0, ..., last], plain.windows.point[0, ..., last], rtol=1e-9)
    kept = [m for m, name in enumerate(beside.windows.models) if name != "borrowed"]
    np.testing.assert_allclose(beside.quantiles[..., kept, :], plain.quantiles, rtol=1e-9)


def test_few_scores_do_not_calibrate():
    """Its own quantiles come from rehearsals; a handful of days must not replace them."""
    grown = with_borrowed(shop(cutoffs=8), {0: [5, 6, 7]})
    pool = finish.learn(grown, {}, PARTIAL)
    done = finish.finish(alone(grown, 0), finish.EVERYBODY, pool, PARTIAL)
    place = done.windows.models.index("borrowed")
    np.testing.assert_array_equal(done.quantiles[0, 7, :, place], np.maximum(grown.quantiles[0, 7, :, place], 0))


def test_the_naive_needs_no_more_than_a_day_and_the_borrowed_none():
    assert SeasonalNaive.min_length == 1
    assert Borrowed.partial
