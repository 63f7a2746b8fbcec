"""The region-by-day table: no gaps, four kinds of days kept apart, and features that know the past only."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from stspark.edges import build_edges
from stspark.errors import ConfigError, InputError
from stspark.features import covariates, history, learning
from stspark.features.build import clean_days
from stspark.features.declared import FEATURES
from stspark.features.panel import daily_totals
from stspark.settings import Backtest, Regions, Settings, Target
from stspark.tables import REGION_DAY, Column

FIRST = date(2024, 1, 1)  # a Monday
LENGTH, SEEDS = 400, 12
CUT = 250  # later days are scrambled
LATE = 30  # first day of every third region
DAILY = "region string, date date, target double, orders bigint, users bigint, views bigint, units double, price double"


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def chosen(kind: str = "events", closed_without_events: bool = False) -> Settings:
    columns = {"events": {"event_time": "t", "region": "r"}, "panel": {"date": "d", "region": "r", "target": "y"}}[kind]
    return Settings.model_validate({
        "dataset": "shop", "source": {"kind": kind, "path": "x", "columns": columns}, "target": {"name": "sales"},
        "models": [{"name": "seasonal_naive"}], "closed": {"days_without_events": closed_without_events},
    })  # fmt: skip


def calendar(spark, regions, last: int, closed=lambda region, number: False):
    """Every region and day, closed where told."""
    rows = [(r, day(k), bool(closed(r, k))) for r in regions for k in range(last + 1)]
    return spark.createDataFrame(rows, "region string, date date, is_closed boolean")


def daily(spark, rows):
    """(region, number of the day, target) as what events add up to."""
    return spark.createDataFrame([(r, day(k), y, 1, 1, 4, y, None) for r, k, y in rows], DAILY)


def in_a_row(*regions: str, neighbours: int) -> pd.DataFrame:
    """Edges of regions that lie on the equator, a degree apart."""
    placed = pd.DataFrame({"region": regions, "lat": 0.0, "lng": range(len(regions))})
    return build_edges(placed.astype({"lng": float}), Regions(neighbours=neighbours)).drop(columns="hops")


def edges(spark, table: pd.DataFrame):
    return spark.createDataFrame(table, "region string, neighbour string, distance_km double, weight double")


def region_day(source, days_known, pairs, last: int, settings: Settings, parents=None):
    """The table from day 0 to `last`."""
    days = clean_days(source, days_known, (FIRST, day(last)), settings)
    return history.add_features(days, pairs, parents)


# Four kinds of days --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kinds(spark):
    """Three weeks of one shop by kind of source: Sundays closed, days 3 and 9 absent, nobody sells on day 12."""

    def days(kind: str, closed_without_events: bool) -> pd.DataFrame:
        absent = {3, 9, 12, 6, 13}  # 6 and 13 are Sundays; Sunday 20 has sales all the same
        rows = [("a", k, float(k)) for k in range(21) if k not in absent]
        rows += [("b", k, 1.0) for k in range(21) if k not in (6, 12, 13)]
        sundays = calendar(spark, "ab", 20, lambda region, number: number % 7 == 6)
        pairs = edges(spark, in_a_row("a", "b", neighbours=1))
        settings = chosen(kind, closed_without_events)
        source = daily(spark, rows) if kind == "events" else daily(spark, rows).select("region", "date", "target")
        made = region_day(source, sundays, pairs, 20, settings).toPandas()
        return made[made["region"] == "a"].sort_values("date", ignore_index=True)

    return {"events": days("events", False), "shop shut": days("events", True), "panel": days("panel", False)}


@pytest.mark.parametrize(
    ("kind", "number", "status", "target", "clean"),
    [
        pytest.param("events", 2, "observed", 2.0, 2.0, id="a day with sales"),
        pytest.param("events", 3, "observed", 0.0, 0.0, id="events: nobody bought on an open day, a true zero"),
        pytest.param("panel", 3, "imputed", None, 2.0, id="panel: not known, filled with the last value"),
        pytest.param("panel", 9, "imputed", None, 2.0, id="panel: filled with the same weekday"),
        pytest.param("events", 12, "observed", 0.0, 0.0, id="events: nobody bought anywhere, still a zero"),
        pytest.param("shop shut", 12, "closed", None, 5.0, id="or closed, where the config says so"),
        pytest.param("shop shut", 3, "observed", 0.0, 0.0, id="but not where another region sold"),
        pytest.param("events", 6, "closed", None, 0.0, id="closed, and always so on that weekday"),
        pytest.param("panel", 13, "closed", None, 0.0, id="closed in a panel"),
        pytest.param("events", 20, "observed", 20.0, 20.0, id="sales on a closed day: it was open after all"),
    ],
)
def test_zero_missing_and_closed_are_kept_apart(kinds, kind, number, status, target, clean):
    row = kinds[kind].iloc[number]
    assert row["status"] == status
    assert pd.isna(row["target"]) if target is None else row["target"] == target
    assert row["target_clean"] == clean


def test_a_true_zero_has_no_orders_and_a_closed_day_has_none_known(kinds):
    days = kinds["events"]
    assert days.loc[3, ["orders", "users", "units"]].tolist() == [0, 0, 0]
    assert days.loc[6, ["orders", "users", "units"]].isna().all()


# Properties over random histories ------------------------------------------------------------------


def random_history(seed: int, kind: str) -> dict[int, float]:
    """Day number -> target of a region with gaps; every third region opens late."""
    rng = np.random.default_rng(seed)
    open_ = rng.random(LENGTH) > 0.2
    start = LATE if seed % 3 == 0 else 0
    values = np.round(rng.gamma(2.0, 10.0, LENGTH), 3)
    found = {k: float(values[k]) for k in range(start, LENGTH) if open_[k] or k in (start, LENGTH - 1)}
    if kind == "scrambled":  # other values and other gaps after the cut
        other = np.random.default_rng(1000 + seed)
        late = {k: float(1e6 * other.random()) for k in range(CUT + 1, LENGTH) if other.random() > 0.5}
        found = {k: y for k, y in found.items() if k <= CUT} | late
    return found


@pytest.fixture(scope="module")
def histories(spark):
    """region_day of SEEDS regions of a panel and, beside them, of the same with scrambled days after CUT."""
    names = {
        f"{kind}-{seed:02d}": random_history(seed, kind) for kind in ("true", "scrambled") for seed in range(SEEDS)
    }
    rows = [(name, k, y) for name, past in names.items() for k, y in past.items()]
    closed = np.random.default_rng(7).random((SEEDS, LENGTH)) < 0.1
    days_known = calendar(spark, names, LENGTH - 1, lambda region, number: closed[int(region[-2:]), number])
    pairs = pd.concat(
        in_a_row(*(f"{kind}-{s:02d}" for s in range(SEEDS)), neighbours=3) for kind in ("true", "scrambled")
    )
    source = daily(spark, rows).select("region", "date", "target")
    made = region_day(source, days_known, edges(spark, pairs), LENGTH - 1, chosen("panel"))
    return made.toPandas().sort_values(["region", "date"], ignore_index=True), pairs


@pytest.fixture(scope="module", params=range(SEEDS))
def region(request, histories):
    days = histories[0]
    return request.param, days[days["region"] == f"true-{request.param:02d}"].reset_index(drop=True)


def test_a_region_has_every_day_from_its_first_to_the_last(region):
    seed, days = region
    start = LATE if seed % 3 == 0 else 0
    assert days["date"].tolist() == [day(k) for k in range(start, LENGTH)]


def test_the_fill_is_the_last_observed_value_of_the_weekday(region):
    """An independent loop: the same weekday's last observed value, else 0 when closed, else the last value."""
    _, days = region
    by_weekday: dict[int, float] = {}
    last = 0.0
    for row in days.itertuples():
        weekday = row.date.weekday()
        if row.status == "observed":
            wanted = last = by_weekday[weekday] = row.target
        else:
            assert np.isnan(row.target)
            wanted = by_weekday.get(weekday, 0.0 if row.status == "closed" else last)
        assert row.target_clean == wanted


def test_lags_and_means_are_those_of_pandas(region):
    _, days = region
    y = days["target_clean"]
    for k in (1, 7, 14, 364):
        pd.testing.assert_series_equal(days[f"lag_{k}"], y.shift(k), check_names=False)
    for name, wanted in {
        "mean_7": y.shift(1).rolling(7, min_periods=1).mean(),
        "mean_28": y.shift(1).rolling(28, min_periods=1).mean(),
        "sd_28": y.shift(1).rolling(28, min_periods=2).std(),
        "min_28": y.shift(1).rolling(28, min_periods=1).min(),
        "max_28": y.shift(1).rolling(28, min_periods=1).max(),
        "zero_share_28": (days["target"] == 0)
        .where(days["target"].notna())
        .astype(float)
        .shift(1)
        .rolling(28, min_periods=1)
        .mean()
        .round(6),
    }.items():
        np.testing.assert_allclose(days[name], wanted, rtol=1e-9, atol=1e-9)


def test_nothing_later_changes_an_earlier_day(histories):
    days = histories[0]
    early = days[days["date"] <= day(CUT)]
    true, scrambled = (
        early[early["region"].str.startswith(kind)].drop(columns="region").reset_index(drop=True)
        for kind in ("true", "scrambled")
    )
    pd.testing.assert_frame_equal(true, scrambled, check_exact=True)
    late = days[days["date"] > day(CUT)]
    assert late.loc[late["region"].str.startswith("scrambled"), "target_clean"].max() > 1e5  # it was scrambled


def test_spatial_lags_are_the_weighted_neighbours_the_day_before(histories):
    days, pairs = histories
    before = days.pivot(index="date", columns="region", values="target_clean").shift(1)
    mean = days.pivot(index="date", columns="region", values="mean_7")
    for name, rows in pairs[pairs["region"].str.startswith("true")].groupby("region"):
        mine = days[days["region"] == name].set_index("date")
        for column, values in (("spatial_lag_1", before), ("spatial_mean_7", mean)):
            theirs = values.loc[mine.index, rows["neighbour"]]
            np.testing.assert_allclose(mine[column], theirs.mean(axis=1), atol=1e-6)  # equal weights; NaN left out


@pytest.mark.parametrize("packs", [1, 2, 5])
def test_packs_hold_whole_regions_in_order(spark, histories, packs):
    rows = histories[0].loc[histories[0]["region"].str.startswith("true"), ["region", "date", "target_clean"]]
    frame = spark.createDataFrame(rows.rename(columns={"target_clean": "y"})).repartition(3)
    spread = learning.in_packs(frame, packs)
    assert spread.rdd.getNumPartitions() == packs
    parts = [[(row["region"], row["date"]) for row in part] for part in spread.rdd.glom().collect()]
    assert all(part == sorted(part) for part in parts)
    regions = [sorted({r for r, _ in part}) for part in parts]
    assert sorted(name for names in regions for name in names) == sorted(rows["region"].unique())


def test_the_first_of_the_packs_are_the_largest(spark):
    names = spark.range(8_000).selectExpr("concat('r', id) as region", "date '2024-01-01' as date", "1.0 as y")
    sizes = [len(part) for part in learning.in_packs(names, 4).rdd.glom().collect()]
    np.testing.assert_allclose(np.array(sizes) / 8_000, np.array([7, 5, 3, 1]) / 16, atol=0.02)


def test_days_since_the_last_sale_count_from_the_last_day_above_zero(region):
    _, days = region
    last: int | None = None
    for number, row in enumerate(days.itertuples()):
        assert np.isnan(row.days_since_sale) if last is None else row.days_since_sale == number - last
        last = number if row.target > 0 else last


# The declared list ---------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.name)
def test_no_feature_reads_further_back_than_it_declares(histories, windowed, feature):
    """From the last days alone it is what it is from the whole history."""
    whole, short = histories[0], windowed[feature.window]
    last = short["date"].max()
    now = whole[(whole["date"] == last) & whole["region"].isin(short["region"])].set_index("region")[feature.name]
    then = short[short["date"] == last].set_index("region")[feature.name]
    if feature.reads != "siblings" and feature.name not in ("users_mean_7", "conversion_28", "price_index"):  # a panel
        assert now.notna().any()
    np.testing.assert_allclose(then, now[then.index], rtol=1e-9)


@pytest.fixture(scope="module")
def windowed(spark, histories):
    """window -> features made from nothing but the last day and the `window` days before it."""
    whole, pairs = histories
    columns = ["region", "date", "target", "target_clean", "orders", "users", "views", "units", "price"]
    schema = "region string, date date, target double, target_clean double, " + (
        "orders bigint, users bigint, views bigint, units double, price double"
    )
    rows = whole[whole["region"].str.startswith("true")].astype(object)
    rows = rows.where(rows.notna(), None)
    made = {}
    for window in sorted({f.window for f in FEATURES}):
        part = rows[rows["date"] >= day(LENGTH - 1 - window)][columns]
        frame = spark.createDataFrame(part.values.tolist(), schema)
        made[window] = history.add_features(frame, edges(spark, pairs)).toPandas()
    return made


def test_every_declared_feature_is_made_and_says_when_it_is_known(histories):
    assert {f.name for f in FEATURES} <= set(histories[0].columns)
    comments = {c.name: c.comment for c in REGION_DAY.columns}
    assert all("as-of: the day before" in comments[f.name] for f in FEATURES)


def test_a_covariate_cannot_take_a_features_name():
    with pytest.raises(ConfigError, match="covariates: 'lag_7': is a column of region_day already"):
        REGION_DAY.with_columns([Column("lag_7", "double", "")])


# Golden cases --------------------------------------------------------------------------------------


def test_spatial_lag_of_three_regions(spark):
    """a and b are there from the start, c opens on day 2; a's neighbours b and c weigh a half each.

    Day 1: only b has a yesterday (20), so it counts whole. Day 3: (b's 22 + c's 100) / 2 = 61.
    Mean over the days before: b's (20 + 21 + 22) / 3 = 21, c's 100: their mean on day 3 is 60.5.
    """
    rows = (
        [("a", k, 10.0 + k) for k in range(4)]
        + [("b", k, 20.0 + k) for k in range(4)]
        + [("c", 2, 100.0), ("c", 3, 7.0)]
    )
    pairs = in_a_row("a", "b", "c", neighbours=2)
    made = region_day(daily(spark, rows), calendar(spark, "abc", 3), edges(spark, pairs), 3, chosen())
    a = made.where("region = 'a'").orderBy("date").toPandas()
    np.testing.assert_allclose(a["spatial_lag_1"], [np.nan, 20.0, 21.0, 61.0])
    np.testing.assert_allclose(a["spatial_mean_7"], [np.nan, 20.0, 20.5, 60.5])
    assert made.where("region = 'c'").count() == 2


def test_features_of_orders_views_prices_and_parents(spark):
    """Two shops of one parent, one day apart in nothing but size.

    Day 2 of a: views 10 + 10, orders 1 + 3: conversion 4 / 20. Users 2 and 4: mean 3. Prices 8 and 12: within a week
    both means are 10: index 1. Clean targets 10 + 30 of a, 20 + 20 of b: a's share of 80 is a half; c has no parent.
    """
    rows = [
        (r, day(k), y, 1 if k == 0 else 3, 2 + 2 * k, 10, y, 8.0 + 4 * k)
        for r, ys in {"a": (10.0, 30.0, 1.0), "b": (20.0, 20.0, 1.0), "c": (5.0, 5.0, 5.0)}.items()
        for k, y in enumerate(ys)
    ]
    parents = spark.createDataFrame([("a", "north"), ("b", "north"), ("c", None)], "region string, parent string")
    pairs = edges(spark, in_a_row("a", "b", neighbours=1))
    source = spark.createDataFrame(rows, DAILY)
    made = region_day(source, calendar(spark, "abc", 2), pairs, 2, chosen(), parents)
    last = made.where(f"date = '{day(2)}'").toPandas().set_index("region")
    assert last.loc["a", ["conversion_28", "users_mean_7", "price_index", "parent_share_28"]].tolist() == [
        0.2,
        3,
        1,
        0.5,
    ]
    assert np.isnan(last.loc["c", "parent_share_28"])


EVENTS = [  # region, date, type, user, order, item, quantity, price, event_id
    ("a", day(0), "order", "u1", "o1", "x", 2.0, 10.0),
    ("a", day(0), "order", "u1", "o1", "y", 1.0, 40.0),  # the same order's second line
    ("a", day(0), "order", "u2", "o2", "x", 1.0, 10.0),
    ("a", day(0), "return", "u3", "o0", "x", -3.0, 10.0),
    ("a", day(0), "view", "u4", None, "x", None, 10.0),
    ("b", day(0), "view", "u1", None, "x", None, 10.0),  # only looked at
    ("c", day(0), "order", None, None, "x", 1.0, None),  # no order ids, no price, nobody
    ("c", day(0), "order", None, None, "x", 1.0, 8.0),
    ("d", day(0), "order", "u1", "o3", "x", 0.0, 8.0),  # an order of nothing
]


@pytest.fixture(scope="module")
def bought(spark):
    rows = [(*row, row[6] and row[7] and row[6] * row[7], f"e{k}") for k, row in enumerate(EVENTS)]
    schema = (
        "region string, date date, event_type string, user_id string, order_id string, item string, quantity double, "
        "price double, amount double, event_id string"
    )
    return spark.createDataFrame(rows, schema)


@pytest.mark.parametrize(
    ("measure", "types", "targets"),
    [
        # a: 2 x 10 + 40 + 10 - 3 x 10 = 40; pieces 2 + 1 + 1 - 3 = 1
        pytest.param("amount", ("order", "return"), {"a": 40.0, "b": 0.0, "c": 8.0, "d": 0.0}, id="amount, net"),
        pytest.param("amount", ("order",), {"a": 70.0, "b": 0.0, "c": 8.0, "d": 0.0}, id="amount, gross"),
        pytest.param("units", ("order", "return"), {"a": 1.0, "b": 0.0, "c": 2.0, "d": 0.0}, id="units"),
        pytest.param("orders", ("order", "return"), {"a": 2.0, "b": 0.0, "c": 2.0, "d": 1.0}, id="orders"),
        pytest.param("users", ("order", "return"), {"a": 4.0, "b": 1.0, "c": 0.0, "d": 1.0}, id="users, of any event"),
        pytest.param("events", ("view",), {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0}, id="views"),
    ],
)
def test_a_days_target_is_what_the_config_measures(bought, measure, types, targets):
    totals = daily_totals(bought, Target(name="t", measure=measure, event_types=types))
    assert {row["region"]: row["target"] for row in totals.select("region", "target").collect()} == targets


@pytest.mark.parametrize(
    ("region", "price"),
    [
        # pieces ordered: 2 at 10, 1 at 40, 1 at 10: 70 / 4
        pytest.param("a", 17.5, id="mean over pieces ordered"),
        pytest.param("b", None, id="nothing ordered"),
        pytest.param("c", 8.0, id="a piece without a price does not count"),
        pytest.param("d", None, id="an order of nothing has no price"),
    ],
)
def test_the_price_of_a_day_is_the_mean_of_its_pieces(bought, region, price):
    row = daily_totals(bought.where(f"region = '{region}'"), Target(name="t")).first()
    assert row["price"] == price


# Covariates of a panel -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def covered(spark, tmp_path_factory):
    """A panel with a covariate known ahead (its own, and a file for the coming days) and two known afterwards."""
    folder = tmp_path_factory.mktemp("covariates")
    (folder / "coming.csv").write_text(f"shop,day,deal\na,{day(1)},9\na,{day(3)},4\n")
    (folder / "rain.csv").write_text(f"region,date,mm\na,{day(0)},1.5\n")
    settings = Settings.model_validate({
        "dataset": "shop", "target": {"name": "sales"}, "models": [{"name": "seasonal_naive"}],
        "source": {"kind": "panel", "path": "x", "columns": {"date": "day", "region": "shop", "target": "y"}},
        "covariates": [
            {"name": "promo", "known": "future", "column": "deal", "file": str(folder / "coming.csv"), "fill": -1},
            {"name": "visits", "known": "past"},
            {"name": "rain", "known": "past", "column": "mm", "file": str(folder / "rain.csv")},
        ],
    })  # fmt: skip
    rows = [("a", day(0), 5.0, 7.0), ("a", day(1), 6.0, None), ("a", day(2), None, 8.0)]
    panel = spark.createDataFrame(rows, "region string, date date, promo double, visits double")
    grid = spark.createDataFrame([("a", day(k)) for k in range(5)], "region string, date date")
    known = covariates.add_known_future(grid, panel, settings)
    past = covariates.add_past_only(grid.where(f"date <= '{day(2)}'"), panel, settings)
    return known.orderBy("date").toPandas(), past.orderBy("date").toPandas()


def test_a_covariates_file_without_a_region_of_the_data_is_refused(spark, tmp_path):
    (tmp_path / "deals.csv").write_text(f"region,date,deal\nA,{day(1)},9\n")
    days = spark.createDataFrame([("a", day(k)) for k in range(3)], "region string, date date")
    deal = {"name": "deal", "known": "future", "file": str(tmp_path / "deals.csv")}
    settings = Settings.model_validate({
        "dataset": "shop", "source": {"kind": "events", "path": "x", "columns": {"event_time": "t", "region": "r"}},
        "models": [{"name": "seasonal_naive"}], "target": {"name": "sales"}, "covariates": [deal],
    })  # fmt: skip
    with pytest.raises(InputError) as caught:
        covariates.read_covariate(days, settings.covariates[0], settings)
    for word in ("deals.csv", "'A' is no region", "write the regions"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("values", "gap"),
    [
        pytest.param([1.0, 2.0, 3.0, None, None], None, id="all that is asked for"),
        pytest.param([1.0, None, 3.0, 4.0, 5.0], 1, id="a hole in the past"),
        pytest.param([1.0, 2.0, None, 4.0, 5.0], 2, id="the day ahead"),
    ],
)
def test_a_covariate_without_fill_is_known_for_every_day_up_to_the_horizon(spark, values, gap):
    """Two days of data, horizon 1: the calendar goes on for two days, the last of them may be unknown."""
    days = [("a", day(k), value) for k, value in enumerate(values[:4])]
    calendar = spark.createDataFrame(days, "region string, date date, promo double")
    if gap is None:
        covariates.require_values(calendar, ["promo"], horizon=1)
        return
    with pytest.raises(InputError) as caught:
        covariates.require_values(calendar, ["promo"], horizon=1)
    for words in ("covariates: 'promo'", "region a", str(day(gap)), "set `fill`"):
        assert words in str(caught.value)


def test_what_is_known_ahead_comes_from_the_panel_then_the_file_then_the_fill(covered):
    assert covered[0]["promo"].tolist() == [5.0, 6.0, -1.0, 4.0, -1.0]
    assert list(covered[0].columns) == ["region", "date", "promo"]  # nothing past-only ahead


def test_what_is_known_afterwards_is_null_where_it_was_not_seen(covered):
    past = covered[1].astype(object).where(covered[1].notna(), None)
    assert past["visits"].tolist() == [7.0, None, 8.0]
    assert past["rain"].tolist() == [1.5, None, None]


# The frame that models learn from ------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned(spark):
    """Two regions with 21 days, `b` from day 10; promotions known for two weeks more; as of the last day and later."""
    rows = [("a", day(k), float(k), "observed") for k in range(21)] + [
        ("b", day(k), 1.0, "observed") for k in range(10, 21)
    ]
    past = spark.createDataFrame(rows, "region string, date date, target_clean double, status string")
    ahead = [(r, day(k), False, 0.0, None, k / 100) for r in "ab" for k in range(35)]
    schema = "region string, date date, is_closed boolean, holiday double, holiday_name string, promo double"
    known = spark.createDataFrame(ahead, schema)

    def frame(number: int) -> pd.DataFrame:
        made = learning.learning_frame(past, known, day(number), 7).toPandas()
        return made.sort_values(["region", "date"], ignore_index=True)

    return frame


@pytest.mark.parametrize("number", [20, 15, 9])
def test_the_learning_frame_ends_a_horizon_after_the_as_of_day(learned, number):
    frame = learned(number)
    a = frame[frame["region"] == "a"]
    assert a["date"].tolist() == [day(k) for k in range(number + 8)]
    assert a["y"].tolist()[: number + 1] == [float(k) for k in range(number + 1)]
    assert a["y"].iloc[number + 1 :].isna().all()
    assert a["observed"].tolist() == [k <= number for k in range(number + 8)]
    assert a["promo"].tolist() == [k / 100 for k in range(number + 8)]
    b = frame[frame["region"] == "b"]
    assert b["date"].tolist() == ([] if number < 10 else [day(k) for k in range(10, number + 8)])


def test_days_between_the_data_and_the_as_of_day_repeat_their_weekday_and_are_not_observed(learned):
    a = learned(24).query("region == 'a'").reset_index(drop=True)
    assert a["y"].tolist()[21:25] == [14.0, 15.0, 16.0, 17.0]
    assert a["observed"].tolist()[18:25] == [True] * 3 + [False] * 4


def test_cutoffs_roll_back_from_the_as_of_day():
    as_of = date(2024, 3, 3)
    # the last forecast of 7 days ends on the as-of day: 3 March - 7 days = 25 February, the leap day between
    assert learning.cutoffs(as_of, Backtest(windows=3, step=3), 7) == [
        date(2024, 2, 19),
        date(2024, 2, 22),
        date(2024, 2, 25),
    ]
    assert learning.cutoffs(as_of, Backtest(windows=1), 7) == [date(2024, 2, 25)]
    assert learning.cutoffs(as_of, Backtest(windows=1, gap=3), 7) == [date(2024, 2, 22)]
    from_first = Backtest(first=date(2024, 2, 10), step=7)
    assert learning.cutoffs(as_of, from_first, 7) == [date(2024, 2, 10), date(2024, 2, 17), date(2024, 2, 24)]
    with pytest.raises(
        ConfigError, match=r"backtest\.first: 2024-02-26 lies after the last possible cutoff 2024-02-25"
    ):
        learning.cutoffs(as_of, Backtest(first=date(2024, 2, 26)), 7)


@pytest.mark.parametrize(("days", "enough"), [(7, False), (8, True)])
def test_more_than_a_season_is_needed(spark, days, enough):
    rows = [("a", day(k), "observed") for k in range(days)] + [("a", day(days), "missing"), ("b", day(0), "observed")]
    frame = spark.createDataFrame(rows, "region string, date date, status string")
    if enough:
        learning.require_enough(frame, day(30), 7)
    else:
        with pytest.raises(InputError, match=r"7 observed days up to .* are not more than one season of 7 days"):
            learning.require_enough(frame, day(30), 7)
