"""Sums as a worker makes them, and as they lie in the tables of the small run."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from stspark.hierarchy.reconcile import METHODS
from stspark.hierarchy.sums import SumsTask, sums
from stspark.hierarchy.tree import build_tree
from stspark.hierarchy.windows import CHAMPION_ROW, windows_of
from stspark.settings import Hierarchy

QUANTILES = (0.1, 0.5, 0.9)
AS_OF, DAYS = date(2025, 6, 30), 7


def task(method: str = "auto", **parents: str | None) -> SumsTask:
    tree = build_tree(parents or {"a": "x", "b": "x", "c": "y"})
    return SumsTask(tree, method, QUANTILES, AS_OF, True, 400, 1)


def base(
    asked: SumsTask, windows: int = 6, seed: int = 0, upper_noise: float = 2.0, step: int = 7, spread: float = 7.2
) -> pd.DataFrame:
    """Rows of levels.base_rows: regions are off by much (7.2), the nodes above by `upper_noise`."""
    rng = np.random.default_rng(seed)
    tree, rows = asked.tree, []
    for k in range(windows, -1, -1):
        cutoff = AS_OF - timedelta(days=step * k)
        level = rng.normal(0, 6, (tree.n_regions, 1)) + rng.normal(0, 4, (tree.n_regions, DAYS))
        truth = 100 + 10 * np.arange(DAYS) + np.zeros((tree.n_regions, DAYS))
        y, made = tree.summing @ (truth + level), tree.summing @ truth
        made[: tree.n_upper] = y[: tree.n_upper] + rng.normal(0, upper_noise, (tree.n_upper, DAYS))
        for i, node in enumerate(tree.nodes):
            for day in range(DAYS):
                rows.append(
                    {
                        "node": node,
                        "model": "seasonal_naive" if i < tree.n_upper else CHAMPION_ROW,
                        "fallback_used": None,
                        "warm_up": False,
                        "closed": False,
                        "cutoff": cutoff,
                        "date": cutoff + timedelta(days=day + 1),
                        "horizon": day + 1,
                        "y": y[i, day] if k else None,
                        "y_hat": made[i, day],
                        **{
                            f"q{round(100 * q)}": made[i, day] + z * spread
                            for q, z in zip(QUANTILES, (-1.28, 0, 1.28), strict=True)
                        },
                    }
                )
    return pd.DataFrame(rows)


def made(asked: SumsTask, rows: pd.DataFrame) -> pd.DataFrame:
    windows = windows_of(rows, asked.tree, asked.quantiles, asked.as_of)
    return pd.concat(list(sums(windows, asked)), ignore_index=True)


def wape(frame: pd.DataFrame, model: str, level: str) -> float:
    rows = frame[(frame["kind"] == "backtest") & (frame["model"] == model) & (frame["level"] == level)]
    rows = rows[rows["horizon"] > 0]
    return float((rows["y"] - rows["y_hat"]).abs().sum() / rows["y"].sum())


@pytest.mark.parametrize(
    "method", ["auto", "bottom_up", "ols", "wls_struct", "wls_var", "mint_shrink", "top_down_forecast"]
)
def test_forecasts_add_up_on_every_day_and_over_the_horizon(method):
    asked = task(method)
    out = made(asked, base(asked))
    now = out[out["kind"] == "forecast"].pivot(index="horizon", columns="node", values="y_hat")
    np.testing.assert_allclose(now["*"], now[["a", "b", "c"]].sum(axis=1))
    np.testing.assert_allclose(now["x"], now[["a", "b"]].sum(axis=1))
    np.testing.assert_allclose(now.loc[0], now.loc[1:].sum())


def test_sure_sums_teach_the_regions_where_reconciliation_earns_it():
    asked = task()
    out = made(asked, base(asked, windows=10))
    out_of = out[out["model"] == "reconciled"]
    methods = out_of.drop_duplicates("cutoff").sort_values("cutoff")["method"].tolist()
    assert methods[:5] == 5 * ["bottom_up"]  # one window to learn from, four to judge by
    assert set(methods[5:]) <= {"wls_var", "mint_shrink"}
    assert wape(out, "reconciled", "region") < 0.9 * wape(out, "bottom_up", "region")


@pytest.mark.parametrize("seed", range(5))
def test_unsure_sums_leave_the_regions_nearly_alone(seed):
    asked = task()
    out = made(asked, base(asked, upper_noise=80.0, windows=8, seed=seed))
    assert wape(out, "reconciled", "region") < 1.03 * wape(out, "bottom_up", "region")


def test_a_weeks_total_is_surer_than_its_days_together_and_less_sure_than_independent_ones():
    asked = task("bottom_up")
    now = made(asked, base(asked)).query("kind == 'forecast' and node == '*'").set_index("horizon")
    width = now["q90"] - now["q10"]
    assert width[0] < width.loc[1:].sum()
    assert width[0] > np.sqrt((width.loc[1:] ** 2).sum()) * 1.2  # errors of a level last the whole week


def test_intervals_of_sums_hold_what_they_promise():
    asked = task("bottom_up")
    drawn = [base(asked, windows=10, seed=seed) for seed in range(8)]
    rows = pd.concat([made(asked, r.assign(warm_up=r["cutoff"] < AS_OF - timedelta(days=42))) for r in drawn])
    tested = rows[(rows["kind"] == "backtest") & (rows["model"] == "reconciled") & (rows["level"] == "total")]
    for whole in (True, False):
        part = tested[(tested["horizon"] == 0) == whole]
        assert part["y"].between(part["q10"], part["q90"]).mean() == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("spread", [14.4, 4.8])
def test_many_sums_set_their_own_width_and_few_are_only_widened(spread):
    """Daily intervals twice as wide as errors are, or two thirds of it: the regions' weeks hold 80% all the same."""
    asked = task("bottom_up")
    rows = pd.concat([made(asked, base(asked, windows=18, seed=seed, spread=spread)) for seed in range(6)])
    late = rows["cutoff"].between(AS_OF - timedelta(days=70), AS_OF - timedelta(days=1))
    weeks = rows[(rows["model"] == "reconciled") & (rows["horizon"] == 0) & late]
    held = weeks["y"].between(weeks["q10"], weeks["q90"]).groupby(weeks["level"]).mean()
    assert held["region"] == pytest.approx(0.8, abs=0.1)
    assert held["total"] > (0.95 if spread > 7.2 else 0.7)  # at most 18 sums to learn from


def test_a_band_without_width_cannot_be_stretched():
    asked = task("bottom_up")
    out = made(asked, base(asked, windows=20, spread=0.0))
    now = out[out["kind"] == "forecast"]
    assert np.isfinite(now[["q10", "q50", "q90"]]).all(axis=None)
    assert (now["q10"] <= now["q90"]).all()


def test_one_window_teaches_nothing():
    asked = task("mint_shrink")
    out = made(asked, base(asked, windows=1))
    assert set(out.loc[out["model"] == "reconciled", "method"]) == {"bottom_up", "mint_shrink"}
    tested = out[out["kind"] == "backtest"].pivot(index=["node", "horizon"], columns="model", values="y_hat")
    pd.testing.assert_series_equal(tested["mint_shrink"], tested["bottom_up"], check_names=False)


def test_the_config_offers_every_method():
    assert set(Hierarchy.model_fields["method"].annotation.__args__) == {*METHODS, "auto", "off"}


def test_what_comes_later_changes_no_window():
    asked = task()
    rows = base(asked)
    last = rows["cutoff"] >= AS_OF - timedelta(days=14)
    scrambled = rows.assign(y=rows["y"].where(~last, 7.0), y_hat=rows["y_hat"].where(~last, 5.0))
    before, after = made(asked, rows), made(asked, scrambled)
    early = before["cutoff"] < AS_OF - timedelta(days=14)
    pd.testing.assert_frame_equal(before[early], after[early])


def test_days_that_have_not_come_by_a_cutoff_teach_nothing():
    """Windows of a week that begin every other day: at a cutoff only a part of the three before it has come."""
    asked = task()
    rows = base(asked, windows=12, step=2)
    cutoff = AS_OF - timedelta(days=8)
    scrambled = rows.assign(y=rows["y"].where(rows["date"] <= cutoff, 7.0))
    before, after = (made(asked, r).drop(columns="y") for r in (rows, scrambled))
    early = before["cutoff"] <= cutoff
    pd.testing.assert_frame_equal(before[early], after[early])


def test_warm_up_windows_teach_and_are_not_told():
    asked = task()
    rows = base(asked)
    early = rows["cutoff"] < AS_OF - timedelta(days=21)
    out, whole = made(asked, rows.assign(warm_up=early)), made(asked, rows)
    kept = whole[whole["cutoff"] >= AS_OF - timedelta(days=21)].reset_index(drop=True)
    pd.testing.assert_frame_equal(out, kept)


@pytest.mark.parametrize("node", ["*", "x", "a"])
def test_a_window_in_which_a_node_lacks_rows_is_left_out(node):
    asked = task()
    rows = base(asked)
    gone = (rows["node"] == node) & (rows["cutoff"] == AS_OF - timedelta(days=14)) & (rows["horizon"] == 3)
    out = made(asked, rows[~gone])
    whole = made(asked, rows[rows["cutoff"] != AS_OF - timedelta(days=14)])
    pd.testing.assert_frame_equal(out, whole)


def test_a_region_that_opens_late_counts_as_closed_before():
    asked = task("wls_var")
    rows = base(asked)
    before = (rows["node"] == "c") & (rows["cutoff"] < AS_OF - timedelta(days=21))
    out = made(asked, rows[~before])
    assert out["cutoff"].nunique() == 7
    early = out[(out["node"] == "c") & (out["cutoff"] < AS_OF - timedelta(days=21))]
    assert (early[["y", "y_hat", "y_base"]] == 0).all(axis=None)
    later = out[(out["node"] == "c") & (out["kind"] == "forecast")]
    assert (later["y_hat"] > 50).all()


def test_the_tables_of_a_run_add_up(small_run):
    levels = small_run.rows("forecast_levels")
    now = levels.pivot(index="horizon", columns=["level", "node"], values="y_hat")
    np.testing.assert_allclose(now["total"]["*"], now["region"].sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(now["parent"].sum(axis=1), now["region"].sum(axis=1), rtol=1e-9)
    assert (levels["q10"] <= levels["q90"]).all()
    assert sorted(levels["horizon"].unique()) == list(range(8))
    assert {"base", "reconciled", *METHODS} == set(small_run.rows("backtest_levels")["model"])


# A region without a past ---------------------------------------------------------------------------


def newcomer(parent: str) -> tuple[SumsTask, pd.DataFrame]:
    """A region `n` that only the forecast knows, under a parent of others or of its own."""
    asked = task("bottom_up", a="x", b="x", c="y", n=parent)
    rows = base(asked)
    past, alone = rows["cutoff"] < AS_OF, [node for node in asked.tree.nodes if node == "solo"]
    return asked, rows[~(past & rows["node"].isin(["n"])) & ~rows["node"].isin(alone)]


@pytest.mark.parametrize("parent", ["x", "solo"])
def test_a_region_without_a_past_takes_no_sum_away(parent):
    asked, rows = newcomer(parent)
    windows = windows_of(rows, asked.tree, asked.quantiles, asked.as_of)
    assert len(windows) == 7
    made = pd.concat(sums(windows, asked))
    now = made[(made["kind"] == "forecast") & (made["horizon"] == 0)].set_index("node")
    assert now.loc[parent, "y_hat"] == pytest.approx(
        sum(now.loc[node, "y_hat"] for node in ("a", "b", "n") if parent == "x" or node == "n")
    )
    tested = made[(made["kind"] == "backtest") & (made["node"] == "*") & (made["horizon"] > 0)]
    assert tested["y"].notna().all()


def test_the_week_of_a_region_without_a_past_is_as_wide_as_its_days_together():
    """What is not known is its level, which is the same on all days."""
    asked, rows = newcomer("x")
    made = pd.concat(sums(windows_of(rows, asked.tree, asked.quantiles, asked.as_of), asked))
    now = made[made["kind"] == "forecast"]
    width = now.assign(width=now["q90"] - now["q10"])
    days = width[width["horizon"] > 0].groupby("node")["width"].sum()
    week = width[width["horizon"] == 0].set_index("node")["width"]
    assert week["n"] > 0.9 * days["n"]
    assert week["a"] < 0.8 * days["a"]
