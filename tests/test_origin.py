"""Rolling origins: what a fit sees, when it is made again, which days are judged. No Spark."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from test_fleet import CUTOFFS, HORIZON, PLAN, Mean, history, region

from stspark.fleet.attempt import Plan
from stspark.fleet.origin import Origin
from stspark.fleet.region import run_model
from stspark.fleet.rows import to_frame
from stspark.models.base import Series
from stspark.models.regional.registry import build
from stspark.models.regional.seasonal_naive import SeasonalNaive

DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Spy(Mean):
    """Keeps what each fit saw."""

    seen: list[Series] = field(default_factory=list)

    def fit(self, history):
        self.seen.append(history)
        return super().fit(history)


def plan(**origin: object) -> Plan:
    return replace(PLAN, origin=Origin(**origin))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("refit", "fits"),
    [pytest.param(None, 1, id="never"), pytest.param(1, 3, id="always"), pytest.param(2, 2, id="every second")],
)
def test_models_that_carry_forward_are_fitted_again_when_they_are_due(refit, fits):
    spy = Spy()
    outcome = run_model(spy, region(history()), SeasonalNaive(), plan(refit=refit))
    assert outcome.fits == fits == len(spy.seen)
    due = CUTOFFS[:: refit or len(CUTOFFS)]
    assert [series.dates[-1] for series in spy.seen] == list(due)


def test_an_expanding_fit_sees_all_and_a_sliding_one_its_days():
    whole, sliding = Spy(), Spy()
    run_model(whole, region(history()), SeasonalNaive(), plan(refit=1))
    run_model(sliding, region(history()), SeasonalNaive(), plan(refit=1, history=40))
    assert [len(s) for s in whole.seen] == [len(history().until(c)) for c in CUTOFFS]
    assert [len(s) for s in sliding.seen] == [40, 40, 40]
    assert [s.dates[-1] for s in sliding.seen] == list(CUTOFFS)


@pytest.mark.parametrize("name", ["seasonal_naive", "auto_ets", "sarima", "theta"])
def test_a_model_fitted_on_its_last_days_forecasts_with_its_state_carried_on(name):
    options = {"order": (1, 0, 0), "seasonal_order": (0, 1, 1)} if name == "sarima" else {}
    outcome = run_model(build(name, options), region(history()), SeasonalNaive(), plan(history=60))
    assert outcome.status == "ok", outcome.error
    assert outcome.fits == 1
    assert not outcome.fallbacks


def test_a_gap_leaves_out_the_days_after_the_cutoff_but_not_those_after_the_as_of_day():
    gapped = replace(plan(gap=2), cutoffs=CUTOFFS[:2], as_of=None, horizon=HORIZON - 2)
    long = replace(PLAN, cutoffs=CUTOFFS[:2])
    naive, shop = SeasonalNaive(), region(history())
    one, other = (run_model(naive, shop, naive, p) for p in (gapped, long))
    for cutoff in CUTOFFS[:2]:
        np.testing.assert_array_equal(one.forecasts[cutoff].mean, other.forecasts[cutoff].mean[2:])
        np.testing.assert_array_equal(one.forecasts[cutoff].quantiles, other.forecasts[cutoff].quantiles[2:])
    rows = to_frame([("a", "m", one)], gapped)
    rows = rows[rows["kind"] == "forecast"]
    assert sorted(rows["horizon"].unique()) == list(range(3, HORIZON + 1))
    assert all((row.date - row.cutoff).days == row.horizon for row in rows.itertuples())
    published = run_model(naive, shop, naive, replace(gapped, cutoffs=CUTOFFS, as_of=CUTOFFS[-1]))
    np.testing.assert_array_equal(
        published.forecasts[CUTOFFS[-1]].mean,
        run_model(naive, shop, naive, PLAN).forecasts[CUTOFFS[-1]].mean[: HORIZON - 2],
    )


def test_a_blocked_fit_sees_later_days_but_not_those_that_are_judged_nor_a_season_around():
    shop = region(history())
    block = slice(len(shop.series.until(CUTOFFS[0])), len(shop.series.until(CUTOFFS[0])) + HORIZON + 7)
    wild = replace(shop.series, y=shop.series.y.copy())
    wild.y[block] = 1e6
    seen = []
    for series in (shop.series, wild):
        spy = Spy()
        outcome = run_model(
            spy, replace(shop, series=series), SeasonalNaive(), replace(plan(blocked=True), cutoffs=CUTOFFS[:1])
        )
        seen.append((spy.seen[0], outcome.forecasts[CUTOFFS[0]]))
    (one, made), (other, made_wild) = seen
    assert len(one) == len(shop.series)
    assert not one.observed[block].any()
    np.testing.assert_array_equal(one.y, other.y)
    np.testing.assert_array_equal(made.mean, made_wild.mean)


@pytest.mark.parametrize("origin", [{"gap": 2}, {"history": 50}, {"refit": 1}, {"refit": 2, "history": 50}])
def test_nothing_after_a_cutoff_changes_its_forecast_whatever_the_scheme(origin):
    true = history()
    n = len(true.until(CUTOFFS[1]))
    wild = replace(true, y=np.concatenate([true.y[:n], 1000 * np.random.default_rng(1).random(len(true) - n)]))
    made = []
    for series in (true, wild):
        outcome = run_model(build("auto_ets", {}), region(series), SeasonalNaive(), plan(**origin))
        made.append([outcome.forecasts[c] for c in CUTOFFS[:2]])
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.quantiles, other.quantiles)
