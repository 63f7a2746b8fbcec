"""Cold start in a run: a young and an announced region are forecast, marked, summed, explained; and the tables."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date, timedelta

import pandas as pd
import pytest
from conftest import run_job
from pydantic import ValidationError

from stspark import recipe
from stspark.errors import ConfigError, InputError
from stspark.features import build, covariates, incremental, learning
from stspark.settings import Settings

YOUNG, ANNOUNCED = "wuhan", "ningbo"
DAYS = 11
"""Days that the young region has had."""


@pytest.fixture(scope="module")
def started(small_run, tmp_path_factory):
    """The small shop, as of some days after a region opened, with one more that opens the day after."""
    home = tmp_path_factory.mktemp("cold")
    shutil.copytree(small_run.home, home / "warehouse/small", ignore=shutil.ignore_patterns("_models"))
    listed = (small_run.shop / "regions.csv").read_text()
    (home / "regions.csv").write_text(listed + "ningbo,Ningbo,CN,29.87,121.54,Asia/Shanghai,sea\n")
    truth = json.loads((small_run.shop / "truth/parameters.json").read_text())["late"]
    as_of = date.fromisoformat(truth["opening_date"]) + timedelta(days=DAYS - 1)
    changes = {
        "regions.file": home / "regions.csv",
        "regions.opening": f"[{ANNOUNCED}]",
        "models": "[{name: seasonal_naive}, {name: theta}, {name: stv, second: orders}, {name: borrowed}]",
        "warehouse": home / "warehouse",
        "reports": home / "reports",
    }
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    arguments = (*small_run.arguments, *sets, "--as-of", str(as_of))
    ran = [run_job(name, *arguments) for name in ("features", "train", "forecast", "reconcile", "explain", "evaluate")]
    assert [step.code for step in ran] == [0] * 6, "\n".join(step.err for step in ran)

    def table(name: str) -> pd.DataFrame:
        rows = small_run.spark.read.format("delta").load(str(home / "warehouse/small" / name)).toPandas()
        return rows[rows["run_id"] == ran[1].run_id].reset_index(drop=True)

    assert re.search(rf"^ +borrowed +{ANNOUNCED}, {YOUNG}$", ran[2].out, re.M)
    assert "no forecast" not in ran[2].out
    report = next((home / "reports").rglob("index.html"))
    return table, as_of, report


def test_young_and_announced_regions_are_champions_of_what_they_borrow(started):
    table, as_of, _ = started
    forecasts = table("forecasts")
    champions = forecasts[forecasts["is_champion"]]
    assert set(champions.loc[champions["model"] == "borrowed", "region"]) == {YOUNG, ANNOUNCED}
    assert set(forecasts.loc[forecasts["model"] == "borrowed", "region"]) == {YOUNG, ANNOUNCED}
    days = [as_of + timedelta(days=k) for k in range(1, 8)]
    for region, rows in champions.groupby("region"):
        assert sorted(rows["date"]) == days, region
    assert (champions["y_hat"] >= 0).all()
    assert set(forecasts.loc[forecasts["region"] == ANNOUNCED, "model"]) == {"borrowed"}


def test_the_models_table_says_from_whom_and_how_much(started):
    models = started[0]("models")
    row = models[models["model"] == "borrowed"].iloc[0]
    told = json.loads(row["parameters"])["regions"]
    assert (row["region"], row["status"]) == ("*", "ok")
    assert {region: facts["days"] for region, facts in told.items()} == {YOUNG: DAYS, ANNOUNCED: 0}
    assert told[ANNOUNCED]["borrowed_share"] == 1.0
    assert sum(told[YOUNG]["donors"].values()) == pytest.approx(1.0, abs=1e-3)
    assert told[YOUNG]["other_donors"] == 0
    assert told[YOUNG]["from"] in ("neighbours", "parent", "alike", "all", "blend")
    assert YOUNG not in told[ANNOUNCED]["donors"]
    assert set(models.loc[models["region"] == ANNOUNCED, "model"]) == {"combination"}  # its choice, no failed fits


def test_back_tests_of_other_regions_hold_no_borrowed_rows(started):
    backtests = started[0]("backtests")
    assert set(backtests.loc[backtests["model"] == "borrowed", "region"]) == {YOUNG}
    assert ANNOUNCED not in set(backtests["region"])


def test_sums_hold_the_announced_region_and_are_back_tested(started):
    levels = started[0]("forecast_levels")
    whole = levels[levels["horizon"] == 0].set_index("node")["y_hat"]
    assert whole["sea"] == pytest.approx(whole[ANNOUNCED])  # alone under a parent without any past
    parents = levels[(levels["horizon"] == 0) & (levels["level"] == "parent")].set_index("node")["y_hat"]
    assert whole["*"] == pytest.approx(parents.sum())
    tested = started[0]("backtest_levels")
    assert tested.loc[(tested["level"] == "total") & (tested["horizon"] > 0), "y"].notna().any()


def test_the_report_says_so(started):
    text = started[2].read_text()
    assert "2 regions (Wuhan and Ningbo) have little history or none: level and shape are borrowed from others." in text


def test_what_is_borrowed_is_a_component_of_its_own(started):
    parts, forecasts = started[0]("explanations"), started[0]("forecasts")
    for region in (YOUNG, ANNOUNCED):
        mine = parts[parts["region"] == region]
        assert "borrowed" in set(mine["component"])
        path = forecasts[(forecasts["region"] == region) & forecasts["is_champion"]].set_index("date")["y_hat"]
        pd.testing.assert_series_equal(mine.groupby("date")["value"].sum(), path.sort_index(), check_names=False)


# Tables --------------------------------------------------------------------------------------------


def day(k: int) -> date:
    return date(2024, 1, 1) + timedelta(days=k)


def test_an_announced_region_has_learning_rows_for_the_days_ahead_only(spark):
    past = [("a", day(k), 1.0, "observed") for k in range(10)] + [("late", day(8), 1.0, "observed")]
    past = spark.createDataFrame(past, "region string, date date, target_clean double, status string")
    known = [(region, day(k), False, None, 0.0) for region in ("a", "late", "new") for k in range(20)]
    known = spark.createDataFrame(
        known, "region string, date date, is_closed boolean, holiday_name string, holiday double"
    )
    rows = learning.learning_frame(past, known, day(6), 3, ("new",)).toPandas()
    assert sorted(rows.loc[rows["region"] == "new", "date"]) == [day(7), day(8), day(9)]
    assert rows.loc[rows["region"] == "new", "y"].isna().all()
    assert "late" not in set(rows["region"])  # not announced, so nothing is known of it
    assert set(learning.learning_frame(past, known, day(6), 3).toPandas()["region"]) == {"a"}


def test_an_announced_region_does_not_ask_for_a_full_build(spark):
    region_day = spark.createDataFrame([("a", day(0)), ("a", day(1))], "region string, date date")
    assert incremental.as_it_stands(region_day, ["a", "new"]).regions == {"a", "new"}
    assert incremental.as_it_stands(region_day, ["a", "new"], ("new", "a")).regions == {"a"}


def test_an_announced_region_needs_known_values_for_the_days_ahead_only(spark):
    rows = [("a", day(k), 1.0) for k in range(10)] + [("new", day(k), None if k < 6 else 1.0) for k in range(10)]
    calendar = spark.createDataFrame(rows, "region string, date date, promo double")
    covariates.require_values(calendar, ["promo"], 2, ("new",))
    with pytest.raises(InputError, match="no value for region new on 2024-01-01"):
        covariates.require_values(calendar, ["promo"], 2)
    lost = calendar.where(f"region = 'a' or date <> '{day(7)}'").unionByName(
        spark.createDataFrame([("new", day(7), None)], "region string, date date, promo double")
    )
    with pytest.raises(InputError, match="no value for region new on 2024-01-08"):
        covariates.require_values(lost, ["promo"], 2, ("new",))


def test_an_announced_region_must_be_in_the_file(spark, tmp_path):
    file = tmp_path / "regions.csv"
    file.write_text("region,lat,lng\na,1,2\n")
    daily = spark.createDataFrame([("a", day(0))], "region string, date date")
    base = {
        "dataset": "x",
        "source": {"kind": "panel", "path": "p", "columns": {"date": "d", "region": "r", "target": "t"}},
        "target": {"name": "t"},
        "models": [{"name": "seasonal_naive"}, {"name": "borrowed"}],
    }
    for regions, where in (({"file": str(file)}, str(file)), ({}, "regions.file, which is not set")):
        settings = Settings.model_validate(base | {"regions": regions | {"opening": ["b"]}})
        with pytest.raises(ConfigError, match="opening") as error:
            build.build_regions(daily, settings)
        assert f"'b' is no region of {where}" in str(error.value)
    with pytest.raises(ValidationError, match="no model is for that"):
        Settings.model_validate(base | {"regions": {"opening": ["b"]}, "models": [{"name": "seasonal_naive"}]})
    plain, announced = ({"file": str(file)}, {"file": str(file), "opening": ["b"]})
    cleaned = [recipe.cleaning(Settings.model_validate(base | {"regions": r}), "k") for r in (plain, announced)]
    assert cleaned[0] == cleaned[1]  # raw rows are not cleaned anew because a region is announced
