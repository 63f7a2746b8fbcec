"""The watch: detectors against their textbook meaning, and verdicts on the simulated shop's planted market drop."""

from __future__ import annotations

import functools
import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import run_job

from stspark.names import ALL_REGIONS
from stspark.simulate.demand import UNITS_PER_ORDER, plan
from stspark.simulate.shop import Shop
from stspark.watch import detectors, spread
from stspark.watch.challenge import decide
from stspark.watch.judge import judge

WEEK, WINDOWS, ALPHA = 7, 4, 0.05


@functools.lru_cache(maxsize=8)
def shop_days(seed: int):
    """The default shop's truth without its drop, its plot, and demand drawn from it: [regions, days]."""
    demand = plan(Shop(), seed)
    lasting = demand.gross_units / demand.components["drop"]
    known = np.prod([demand.components[c] for c in ("week", "year", "holiday", "event", "promotion")], axis=0)
    return demand, lasting, known


def drawn(expected, seed: int):
    """Compound Poisson demand: orders of a few units."""
    rng = np.random.default_rng([seed, 9])
    orders = rng.poisson(expected / UNITS_PER_ORDER)
    return np.maximum(np.round(rng.normal(orders * UNITS_PER_ORDER, np.sqrt(np.maximum(orders, 0)) * 1.1)), 0.0)


def forecasts(seed: int, first: int, change=None, ahead: int = WEEK):
    """Rows for `judge`: forecasts by a level of four weeks and all known effects, at WINDOWS cutoffs and then for the
    `ahead` days from day `first`, which `change` (demand, days -> days) may alter."""
    demand, lasting, known = shop_days(seed)
    y = drawn(lasting, seed)
    parts = []
    for k in range(WINDOWS, -1, -1):
        start = first - WEEK * k
        past = slice(start - 28, start)
        with np.errstate(invalid="ignore", divide="ignore"):
            level = np.nansum(y[:, past], axis=1) / (known * demand.sells)[:, past].sum(axis=1)
        span = slice(start, start + (WEEK if k else ahead))
        made = np.where(demand.sells[:, span], level[:, None] * known[:, span], 0.0)
        came = y[:, span] if k or change is None else change(demand, y[:, span])
        parts.append((start, "reference" if k else "new", made, came, demand.sells[:, span]))
    rows = [
        {
            "region": city.region,
            "family": city.parent,
            "part": part,
            "cutoff": start,
            "date": start + day,
            "y": came[r, day] if is_open[r, day] and np.isfinite(came[r, day]) else np.nan,
            "missing": bool(is_open[r, day] and not np.isfinite(came[r, day])),
            "y_hat": made[r, day],
            "low": max(made[r, day] - 1.28 * np.sqrt(2.5 * made[r, day]), 0.0),
            "high": made[r, day] + 1.28 * np.sqrt(2.5 * made[r, day]),
        }
        for start, part, made, came, is_open in parts
        for r, city in enumerate(demand.shop.cities)
        for day in range(made.shape[1])
        if is_open[r, day]
    ]
    return demand, pd.DataFrame(rows)


NO_INPUTS = pd.DataFrame(
    {"region": pd.Series(dtype=str), "part": pd.Series(dtype=str), "value": pd.Series(dtype=float)}
)


def verdicts(seed: int, first: int, change=None, ahead: int = WEEK) -> tuple[object, dict[str, str], pd.DataFrame]:
    demand, rows = forecasts(seed, first, change, ahead)
    table = judge(rows, NO_INPUTS, ALPHA)
    overall = table[(table["check"] == "overall") & (table["level"] == "region")]
    return demand, dict(zip(overall["region"], overall["verdict"], strict=True)), table


def dropped(demand, week):
    """The planted drop of the plot's macro region."""
    hit = np.array([city.parent == demand.plot.drop_parent for city in demand.shop.cities])
    return np.where(hit[:, None], np.round(week * 0.65), week)


def days_of(count: int) -> list[int]:
    """Mondays spread over the shop's second year, away from the Spring Festival's closure."""
    return [400 + 13 * k for k in range(count)]


def test_the_planted_drop_asks_to_retrain_its_regions_and_no_other():
    demand, found, table = verdicts(20240601, shop_days(20240601)[0].plot.drop_day, dropped, ahead=14)
    hit = {city.region for city in demand.shop.cities if city.parent == demand.plot.drop_parent}
    assert {region for region, verdict in found.items() if verdict != "ok"} == hit
    assert {found[region] for region in hit} == {"retrain"}
    total = table[table["level"] == "total"].iloc[0]
    assert (total["verdict"], total["reason"]) == ("retrain", "6 × retrain, 18 × ok")


def test_over_many_shops_nearly_all_dropped_regions_are_found_and_few_others():
    hits = others = 0
    for seed in range(1, 11):
        demand, found, _ = verdicts(seed, 584, dropped)
        hit = {city.region for city in demand.shop.cities if city.parent == demand.plot.drop_parent}
        hits += sum(found[region] == "retrain" for region in hit)
        others += sum(verdict != "ok" for region, verdict in found.items() if region not in hit)
    assert hits >= 0.9 * 60
    assert others <= 0.03 * 180


def test_weeks_as_foreseen_raise_few_alarms():
    weeks = [verdicts(seed, first)[1] for seed in range(1, 4) for first in days_of(10)]
    alarmed = sum(any(verdict != "ok" for verdict in week.values()) for week in weeks)
    assert alarmed <= 0.1 * len(weeks)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        pytest.param(lambda week: np.zeros_like(week), "look at the data", id="silent"),
        pytest.param(lambda week: np.full_like(week, np.nan), "look at the data", id="missing"),
        pytest.param(lambda week: 2 * week, "retrain", id="doubled"),
    ],
)
def test_one_region_alone_gets_the_verdict_of_its_trouble(change, verdict):
    def altered(demand, week):
        changed = week.copy()
        changed[1] = change(week[1])
        return changed

    demand, found, _ = verdicts(5, 500, altered)
    assert found[demand.shop.cities[1].region] == verdict
    assert sum(v != "ok" for v in found.values()) == 1


def test_intervals_that_hold_too_few_days_ask_to_recalibrate_where_errors_are_as_before():
    _, rows = forecasts(1, 450, ahead=14)
    new = rows["part"] == "new"
    for side in ("low", "high"):
        rows.loc[new, side] = rows["y_hat"] + 0.35 * (rows[side] - rows["y_hat"])
    found = judge(rows, NO_INPUTS, ALPHA).query("check == 'overall' and level == 'region'")["verdict"].value_counts()
    assert found.get("recalibrate", 0) >= 16
    assert found.get("retrain", 0) <= 1


def test_psi_equals_its_definition():
    reference, new = np.repeat(np.arange(5.0), 40), np.repeat(np.arange(5.0), [20, 5, 5, 5, 5])
    a, b = np.array([20, 5, 5, 5, 5]) / 40, np.full(5, 0.2)
    index, p = detectors.psi(new, reference)
    assert index == pytest.approx(((a - b) * np.log(a / b)).sum())
    assert p < 0.01


def test_psi_of_unchanged_days_is_small_as_often_as_it_says():
    rng = np.random.default_rng(0)
    p = [detectors.psi(rng.normal(size=40), rng.normal(size=400))[1] for _ in range(500)]
    assert np.mean(np.array(p) < 0.05) < 0.09


def test_what_is_usual_leaves_an_odd_window_out_but_not_rare_sales():
    rng = np.random.default_rng(0)
    calm, blocks = rng.normal(0, 1, 56), tuple([7] * 8)
    odd = calm + np.repeat([3.0, 0, 0, 0, 0, 0, 0, 0], 7)
    assert detectors.Days(odd, blocks).usual(0.0)[0] == pytest.approx(1.0, abs=0.25)
    rare = np.where(np.arange(56) % 25 == 0, 10.0, -0.1)
    assert detectors.Days(rare, blocks).usual(0.0)[0] == pytest.approx(np.sqrt(np.mean(rare**2)))


@pytest.mark.parametrize("name", ["cusum", "page_hinkley"])
def test_sequential_detectors_grow_with_a_shift(name):
    detector = getattr(detectors, name)
    calm = np.tile([0.3, -0.3], 7)
    assert detectors.tail_of(name, detector(calm), 14, 0.0, 40.0) > 0.5
    assert detectors.tail_of(name, detector(calm + 3), 14, 0.0, 40.0) < 0.001


def test_days_of_one_forecast_count_less_than_days_of_several():
    """Kish 1965: 14 days of correlation 0.5 in one block and in two; 1 + 0.5 * 13 and 1 + 0.5 * 6."""
    values = np.zeros(14)
    assert detectors.Days.of(values, [1] * 14).design_effect(0.5) == pytest.approx(7.5)
    assert detectors.Days.of(values, [1] * 7 + [2] * 7).design_effect(0.5) == pytest.approx(4.0)


@pytest.mark.parametrize("seed", range(3))
def test_a_mean_shift_is_as_rare_as_it_says_where_windows_share_their_level(seed):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(400):
        level = np.repeat(rng.normal(0, np.sqrt(0.4), 5), 7)
        days = level + rng.normal(0, np.sqrt(0.6), 35)
        reference = detectors.Days.of(days[:28], list(np.repeat(range(4), 7)))
        found.append(detectors.mean_shift(detectors.Days.of(days[28:], [9] * 7), reference, 0.4)[1] < 0.05)
    assert np.mean(found) == pytest.approx(0.05, abs=0.035)


def test_cusum_equals_a_worked_example():
    """k = 0.5: excursions 0.5, 1.5, 1.0, 2.5."""
    assert detectors.cusum(np.array([1.0, 1.5, 0.0, 2.0])) == pytest.approx(2.5)


def test_the_harmonic_mean_of_equal_p_values_is_theirs_and_one_alone_costs_its_weight():
    weights = {"a": 0.5, "b": 0.25, "c": 0.25}
    assert detectors.combined(dict.fromkeys(weights, 0.02), weights) == pytest.approx(0.02)
    assert detectors.combined({"a": 1e-6, "b": 1.0, "c": 1.0}, weights) == pytest.approx(2e-6, rel=1e-3)
    assert detectors.combined({"b": 1e-6, "c": 1.0}, weights) == pytest.approx(2e-6, rel=1e-3)


def test_benjamini_hochberg_and_holm_on_a_textbook_case():
    p = np.array([0.01, 0.04, 0.03, 0.5])
    assert detectors.benjamini_hochberg(p, 0.06).tolist() == [True, True, True, False]
    assert detectors.holm(p, 0.06).tolist() == [True, False, False, False]
    assert detectors.holm(p, 0.1).tolist() == [True, True, True, False]
    assert detectors.holm(np.full(3, 0.01), 0.06).all()


@pytest.mark.parametrize(
    ("champion", "challenger", "won"),
    [
        pytest.param([10, 11, 12, 10, 11, 12, 10], [8, 9, 10, 9, 9, 10, 8], True, id="better every day"),
        pytest.param([10, 11, 12, 10, 11, 12, 10], [9, 13, 10, 12, 9, 14, 9], False, id="now better, now worse"),
        pytest.param([10, 11, 12, 10, 11, 12, 10], [12, 13, 14, 12, 13, 14, 11], False, id="worse"),
        pytest.param([10, 11, 12, 10, 11, 12, 10], [10, 11, 12, 10, 11, 12, 10], False, id="the same"),
        pytest.param([10, 11], [1, 1], False, id="too few days"),
    ],
)
def test_a_challenger_is_promoted_only_after_it_has_won(champion, challenger, won):
    assert decide(np.array(champion, float), np.array(challenger, float)).won == won


@pytest.fixture(scope="module")
def watched(small_run):
    """`monitoring` of a run as of the day before the planted drop, whose days have come; and the drop's regions."""
    drop = json.loads((small_run.shop / "truth/parameters.json").read_text())["drop"]
    as_of = date.fromisoformat(drop["date"]) - timedelta(days=1)
    models = "models=[{name: seasonal_naive}, {name: auto_ets}, {name: linear}]"
    sets = ("--set", models, "--set", "backtest.windows=4", "--set", "backtest.warm_up=4", "--as-of", str(as_of))

    def watch(job):
        run = job.open_run()
        job.store.replace("monitoring", spread.monitor(job, run), f"run_id = '{run.run_id}'")

    for step, body in (("train", None), ("forecast", None), ("evaluate", watch)):
        ran = run_job(step, *small_run.arguments, *sets, body=body)
        assert ran.code == 0, ran.err
    rows = small_run.table("monitoring")
    return rows[rows["run_id"] == ran.run_id], set(drop["regions"])


def test_a_week_that_contradicts_the_forecast_asks_to_retrain_its_regions_and_no_other(watched):
    rows, hit = watched
    assert set(rows["basis"]) == {"forecasts"}
    overall = rows[(rows["check"] == "overall") & (rows["level"] == "region")].set_index("region")["verdict"]
    assert overall.to_dict() == {region: "retrain" if region in hit else "ok" for region in overall.index}
    total = rows[rows["region"] == ALL_REGIONS]
    assert total["verdict"].tolist() == ["retrain"]
    assert total["reason"].tolist() == ["2 × retrain, 4 × ok"]


def test_a_run_is_watched_even_before_its_days_have_come(small_run):
    rows = small_run.rows("monitoring")
    assert set(rows["basis"]) == {"backtest"}
    overall = rows[rows["check"] == "overall"]
    assert (overall["level"] == "region").sum() == 6
    assert (overall["level"] == "total").sum() == 1
    assert rows["reason"].notna().all()


@pytest.fixture(scope="module")
def nights(small_run):
    """Three runs with `watch.retrain: auto`, on a data set of their own: a first night; a week later, the day before
    the planted drop; and when a week of the drop has come."""
    drop = json.loads((small_run.shop / "truth/parameters.json").read_text())["drop"]
    eve = date.fromisoformat(drop["date"]) - timedelta(days=1)
    names = "{name: seasonal_naive}, {name: auto_ets}, {name: linear}, {name: mfles}, {name: dynamic_sar}"
    models = f"models=[{names}, {{name: gru, epochs: 2, fine_tune_epochs: 0}}]"
    options = ("dataset=nights", "watch.retrain=auto", "watch.days=7", "backtest.windows=4", "backtest.warm_up=4")
    sets = [part for option in (*options, models) for part in ("--set", option)]
    ran = [
        run_job("pipeline", *small_run.arguments, *sets, "--as-of", str(eve + timedelta(days=shift)))
        for shift in (-7, 0, 7)
    ]
    assert [r.code for r in ran] == [0, 0, 0], [r.err for r in ran]
    home = small_run.home.parent / "nights"
    return ran, lambda name: small_run.spark.read.format("delta").load(str(home / name)).toPandas()


def test_a_night_trains_only_when_the_watch_asks_for_it(nights):
    (first, *_), table = nights
    said = [next(line.split(maxsplit=1)[1] for line in r.out.splitlines() if "  training" in line) for r in nights[0]]
    assert said == [
        "needed: no earlier run of this config has trained",
        f"not needed: models and back-tests of run {first.run_id}",
        "needed: 2 × retrain, 4 × ok",
    ]
    runs = table("runs").set_index("run_id")["seconds_train"]
    assert runs.notna()[[r.run_id for r in nights[0]]].tolist() == [True, False, True]


def test_a_night_without_training_forecasts_from_the_models_it_took_over(nights, small_run):
    (first, calm, _), table = nights
    models = table("models").set_index(["run_id", "model", "region"])
    ets, before = (models.loc[(run.run_id, "auto_ets"), "artefact"] for run in (calm, first))
    assert ets.to_dict() == before.to_dict()
    assert models.loc[calm.run_id]["status"].unique().tolist() == ["ok"]
    fits = models.loc[calm.run_id].groupby("model")["n_fits"].max().to_dict()
    kept = ("auto_ets", "combination", "gru", "linear", "seasonal_naive")
    assert fits == dict.fromkeys(kept, 0) | {"dynamic_sar": 1, "mfles": 1}
    folders = [Path(models.loc[(run.run_id, "gru", ALL_REGIONS), "artefact"]) for run in (calm, first)]
    weights = [sorted(folder.glob("*.safetensors"))[-1].read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    made = table("forecasts").query("run_id == @calm.run_id")
    assert made["fallback_used"].isna().all()
    made = made[made["is_champion"]]
    assert made.groupby("region").size().tolist() == [7] * 6
    assert made["date"].min() == made["as_of"].max() + timedelta(days=1)
    [report] = small_run.reports.rglob(f"{calm.run_id}/index.html")
    assert "Nothing asked for a new training" in report.read_text()


def test_a_run_is_registered_by_what_it_has_won(nights):
    (first, calm, dropped_week), _ = nights
    assert "champion: the first run" in first.out
    assert all("kept as challenger" in r.out or "promoted" in r.out for r in (calm, dropped_week))
