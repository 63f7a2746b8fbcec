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
from stspark.models.panel.base import TooLittle
from stspark.models.panel.borrowed.donors import KINDS, Donors, lenders
from stspark.models.panel.borrowed.lend import Trust, forecast, lend
from stspark.models.panel.borrowed.model import Borrowed
from stspark.models.panel.borrowed.rehearse import AGES, Borrowers, nearest_age, rehearse
from stspark.models.panel.registry import build, partial_models
from stspark.settings import Model
from stspark.snapshot import Manifest, Snapshot

DAYS, H = 140, 7
EARLY = np.array([1.6, 1.4, 1.2, 1.0, 0.8, 0.6, 0.4])
LATE = EARLY[::-1]
QUANTILES = (0.1, 0.5, 0.9)


def panel(young_days: int = 3, noise: float = 0.05, seed: int = 0, groups: str = "weights") -> Snapshot:
    """Eleven regions in two groups with opposite weeks; `new`, of the early group, has had `young_days`.

    groups: how it is known who belongs together: by weights, or by parents.
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


def truth() -> np.ndarray:
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
    ("days", "groups", "source"),
    [(2, "weights", "neighbours"), (2, "parents", "parent"), (5, "none", "alike")],
)
def test_what_is_known_of_the_regions_decides_from_whom(days, groups, source):
    parameters, found = made(panel(days, groups=groups))
    assert parameters["ages"][str(days)]["from"] == source
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
    assert shares[0] > shares[1] > shares[2]


def test_days_on_which_the_region_was_not_seen_say_nothing():
    plain = panel(10)
    y, seen = plain.y.copy(), plain.observed.copy()
    seen[-4, 0] = False
    quiet = made(replace(plain, observed=seen))[1]
    y[-4, 0] = 1e4
    np.testing.assert_array_equal(made(replace(plain, y=y, observed=seen))[1], quiet)
    assert made(replace(plain, y=y))[1][0, 0, 0] > 2 * quiet[0, 0, 0]


def test_donors_that_are_shut_on_a_weekday_lend_no_zeros():
    """Half of the neighbours never open on the season's fourth day: the others say what it is like."""
    plain = panel(6)
    y, seen = plain.y.copy(), plain.observed.copy()
    shut = np.arange(DAYS) % 7 == 3
    for region in (1, 2):
        y[shut, region], seen[shut, region] = 0.0, False
    found = made(replace(plain, y=y, observed=seen))[1]
    assert np.abs(found[0, :, 0] / truth() - 1).max() < 0.2


def test_some_days_of_zeros_are_no_level_for_the_interval():
    """It has sold nothing in three days: the point may be near zero, the upper quantile is not."""
    quiet = panel(3)
    y = quiet.y.copy()
    y[-3:, 0] = 0.0
    own = np.zeros((3, 1))
    lent = lend(np.tile(EARLY, 8)[:, None] * 40.0, np.ones((56, 1), bool), np.ones((1, 1)), 7, flat=False)
    lent = replace(lent, spread=np.array([0.3]))
    width = forecast(own, np.ones((3, 1), bool), lent, Trust(0.02, 32.0), 7).width
    assert width[0] > 0.1 * 40.0


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_intervals_hold_what_they_promise(noise):
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(1000 + seed)
        _, found = made(panel(4, noise, seed))
        y = truth() * np.exp(noise * rng.normal(size=H))
        inside.append((y >= found[0, :, 1]) & (y <= found[0, :, 3]))
    assert 0.7 < np.mean(inside) < 0.9


def test_without_old_regions_it_is_skipped_and_says_why():
    few = panel(3)
    alive = few.alive.copy()
    alive[: DAYS - 20] = False
    young = replace(few, alive=alive, y=np.where(alive, few.y, 0.0), observed=few.observed & alive)
    day = young.manifest.day(DAYS - 1)
    (attempt,) = run_cutoffs(Borrowed(), young, [day], 60)
    assert attempt.status == "skipped"
    assert attempt.error == f"no two regions have enough history to lend from on {day}"
    assert attempt.values is None


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


def test_zeros_everywhere_lend_nothing():
    zero = panel(3)
    with pytest.raises(TooLittle):
        Borrowed().fit(replace(zero, y=np.zeros_like(zero.y)))


def test_the_order_of_the_regions_does_not_matter():
    order = [7, 3, 0, 1, 10, 2, 9, 8, 4, 6, 5]
    first, again = made(panel(5))[1], made(in_order(panel(5), order))[1]
    np.testing.assert_array_equal(first[order], again)


def test_nothing_after_the_cutoff_is_seen():
    whole, cutoff = panel(30), 115
    spoilt = replace(whole, y=np.where(np.arange(DAYS)[:, None] < cutoff, whole.y, 1e5))
    day = whole.manifest.day(cutoff - 1)
    np.testing.assert_array_equal(made(whole.known_on(day))[1], made(spoilt.known_on(day))[1])


def test_a_region_goes_by_the_rehearsal_nearest_below_its_age():
    assert [nearest_age(n) for n in (0, 1, 6, 13, 55)] == [0, 1, 5, 10, max(AGES)]


def test_a_rehearsal_sees_nothing_of_the_days_that_it_is_judged_by():
    """All rehearsals are judged by days after the first one's start: spoiling them changes errors, no forecast."""
    plain, spoilt = panel(3), panel(3)
    y = spoilt.y.copy()
    y[-7:, 1:] *= 100.0
    seen = []
    for one in (plain, replace(spoilt, y=y)):
        known = one.known_on(one.manifest.day(DAYS - 8))
        donors = lenders(known)
        seen.append(next(Borrowers(donors, donors.index, 3).ways())[1].mean)
    np.testing.assert_array_equal(*seen)
    assert rehearse(plain, 3).error < rehearse(replace(spoilt, y=y), 3).error


def test_nobody_lends_to_itself():
    donors = lenders(panel(3))
    for kind in KINDS:
        found = donors.weights(kind, donors.index, 5)
        assert (np.diag(found) == 0).all(), kind
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
    alone = Donors(donors.panel, donors.index[:1])
    lent = lend(alone.days, alone.observed, alone.weights("all", alone.index, 3), 7, flat=False)
    assert np.isnan(lent.level).all()


def test_who_else_is_young_changes_nothing():
    plain = panel(5)
    alive = plain.alive.copy()
    alive[: DAYS - 5, 10] = False
    two = replace(plain, alive=alive, y=np.where(alive, plain.y, 0.0), observed=plain.observed & alive)
    donors = lenders(two)
    both = Borrowers(donors, np.array([0, 10]), 5).weights("alike")
    np.testing.assert_array_equal(both[:1], Borrowers(donors, np.array([0]), 5).weights("alike"))


def test_lent_shape_and_level_by_hand():
    """Two donors of levels 10 and 40: the usual level is their geometric mean, 20; own 2 days at the same index."""
    days = np.tile(EARLY, 8)[:, None] * np.array([10.0, 40.0])
    lent = lend(days, np.ones(days.shape, bool), np.array([[0.5, 0.5]]), 7, flat=False)
    assert lent.level[0] == pytest.approx(20.0)
    np.testing.assert_allclose(lent.season[:, 0], EARLY)
    own = 30.0 * EARLY[-2:][:, None]
    made_here = forecast(own, np.ones((2, 1), bool), lent, Trust(1e-9, 1e9), 7)
    np.testing.assert_allclose(made_here.mean[:, 0], 30.0 * EARLY, rtol=1e-6)
    borrowed = forecast(own, np.ones((2, 1), bool), lent, Trust(1e9, 1e9), 9)
    np.testing.assert_allclose(borrowed.mean[:, 0], 20.0 * np.resize(EARLY, 9), rtol=1e-6)
    flat = lend(days, np.ones(days.shape, bool), np.array([[0.5, 0.5]]), 7, flat=True)
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


def with_borrowed(whole: windows.Windows, young: dict[int, list[int]], off: float = 5.0) -> windows.Windows:
    """The windows with a model that forecast regions only in some windows, always by `off` too high."""
    point = np.full(whole.y.shape, np.nan)
    for r, ks in young.items():
        point[r, ks] = whole.y[r, ks] + off
    quantiles = point[..., None] + np.linspace(-9, 9, len(whole.levels))
    grown = whole.with_model("borrowed", point, quantiles)
    grown.own[..., -1] = np.isfinite(point).all(axis=2)
    return grown


def champions(grown: windows.Windows, r: int) -> list[str]:
    """Names of a region's champions, window by window."""
    done = finish.finish(alone(grown, r), finish.EVERYBODY, finish.learn(grown, {}, PARTIAL), PARTIAL)
    return [done.windows.models[m] for m in done.champion[0]]


@pytest.mark.parametrize("covered", [[6, 7, 8, 9], [7, 8, 9]], ids=["from its first window", "from its second"])
def test_a_young_region_is_given_what_it_borrowed_until_its_own_windows_speak(covered):
    grown = with_borrowed(shop(cutoffs=12), {0: [*covered, 10, 11]}, 30.0)
    grown.point[0, :6] = np.nan  # it opened after the sixth window
    found = champions(grown, 0)
    assert [found[k] for k in covered] == ["borrowed"] * len(covered)
    assert found[-1] != "borrowed"  # four windows of its own show how much it errs
    assert "borrowed" not in champions(grown, 1)


def test_a_model_of_most_regions_is_no_default_for_the_others():
    whole = shop(cutoffs=8)
    grown = with_borrowed(whole, {r: list(range(8)) for r in range(11)})
    pool, plain = finish.learn(grown, {}, PARTIAL), finish.learn(whole, {}, ADAPTIVE)
    assert [(*grown.models, "combination")[m] for m in pool.default] == [
        (*whole.models, "combination")[m] for m in plain.default
    ]


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
