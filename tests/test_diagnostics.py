"""The tests of series and maps: right on made-up cases with a known answer, equal to esda where esda knows it."""

from __future__ import annotations

import warnings
from datetime import date

import numpy as np
import pandas as pd
import pytest

from stspark.diagnostics import changes, demand, series, spatial, spread
from stspark.names import ALL_REGIONS
from stspark.report.diagnosis import Diagnosis, in_short, render

N = 420
DATES = np.datetime64("2024-01-01") + np.arange(N)
WEEK = np.array([0.0, 1, 2, 3, 6, 9, 5])


def made(kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, N)
    weekly = np.tile(WEEK, N // 7)
    return {
        "noise": 50 + noise,
        "walk": 50 + np.cumsum(noise),
        "weekly": 50 + weekly + noise,
        "jump": 50 + noise + weekly + 20 * (np.arange(N) >= 210),
        "wild": 50 + noise * np.where(np.sin(np.arange(N) / 40) > 0, 6, 0.3),
        "autoregressive": 50 + np.convolve(noise, 0.8 ** np.arange(30))[:N],
    }[kind]


def findings(y: np.ndarray) -> dict[str, series.Finding]:
    return {f.test: f for f in [*series.series_findings(y, 7), *changes.change_findings(y, DATES[: len(y)], 7)]}


@pytest.mark.parametrize(
    ("kind", "test", "words"),
    [
        pytest.param("noise", "adf", "returns to its level", id="noise returns"),
        pytest.param("walk", "adf", "may wander", id="a random walk wanders"),
        pytest.param("walk", "kpss", "the level moves", id="and its level moves"),
        pytest.param("walk", "suggested_d", "difference 1 time", id="and wants one difference"),
        pytest.param("weekly", "season_length", "repeats every 7 days", id="a week is found"),
        pytest.param("weekly", "season_strength", "strong season of 7 days", id="and strong"),
        pytest.param("weekly", "suggested_D", "difference by the season once", id="and wants a seasonal difference"),
        pytest.param("weekly", "acf", "7, 14", id="and seen in the autocorrelation"),
        pytest.param("noise", "season_strength", "weak", id="noise has no season"),
        pytest.param("noise", "change_points", "has not changed", id="noise has no break"),
        pytest.param("jump", "change_points", "about 2024-07", id="a jump is dated"),
        pytest.param("wild", "arch", "calm and wild spells", id="spells are seen"),
        pytest.param("noise", "arch", "evenly noisy", id="even noise is even"),
        pytest.param("autoregressive", "ljung_box", "leave a pattern", id="a pattern is left"),
    ],
)
def test_a_known_series_gets_its_verdict(kind, test, words):
    said = [findings(made(kind, seed))[test].verdict for seed in range(5)]
    assert sum(words in s for s in said) >= 4, said


def test_a_level_that_does_not_change_has_no_change_points():
    """Fewer than one in ten, over noise and autocorrelated noise."""
    count = [
        len(changes.change_points(made(k, s).reshape(-1, 7).mean(1))) for k in ("noise", "weekly") for s in range(20)
    ]
    assert np.mean(np.array(count) > 0) < 0.1


@pytest.mark.parametrize("size", [8, 20])
def test_a_change_point_is_where_it_was_put(size):
    level = np.concatenate([np.zeros(30), np.full(25, size), np.full(20, 2.0 * size)])
    assert changes.change_points(level + np.random.default_rng(1).normal(0, 1, 75)) == [30, 55]


@pytest.mark.parametrize(
    ("y", "wanted"),
    [
        # every day 10: interval 1, variation 0
        pytest.param([10.0] * 20, "smooth", id="smooth"),
        # every second day 10: interval 2, variation 0
        pytest.param([10.0, 0.0] * 10, "intermittent", id="intermittent"),
        # 1 and 19: mean 10, variance 81: variation 0.81
        pytest.param([1.0, 19.0] * 10, "erratic", id="erratic"),
        pytest.param([1.0, 0.0, 19.0, 0.0] * 5, "lumpy", id="lumpy"),
    ],
)
def test_demand_is_classed_by_interval_and_variation(y, wanted):
    assert demand.demand_findings(np.array(y))[0].verdict.startswith(wanted)


# A map of regions ----------------------------------------------------------------------------------


def lattice(side: int) -> np.ndarray:
    """Row-standardised rook weights of a square."""
    n = side * side
    w = np.zeros((n, n))
    for k in range(n):
        for step, inside in ((1, (k + 1) % side), (side, k + side < n)):
            if inside:
                w[k, k + step] = w[k + step, k] = 1
    return spatial.row_standardised(w)


def oracle(w: np.ndarray):
    from libpysal.weights import W

    made = W({i: list(np.flatnonzero(row)) for i, row in enumerate(w)}, silence_warnings=True)
    made.transform = "r"
    return made


@pytest.mark.parametrize("seed", range(5))
def test_moran_is_that_of_esda(seed):
    from esda import Moran, Moran_Local

    w = lattice(6)
    rng = np.random.default_rng(seed)
    z = w @ rng.normal(size=36) * (seed % 2) + rng.normal(size=36) * 0.3
    theirs = Moran(z, oracle(w), permutations=0)
    value, p = spatial.moran_test(z, w, 1)
    assert value == pytest.approx(theirs.I)
    assert p == pytest.approx(theirs.p_rand, abs=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        local = Moran_Local(z, oracle(w), permutations=999, seed=1)
    values, p_local = spatial.local_moran(z, w, 1)
    np.testing.assert_allclose(values, local.Is * (36 / 35), rtol=1e-9)  # esda divides by n - 1
    assert np.abs(p_local - np.minimum(1, 2 * local.p_sim)).max() < 0.12


def test_false_discovery_control_is_that_of_esda():
    from esda import fdr

    for seed in range(10):
        p = np.random.default_rng(seed).random(40) ** 3
        found = p <= spatial.false_discovery_bound(p)
        assert found.sum() == (p <= fdr(p, 0.05)).sum()


def travelling(b: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Days [300, 36] of e_t = 0.3 e_(t-1) + b W e_(t-1) + noise on a weekly pattern, with weights."""
    rng, w = np.random.default_rng(seed), lattice(6)
    e = np.zeros((301, 36))
    for t in range(1, 301):
        e[t] = 0.3 * e[t - 1] + b * w @ e[t - 1] + rng.normal(size=36)
    return 100 + e[1:] + np.resize(WEEK, 300)[:, None], w


@pytest.mark.parametrize(("b", "helps"), [(0.4, True), (0.0, False)])
def test_yesterday_next_door_is_told_from_ones_own(b, helps):
    found = []
    for seed in range(5):
        y, w = travelling(b, seed)
        field = spatial.make_field(tuple(map(str, range(36))), y, w, 7)
        row = spatial.travel_findings(field, 1)[1]
        found.append(row.p_value < 0.05)
        assert abs(row.statistic - b) < 0.12
    assert sum(found) >= 4 if helps else sum(found) <= 1


def test_a_map_with_islands_and_gaps_is_tested_all_the_same():
    y, w = travelling(0.4, 3)
    y = np.where(np.random.default_rng(0).random(y.shape) < 0.1, np.nan, y)
    names = [f"r{k:02d}" for k in range(37)]
    days = pd.DataFrame(np.column_stack([y, np.full(300, 5.0)]), columns=names)
    days.insert(0, "date", pd.date_range("2024-01-01", periods=300).date)
    long = days.melt("date", var_name="region").assign(kind="day", neighbour="")
    pairs = [("edge", names[i], names[j], None, w[i, j]) for i, j in np.argwhere(w)]
    both = pd.concat([long, pd.DataFrame(pairs, columns=["kind", "region", "neighbour", "date", "value"])])
    rows = spread.map_rows(both, 7, 1)
    of_map = rows[rows["region"] == ALL_REGIONS].set_index("test")
    assert of_map.loc["moran_space_time", "p_value"] < 0.05
    assert "island" not in set(rows["region"])
    assert set(rows.loc[rows["test"] == "local_moran", "region"]) == set(names[:36])


def test_too_few_regions_are_not_tested_and_say_so():
    both = pd.DataFrame([("day", r, "", date(2024, 1, 1 + k), 1.0) for r in "ab" for k in range(20)])
    both.columns = ["kind", "region", "neighbour", "date", "value"]
    rows = spread.map_rows(both, 7, 1)
    assert rows["verdict"].str.contains("not tested: 0 regions with neighbours").all()


# One region at the border --------------------------------------------------------------------------


@pytest.mark.parametrize("y", [[], [1.0], [0.0] * 60, [5.0] * 60, [1.0, np.nan] * 5, [1e308, -1e308] * 40])
def test_a_hopeless_region_has_rows_that_say_why(y):
    rows = pd.DataFrame({"y": y, "target": y, "status": "observed", "is_outlier": False})
    rows["date"] = pd.date_range("2024-01-01", periods=len(y)).date
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = spread.to_rows("a", spread.analyse_region(rows, 7))
    assert len(found)
    assert found["verdict"].str.len().min() > 0
    assert found["test"].is_unique


def page(names: dict[str, str]) -> Diagnosis:
    frames = []
    for k, region in enumerate(names):
        y = made(("weekly", "jump", "walk")[k % 3], k)
        rows = pd.DataFrame({"y": y, "target": y, "status": "observed", "date": DATES.astype(object)})
        rows["is_outlier"] = rows.index == 300
        frames.append(spread.to_rows(region, spread.analyse_region(rows, 7)))
    frames.append(spread.to_rows(ALL_REGIONS, [spatial.Finding("moran_levels", 0.4, 0.001, "levels are alike")]))
    return Diagnosis("A <shop>", "shop", date(2025, 2, 23), 7, pd.concat(frames), names, len(names))


def test_the_page_says_in_short_what_the_rows_say_and_escapes_names():
    data = page({"a": "O'Brien & <b>", "b": "b", "c": "c"})
    said = " ".join(in_short(data))
    assert "demand is smooth in 3" in said
    assert "The level jumped in" in said
    assert "Levels are alike (moran_levels)." in said
    html = render(data)
    assert "<b>O&#x27;Brien &amp; &lt;b&gt;</b>" in html
    assert "A &lt;shop&gt;" in html
    assert "1 of 420 days, the newest 2024-10-27" in html
    assert "src=" not in html
    assert "href=" not in html


# The job -------------------------------------------------------------------------------------------


def test_the_job_tests_every_region_and_writes_its_page(small_run):
    from conftest import run_job

    ran = run_job("analyse", *small_run.arguments)
    assert ran.code == 0, ran.err
    rows = small_run.table("diagnostics")
    regions = set(small_run.table("regions")["region"])
    assert set(rows["region"]) == regions | {ALL_REGIONS}
    assert not rows.duplicated(["region", "test"]).any()
    assert not rows["verdict"].str.startswith("failed").any()
    assert (rows[rows["test"] == "season_length"]["statistic"].astype(float) == 7).mean() > 0.5
    assert (small_run.reports / "small/diagnostics/index.html").stat().st_size > 10_000
