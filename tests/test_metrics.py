"""Errors, coverage and the choice of champions, against arithmetic by hand and numpy."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from stspark.fleet import results
from stspark.metrics.definitions import metric_columns
from stspark.metrics.measure import measure, measure_sums, with_champion, with_slices
from stspark.metrics.scale import naive_scale
from stspark.metrics.slices import day_types, demand_classes

FIRST = date(2024, 1, 1)
QUANTILES = (0.1, 0.5, 0.9)
ROWS = (
    "region string, model string, horizon int, y double, y_hat double, scale double, scale_squared double, "
    "q10 double, q50 double, q90 double"
)
BY_HAND = [  # region, model, horizon, y, y_hat, scale, scale_squared, q10, q50, q90
    ("a", "m", 1, 10.0, 12.0, 2.0, 5.0, 8.0, 12.0, 16.0),
    ("a", "m", 2, 0.0, 1.0, 2.0, 5.0, 0.5, 1.0, 3.0),
    ("a", "m", 2, 20.0, 15.0, 2.0, 5.0, 12.0, 15.0, 18.0),
    ("a", "m", 1, None, 7.0, 2.0, 5.0, 5.0, 7.0, 9.0),  # closed or missing: does not count
    ("b", "m", 1, 0.0, 4.0, 0.0, 0.0, 0.0, 4.0, 8.0),  # a region without sales: no relative error, no scale
]
GOLDEN = {
    # region a, all horizons: errors 2, 1, 5; sum of y 30
    ("a", 0, "mae"): (2 + 1 + 5) / 3,
    ("a", 0, "rmse"): np.sqrt((4 + 1 + 25) / 3),
    ("a", 0, "mse"): (4 + 1 + 25) / 3,
    ("a", 0, "mape"): (2 / 10 + 5 / 20) / 2,  # the day without sales is left out
    ("a", 0, "smape"): (4 / 22 + 2 / 1 + 10 / 35) / 3,
    ("a", 0, "wape"): 8 / 30,
    ("a", 0, "accuracy"): 22 / 30,
    ("a", 0, "bias"): (2 + 1 - 5) / 30,
    ("a", 0, "mase"): (2 / 2 + 1 / 2 + 5 / 2) / 3,
    ("a", 0, "rmsse"): np.sqrt((4 + 1 + 25) / 5 / 3),
    # q10: 0.1 x 2, 0.9 x 0.5, 0.1 x 8 = 1.45; q50: 0.5 x (2 + 1 + 5) = 4; q90: 0.1 x 6, 0.1 x 3, 0.9 x 2 = 2.7
    ("a", 0, "pinball"): (1.45 + 4 + 2.7) / 9,
    ("a", 0, "sql"): 2 * (1.45 + 4 + 2.7) / 9 / 2,
    ("a", 0, "crps"): 2 * (0.3 * 1.45 + 0.4 * 4 + 0.3 * 2.7) / 3,
    ("a", 0, "winkler_80"): (8 + 2.5 + 6 + 10 * (0.5 + 2)) / 3,
    ("a", 0, "coverage_80"): 1 / 3,  # 8 <= 10 <= 16; 0 lies below 0.5; 20 above 18
    ("a", 0, "width_80"): (8 + 2.5 + 6) / 3,
    # one step ahead, one row
    ("a", 1, "mae"): 2.0,
    ("a", 1, "wape"): 0.2,
    ("a", 2, "mae"): 3.0,
    ("a", 2, "bias"): -4 / 20,
    # b: the error is known, what it is a share of is not
    ("b", 0, "mae"): 4.0,
    ("b", 0, "coverage_80"): 1.0,
    # all regions: errors 2 + 1 + 5 + 4 over sum 30
    ("*", 0, "wape"): 12 / 30,
    ("*", 0, "mae"): 3.0,
    ("*", 0, "mase"): 4 / 3,  # a's rows; b has no scale
    ("*", 1, "bias"): (2 + 4) / 10,
}


@pytest.fixture(scope="module")
def by_hand(spark):
    rows = measure(spark.createDataFrame(BY_HAND, ROWS), QUANTILES, "r1", "backtest").toPandas()
    return rows.set_index(["region", "horizon", "metric"])


@pytest.mark.parametrize(("key", "value"), GOLDEN.items(), ids=[" ".join(map(str, key)) for key in GOLDEN])
def test_metrics_by_hand(by_hand, key, value):
    assert by_hand.loc[key, "value"] == pytest.approx(value, abs=1e-12)


def test_days_on_which_another_model_stood_in_are_counted(spark):
    rows = spark.createDataFrame(BY_HAND, ROWS).withColumn("fallback_used", F.expr("if(region = 'b', 'naive', null)"))
    found = measure(rows, QUANTILES, "r1", "backtest").where("metric = 'stood_in' and horizon = 0").toPandas()
    assert found.set_index("region")["value"].to_dict() == {"a": 0.0, "b": 1.0, "*": 0.25}


@pytest.mark.parametrize("key", [("b", 0, "wape"), ("b", 0, "bias"), ("b", 0, "mase"), ("b", 2, "mae")])
def test_what_cannot_be_computed_is_absent(by_hand, key):
    assert key not in by_hand.index


@pytest.mark.parametrize(
    ("region", "horizon", "level", "n"),
    [("a", 0, "region", 3), ("a", 1, "region", 1), ("a", 2, "region", 2), ("*", 0, "all", 4), ("*", 1, "all", 2)],
)
def test_each_level_says_from_how_many_days_it_is(by_hand, region, horizon, level, n):
    rows = by_hand.loc[(region, horizon)]
    assert set(rows["level"]) == {level}
    assert set(rows["n"]) == {n}
    assert set(rows["run_id"]) == {"r1"}
    assert set(rows["source"]) == {"backtest"}


@pytest.fixture(scope="module")
def random_rows():
    """Random actuals and forecasts of 3 regions, 2 models and 4 horizons; a tenth of the actuals unknown."""
    rng = np.random.default_rng(3)
    n = 600
    quantiles = np.sort(rng.gamma(2.0, 20.0, (n, 3)), axis=1)
    y = rng.gamma(2.0, 20.0, n)
    return pd.DataFrame({
        "region": rng.choice(["a", "b", "c"], n), "model": rng.choice(["m", "n"], n),
        "horizon": rng.integers(1, 5, n).astype("int32"), "y": np.where(rng.random(n) < 0.1, np.nan, y),
        "y_hat": quantiles[:, 1] + rng.normal(0, 1, n), "scale": rng.choice([0.0, 2.0, 5.0], n),
        "scale_squared": rng.choice([0.0, 9.0, 30.0], n),
        "q10": quantiles[:, 0], "q50": quantiles[:, 1], "q90": quantiles[:, 2],
    })  # fmt: skip


def by_numpy(rows: pd.DataFrame) -> dict[str, float]:
    """Textbook definitions, written the other way round."""
    rows = rows.dropna(subset=["y"])
    y, made = rows["y"].to_numpy(), rows["y_hat"].to_numpy()
    losses = []
    for q, column in zip(QUANTILES, ("q10", "q50", "q90"), strict=True):
        z = rows[column].to_numpy()
        losses.append(np.where(y >= z, q * (y - z), (1 - q) * (z - y)))
    scaled, squared, sold = rows[rows["scale"] > 0], rows[rows["scale_squared"] > 0], y > 0
    loss = dict(zip(QUANTILES, losses, strict=True))
    missed = np.maximum(rows["q10"] - rows["y"], 0) + np.maximum(rows["y"] - rows["q90"], 0)
    inside = (rows["q10"] <= rows["y"]) & (rows["y"] <= rows["q90"])
    return {
        "mae": np.mean(np.abs(y - made)), "rmse": np.sqrt(np.mean((y - made) ** 2)),
        "wape": np.abs(y - made).sum() / np.abs(y).sum(), "bias": (made - y).sum() / np.abs(y).sum(),
        "mase": float(((scaled["y"] - scaled["y_hat"]).abs() / scaled["scale"]).mean()),
        "mse": np.mean((y - made) ** 2), "accuracy": 1 - np.abs(y - made).sum() / np.abs(y).sum(),
        "mape": np.mean(np.abs(y - made)[sold] / y[sold]),
        "smape": np.mean(2 * np.abs(y - made) / (np.abs(y) + np.abs(made))),
        "rmsse": float(np.sqrt(((squared["y"] - squared["y_hat"]) ** 2 / squared["scale_squared"]).mean())),
        "sql": np.mean((2 * np.mean(losses, axis=0) / rows["scale"])[rows["scale"] > 0]),
        "crps": np.mean(2 * (0.3 * loss[0.1] + 0.4 * loss[0.5] + 0.3 * loss[0.9])),
        "winkler_80": np.mean(rows["q90"] - rows["q10"] + 10 * missed),
        "pinball": np.mean(losses), "coverage_80": inside.mean(), "width_80": (rows["q90"] - rows["q10"]).mean(),
    }  # fmt: skip


def test_metrics_are_those_of_numpy_on_every_level(spark, random_rows):
    frame = spark.createDataFrame(
        [tuple(None if v != v else v for v in row) for row in random_rows.itertuples(index=False)], ROWS
    )
    found = measure(frame, QUANTILES, "r", "backtest").toPandas()
    found = found.set_index(["region", "model", "horizon", "metric"])["value"]
    wanted = {}
    for by in (["region", "model", "horizon"], ["region", "model"], ["model", "horizon"], ["model"]):
        for key, rows in random_rows.groupby(by):
            place = dict(zip(by, key, strict=True))
            name = (place.get("region", "*"), place["model"], place.get("horizon", 0))
            wanted |= {(*name, metric): value for metric, value in by_numpy(rows).items()}
    assert set(found.index) == set(wanted)
    pd.testing.assert_series_equal(
        found.sort_index(), pd.Series(wanted).sort_index(), check_names=False, check_index_type=False, rtol=1e-10
    )


@pytest.mark.parametrize(
    ("quantiles", "names"),
    [
        pytest.param((0.1, 0.5, 0.9), {"coverage_80"}, id="80%"),
        pytest.param((0.025, 0.1, 0.9, 0.975), {"coverage_95", "coverage_80"}, id="two intervals"),
        pytest.param(
            (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), {f"coverage_{k}" for k in (20, 40, 60, 80)}, id="deciles"
        ),
        pytest.param((0.1, 0.5, 0.8), set(), id="none encloses a central interval"),
        pytest.param((0.5,), set(), id="median alone"),
    ],
)
def test_coverage_is_of_central_intervals(spark, quantiles, names):
    assert {name for name in metric_columns(quantiles) if name.startswith("coverage")} == names


def test_the_scale_is_the_seasonal_naives_error_up_to_each_cutoff(spark):
    """Season 2 over 1, 2, 4, 8, closed, 3: |4 - 1| = 3 and |8 - 2| = 6; day 5's pair, day 3, is 8: |3 - 8| = 5."""
    values = [1.0, 2.0, 4.0, 8.0, None, 3.0]
    rows = [("a", FIRST + timedelta(days=k), y, "closed" if y is None else "observed") for k, y in enumerate(values)]
    days = spark.createDataFrame(rows, "region string, date date, target double, status string")
    cutoffs = spark.createDataFrame([(FIRST + timedelta(days=k),) for k in (1, 2, 4, 5)], "cutoff date")
    found = naive_scale(days, cutoffs, 2).collect()
    assert {(row["cutoff"] - FIRST).days: row["scale"] for row in found} == pytest.approx({2: 3.0, 4: 4.5, 5: 14 / 3})
    squares = {(row["cutoff"] - FIRST).days: row["scale_squared"] for row in found}
    assert squares == pytest.approx({2: 9.0, 4: 22.5, 5: 70 / 3})


# Slices and sums -----------------------------------------------------------------------------------


def test_each_slice_is_a_level_of_its_own(spark):
    """Monday's errors 2 and 4 over 10 and 20, Tuesday's 1 over 5; region b has no class of demand."""
    rows = [("a", 0, 10.0, 12.0), ("b", 0, 20.0, 24.0), ("a", 1, 5.0, 4.0)]
    made = [(r, "m", 1 + k, FIRST + timedelta(days=k), y, f, 1.0, 1.0, f, f, f) for r, k, y, f in rows]
    schema = ROWS.replace("horizon int,", "horizon int, date date,")
    types = [(r, FIRST, "event") for r in "ab"] + [("a", FIRST + timedelta(days=1), "ordinary")]
    sliced = with_slices(
        spark.createDataFrame(made, schema),
        spark.createDataFrame(types, "region string, date date, day_type string"),
        spark.createDataFrame([("a", "smooth")], "region string, demand string"),
    )
    found = measure(sliced, QUANTILES, "r", "backtest").where("metric = 'wape'").collect()
    values = {(row["level"], row["region"], row["horizon"]): row["value"] for row in found}
    assert {key: v for key, v in values.items() if key[0] not in ("region", "all")} == pytest.approx({
        ("weekday", "mon", 0): 6 / 30, ("weekday", "tue", 0): 1 / 5, ("day_type", "event", 0): 6 / 30,
        ("day_type", "ordinary", 0): 1 / 5, ("demand", "smooth", 0): 3 / 15,
    })  # fmt: skip
    assert values["all", "*", 0] == pytest.approx(7 / 35)
    assert values["region", "a", 2] == pytest.approx(1 / 5)


def test_errors_of_sums_cancel(spark):
    """North: a and b err by +2 and -2, so their sum is right; c has no parent and errs by 3."""
    rows = [("a", 10.0, 12.0), ("b", 20.0, 18.0), ("c", 5.0, 8.0), ("d", None, 9.0)]
    made = [(r, "m", 1, FIRST, FIRST, y, f) for r, y, f in rows]
    schema = "region string, model string, horizon int, cutoff date, date date, y double, y_hat double"
    parents = spark.createDataFrame(
        [("a", "north"), ("b", "north"), ("c", None), ("d", "north")], "region string, parent string"
    )
    found = measure_sums(spark.createDataFrame(made, schema), parents, "r", "backtest").collect()
    values = {(row["level"], row["region"], row["metric"]): row["value"] for row in found}
    assert values["parent", "north", "mae"] == 0.0
    assert values["total", "total", "mae"] == pytest.approx(3.0)
    assert values["total", "total", "wape"] == pytest.approx(3 / 35)
    assert {key[:2] for key in values} == {("parent", "north"), ("total", "total")}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param([10, 11, 9, 10], "smooth", id="smooth"),
        pytest.param([1, 30, 1, 1], "erratic", id="erratic"),
        pytest.param([5, 0, 5, 0], "intermittent", id="intermittent"),
        pytest.param([1, 0, 0, 30], "lumpy", id="lumpy"),
        pytest.param([0, 0, 0, 0], "none", id="no demand"),
        pytest.param([None, 4, 4, 4], "smooth", id="closed days do not count"),
    ],
)
def test_demand_is_classified_by_its_interval_and_spread(spark, values, kind):
    rows = [("a", None if v is None else float(v), "closed" if v is None else "observed") for v in values]
    days = spark.createDataFrame(rows, "region string, target double, status string")
    assert [tuple(row) for row in demand_classes(days).collect()] == [("a", kind)]


def test_event_days_are_holidays_and_the_days_of_events(spark):
    rows = [(None, 0.4, 0.0), (None, 1.0, 0.0), ("Christmas", 0.0, 0.0), (None, 0.0, 0.9)]
    days = [("a", FIRST + timedelta(days=k), *row) for k, row in enumerate(rows)]
    schema = "region string, date date, holiday_name string, event_618 double, event_618_after double"
    found = day_types(spark.createDataFrame(days, schema)).orderBy("date").collect()
    assert [row["day_type"] for row in found] == ["ordinary", "event", "event", "ordinary"]


# A second opinion ----------------------------------------------------------------------------------


def test_metrics_are_those_of_utilsforecast(spark):
    """Per region, from random history and forecasts; its sMAPE is half of ours, its bias is in the target's unit."""
    losses = pytest.importorskip("utilsforecast.losses")
    rng = np.random.default_rng(11)
    days, horizon, season = 60, 14, 7
    dates = pd.date_range("2024-01-01", periods=days + horizon)
    y = {r: rng.gamma(2.0, 20.0, len(dates)) + 1 for r in "abc"}
    quantiles = {r: np.sort(rng.gamma(2.0, 20.0, (horizon, 3)), axis=1) for r in "abc"}
    train = pd.concat(pd.DataFrame({"unique_id": r, "ds": dates[:days], "y": v[:days]}) for r, v in y.items())
    test = pd.concat(
        pd.DataFrame({"unique_id": r, "ds": dates[days:], "y": y[r][days:], "m": z[:, 1], "q10": z[:, 0],
                      "q50": z[:, 1], "q90": z[:, 2], "m-lo-80": z[:, 0], "m-hi-80": z[:, 2]})
        for r, z in quantiles.items()
    )  # fmt: skip
    names, levels = {"m": ["q10", "q50", "q90"]}, np.array(QUANTILES)
    size = test.groupby("unique_id")["y"].mean()
    theirs = {
        **{name: getattr(losses, name)(test, ["m"]) for name in ("mae", "mse", "rmse", "mape", "smape")},
        "wape": losses.nd(test, ["m"]), "bias": losses.bias(test, ["m"]), "pinball": losses.mqloss(test, names, levels),
        "mase": losses.mase(test, ["m"], season, train), "rmsse": losses.rmsse(test, ["m"], season, train),
        "sql": losses.scaled_mqloss(test, names, levels, season, train),
        "coverage_80": losses.coverage(test, ["m"], 80), "winkler_80": losses.winkler_score(test, ["m"], 80),
    }  # fmt: skip
    wanted = pd.DataFrame({name: frame.set_index("unique_id")["m"] for name, frame in theirs.items()})
    wanted = wanted.assign(smape=2 * wanted["smape"], sql=2 * wanted["sql"], bias=wanted["bias"] / size)
    cutoff = dates[days - 1].date()
    region_day = spark.createDataFrame(
        [(r, d.date(), float(v), "observed") for r in "abc" for d, v in zip(dates, y[r], strict=True)],
        "region string, date date, target double, status string",
    )
    scale = naive_scale(region_day, spark.createDataFrame([(cutoff,)], "cutoff date"), season)
    rows = test.rename(columns={"unique_id": "region"})[["region", "y", "m", "q10", "q50", "q90"]]
    made = spark.createDataFrame(
        [(row[0], "m", 1, *map(float, row[1:])) for row in rows.itertuples(index=False)],
        "region string, model string, horizon int, y double, y_hat double, q10 double, q50 double, q90 double",
    ).join(scale, "region")
    found = measure(made, QUANTILES, "r", "backtest").where("level = 'region' and horizon = 0").toPandas()
    found = found.pivot(index="region", columns="metric", values="value")
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, err_msg=name)


# Champions -----------------------------------------------------------------------------------------


def test_the_champions_rows_are_there_once_more_under_that_name(spark):
    rows = [("a", "theta", True, 1.0), ("a", "seasonal_naive", False, 2.0), ("b", "seasonal_naive", True, 3.0)]
    frame = spark.createDataFrame(rows, "region string, model string, is_champion boolean, y_hat double")
    both = [tuple(row) for row in with_champion(frame).collect()]
    assert sorted(both) == sorted([*rows, ("a", "champion", True, 1.0), ("b", "champion", True, 3.0)])


def test_forecasts_are_measured_when_their_days_have_come(spark):
    """Region a's first day came, its second did not; b's came but was closed. The scale is the newest cutoff's."""
    days = [FIRST + timedelta(days=k) for k in range(2)]
    made = [(r, m, day, 10.0, m == "theta", FIRST) for r in "ab" for m in ("seasonal_naive", "theta") for day in days]
    schema = "region string, model string, date date, y_hat double, is_champion boolean, as_of date"
    forecasts = spark.createDataFrame(made, schema)
    actual = spark.createDataFrame(
        [("a", days[0], 7.0), ("b", days[0], None)], "region string, date date, target double"
    )
    scales = [("a", days[0], 1.0, 1.0), ("a", days[1], 2.0, 4.0)]
    scale = spark.createDataFrame(scales, "region string, cutoff date, scale double, scale_squared double")
    rows = results.with_actuals(forecasts, actual, scale).select("region", "model", "date", "y", "scale").collect()
    models = ("champion", "seasonal_naive", "theta")
    assert sorted((row[0], row[1]) for row in rows) == [(r, m) for r in "ab" for m in models]
    assert {tuple(row[2:]) for row in rows if row[0] == "a"} == {(days[0], 7.0, 2.0)}
    assert {tuple(row[2:]) for row in rows if row[0] == "b"} == {(days[0], None, None)}


@pytest.mark.parametrize(
    ("champion", "naive", "says"),
    [
        pytest.param(
            0.2, 0.3, "champion WAPE 0.2000, seasonal naive 0.3000 (better); its 80% interval held 75%", id="better"
        ),
        pytest.param(0.3, 0.3, "(NOT better)", id="equal"),
        pytest.param(0.4, 0.3, "(NOT better)", id="worse"),
        pytest.param(None, None, "no back-test day was observed", id="nothing observed"),
    ],
)
def test_the_summary_says_whether_the_champion_beats_the_naive(spark, champion, naive, says):
    schema = "run_id string, source string, level string, horizon int, model string, metric string, value double"
    rows = [
        ("r", "backtest", "all", 0, "champion", "wape", champion),
        ("r", "backtest", "all", 0, "seasonal_naive", "wape", naive),
    ]
    rows = [row for row in rows if row[-1] is not None] + [("r", "backtest", "all", 0, "champion", "coverage_80", 0.75)]
    others = [("s", *rows[0][1:-1], 9.0), ("r", "actuals", *rows[0][2:-1], 9.0), (*rows[0][:3], 1, *rows[0][4:-1], 9.0)]
    assert says in results.describe_errors(spark.createDataFrame(rows + others, schema), "r")
