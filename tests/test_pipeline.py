"""The whole pipeline on a small shop: the contract's tables, twice the same, and what was planted is found."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from conftest import SHOP, SmallRun, run_job

from stspark.config_file import load_settings
from stspark.simulate.demand import DROP_FACTOR, PROMOTION_ELASTICITY, WEEKDAY_LOG
from stspark.simulate.occasions import HOLIDAY_LOG_LIFT
from stspark.store import Store
from stspark.tables import for_settings

REGIONS = ("beijing", "chengdu", "guangzhou", "hangzhou", "shanghai", "wuhan")
LATE, EAST = "wuhan", ("hangzhou", "shanghai")
REGIONAL = ("seasonal_naive", "auto_ets", "theta", "test_fleet:Broken", "prophet")
GLOBAL = ("stcnn", "stv", "panel:test_panel_models:Unlucky")
ALL_MODELS = (*REGIONAL, *GLOBAL, "combination")
BROKEN = ["test_fleet:Broken", "panel:test_panel_models:Unlucky"]
AS_OF = SHOP["end"]
CUTOFFS = [AS_OF - timedelta(days=7 * k) for k in (3, 2, 1)]
"""The first one only warms up."""
DECILES = ["q2_5", *(f"q{k}0" for k in range(1, 10)), "q97_5"]
CONTRACT = {
    "events": "event_id event_time date region event_type user_id item category quantity price amount source_file "
    "ingest_id",
    "events_rejected": "reason column raw_text source_file line ingest_id",
    "regions": "region lat lng timezone parent position",
    "region_edges": "region neighbour weight",
    "region_day": "region date target status target_clean orders users units price promotion holiday lag_7 mean_28 "
    "spatial_lag_1",
    "backtest_windows": "run_id cutoff region date model horizon y_hat fallback_used " + " ".join(DECILES),
    "backtests": "run_id cutoff region date model y y_hat is_champion warm_up " + " ".join(DECILES),
    "models": "run_id region model status error fallback_used fit_seconds parameters artefact",
    "forecasts": "run_id region date model horizon y_hat is_champion " + " ".join(DECILES),
    "forecast_levels": "run_id as_of level node parent date horizon method y_base y_hat " + " ".join(DECILES),
    "backtest_levels": "run_id cutoff level node date horizon model y y_hat " + " ".join(DECILES),
    "metrics": "run_id region model horizon metric value n",
    "runs": "run_id config as_of code_version data_version tables_read tables_written status seconds_train",
}


def table(run: SmallRun, name: str) -> pd.DataFrame:
    frame = run.table(name)
    for column in ("date", "cutoff", "as_of"):
        if column in frame:
            frame[column] = pd.to_datetime(frame[column]).dt.date
    return frame


@pytest.fixture(scope="module")
def tables(small_run):
    """The run's tables as they were before any other job touched them."""
    assert small_run.ran.code == 0, small_run.ran.err
    return {name: table(small_run, name) for name in (*CONTRACT, "calendar", "ingested_files") if name != "events"}


@pytest.fixture(scope="module")
def truth(small_run):
    return json.loads((small_run.shop / "truth/parameters.json").read_text())


# How it ends ---------------------------------------------------------------------------------------


def test_it_ends_well_and_says_what_it_did(small_run):
    ran = small_run.ran
    assert ran.code == 0
    assert ran.out.startswith("pipeline small: ok\n")
    facts = dict(re.findall(r"^  (\S.*?)  +(\S.*)$", ran.out, re.M))
    read, kept, rejected, twice = (int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", facts["rows"]))
    assert read == kept + rejected + twice
    assert facts["regions"] == f"6, {SHOP['start']} to {SHOP['end']}"
    assert facts["models"] == "7 failed, 32 ok"
    assert facts["forecasts"] == "6 regions, 2025-07-01 to 2025-07-07"
    assert re.fullmatch(
        r"champion WAPE 0\.\d{4}, seasonal naive 0\.\d{4} \(better\); its 80% interval held \d+%", facts["error"]
    )
    assert re.fullmatch(", ".join(f"{step} \\d+" for step in STEPS), facts["seconds"])
    assert facts["tables"] == str(small_run.home)
    assert facts["mlflow run"]
    assert "Traceback" not in ran.err


def test_the_report_is_one_file_of_its_own(small_run):
    pages = list((small_run.reports / "small" / small_run.ran.run_id).rglob("*"))
    assert pages == [small_run.reports / "small" / small_run.ran.run_id / "index.html"]
    page = pages[0].read_text(encoding="utf-8")
    assert "Shanghai" in page
    assert not re.search(r'(?:src|href)="https?://', page)


@pytest.mark.parametrize("name", CONTRACT)
def test_a_table_of_the_contract_has_its_columns(small_run, name):
    assert set(CONTRACT[name].split()) <= set(
        small_run.spark.read.format("delta").load(str(small_run.home / name)).columns
    )


def test_nothing_is_left_of_what_was_staged(small_run):
    assert list(small_run.home.glob("_staging/*")) == []


# Cleaning ------------------------------------------------------------------------------------------


def test_rows_are_kept_rejected_or_duplicates_in_every_file(tables):
    counts = tables["ingested_files"]
    assert (counts["rows_read"] == counts["rows_kept"] + counts["rows_rejected"] + counts["rows_duplicate"]).all()


def test_the_planted_dirt_is_found_file_by_file(small_run, tables):
    planted, found = Counter(), Counter()
    with (small_run.shop / "truth/dirty.csv").open() as file:
        for row in csv.DictReader(file):
            planted[row["file"], row["expected_reason"]] += int(row["count"])
    for row in tables["events_rejected"].itertuples():
        found[row.source_file, row.reason] += 1
    for row in tables["ingested_files"].itertuples():
        found[row.source_file, "duplicate"] += row.rows_duplicate
    assert +found == Counter({key: n for key, n in planted.items() if key[1] != "kept"})


def test_rejected_rows_name_the_column_at_fault(tables):
    columns = tables["events_rejected"].groupby("reason")["column"].agg(lambda c: set(c.fillna("")))
    assert columns.to_dict() == {
        "bad_number": {"quantity", "price"}, "bad_time": {"event_time"}, "event_type_known": {"event_type"},
        "malformed_row": {""}, "missing_value": {"event_time", "event_type", "region"}, "out_of_time": {"event_time"},
        "price_range": {"price"}, "quantity_range": {"quantity"}, "unknown_region": {"region"},
    }  # fmt: skip


def recount(run: SmallRun) -> dict[tuple[str, date], float]:
    """Net units by region and local day, counted from the raw files in plain Python."""
    units: dict[tuple[str, date], float] = defaultdict(float)
    seen: set[str] = set()
    for path in sorted((run.shop / "events").iterdir()):
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                if None in row or None in row.values():
                    continue  # too many or too few fields
                region, kind = row["region"].strip(), row["event_type"].lower()
                try:
                    time = datetime.fromisoformat(row["event_time"])
                    quantity, price = float(row["quantity"] or "nan"), float(row["price"])
                except ValueError:
                    continue
                local = time + timedelta(hours=8)
                sound = (
                    region in REGIONS and 0 <= price <= 10_000 and 1 <= quantity <= 1000 and kind in ("order", "return")
                )
                if not sound or row["event_id"] in seen or not SHOP["start"] <= local.date() <= SHOP["end"]:
                    continue
                seen.add(row["event_id"])
                units[region, local.date()] += quantity if kind == "order" else -quantity
    return units


def test_every_days_target_is_what_the_files_add_up_to(small_run, tables):
    counted = recount(small_run)
    days = tables["region_day"]
    observed = days[days["status"] == "observed"]
    assert {
        (r, d): y for r, d, y in zip(observed["region"], observed["date"], observed["target"], strict=True) if y
    } == {key: n for key, n in counted.items() if n}
    assert days["target"].sum() == sum(counted.values())


def test_user_ids_are_nowhere_in_clear(small_run):
    events = small_run.spark.read.format("delta").load(str(small_run.home / "events"))
    texts = [f.name for f in events.schema if f.dataType.simpleString() == "string"]
    # the simulator's users are u00000 to u19999
    clear = " or ".join(f"`{name}` rlike 'u[0-9]{{5}}'" for name in texts)
    assert events.where(clear).count() == 0
    assert events.where("user_id rlike '^[0-9a-f]{32}$'").count() == events.where("user_id is not null").count() > 0


# The region-by-day table ---------------------------------------------------------------------------


def test_region_day_has_no_gaps(tables, truth):
    opening = date.fromisoformat(truth["late"]["opening_date"])
    assert truth["late"]["region"] == LATE
    for region, days in tables["region_day"].groupby("region"):
        first = opening if region == LATE else SHOP["start"]
        assert sorted(days["date"]) == [first + timedelta(days=k) for k in range((AS_OF - first).days + 1)]


def test_closed_days_are_those_of_the_simulation(small_run, tables):
    listed = pd.read_csv(small_run.shop / "closures.csv")
    known = {
        (r, d) for r, d in zip(listed["region"], pd.to_datetime(listed["date"]).dt.date, strict=True) if d <= AS_OF
    }
    days = tables["region_day"]
    closed = days[days["status"] == "closed"]
    assert set(zip(closed["region"], closed["date"], strict=True)) == known
    assert closed["target"].isna().all()
    assert set(days["status"]) == {"observed", "closed"}
    assert days["target_clean"].notna().all()


def test_promotions_are_known_on_every_day_and_ahead(small_run, tables):
    listed = pd.read_csv(small_run.shop / "promotions.csv")
    ahead = tables["calendar"]
    assert ahead["date"].max() == AS_OF + timedelta(days=14)
    found = {(r, str(d)): p for r, d, p in zip(ahead["region"], ahead["date"], ahead["promotion"], strict=True) if p}
    assert found == {(r, d): p for r, d, p in listed.itertuples(index=False) if d <= str(AS_OF + timedelta(days=14))}


# Models and forecasts ------------------------------------------------------------------------------


def test_every_region_and_model_has_its_row(tables):
    models = tables["models"]
    assert sorted(zip(models["region"], models["model"], strict=True)) == sorted(
        [(region, model) for region in REGIONS for model in (*REGIONAL, "combination")]
        + [("*", model) for model in GLOBAL]
    )
    broken = models["model"].isin(BROKEN)
    assert set(models.loc[broken, "status"]) == {"failed"}
    assert models.loc[broken, "error"].str.startswith("RuntimeError('no luck today')").all()
    assert set(models.loc[broken, "fallback_used"]) == {"seasonal_naive"}
    assert models.loc[broken, "artefact"].isna().all()
    assert set(models.loc[~broken, "status"]) == {"ok"}
    assert models.loc[~broken, ["error", "fallback_used"]].isna().all(axis=None)
    assert models.loc[~broken, ["parameters", "artefact"]].notna().all(axis=None)
    assert models["fit_seconds"].gt(0).all()


def test_every_region_day_and_model_is_forecast_once(tables):
    rows = tables["forecasts"]
    days = [AS_OF + timedelta(days=k) for k in range(1, 8)]
    wanted = [(region, day, model) for region in REGIONS for day in days for model in ALL_MODELS]
    assert sorted(zip(rows["region"], rows["date"], rows["model"], strict=True)) == sorted(wanted)
    assert rows["horizon"].tolist() == [(day - AS_OF).days for day in rows["date"]]
    assert set(rows["as_of"]) == {AS_OF}


@pytest.mark.parametrize("name", ["forecasts", "backtests"])
def test_quantiles_rise_and_no_count_is_negative(tables, name):
    values = tables[name][["y_hat", *DECILES]]
    assert values.notna().all(axis=None)
    assert (np.diff(values[DECILES].to_numpy(), axis=1) >= 0).all()
    assert (values >= 0).all(axis=None)


def test_closed_days_ahead_are_forecast_zero(tables):
    known = tables["calendar"].query("is_closed")[["region", "date"]]
    for name in ("forecasts", "backtests"):
        closed = tables[name].merge(known, on=["region", "date"])
        assert len(closed) > 0  # a region that closes on Mondays
        assert (closed[["y_hat", *DECILES]] == 0).all(axis=None)


def test_each_region_has_one_champion_that_made_its_own_back_tests(tables):
    rows = tables["forecasts"]
    champions = rows[rows["is_champion"]]
    assert sorted(zip(champions["region"], champions["horizon"], strict=True)) == [
        (r, k) for r in REGIONS for k in range(1, 8)
    ]
    assert all(len(models) == 1 for models in champions.groupby("region")["model"].unique())
    assert champions["fallback_used"].isna().all()
    marked = tables["backtests"].query("is_champion")
    assert not marked.duplicated(["cutoff", "region", "date"]).any()
    assert len(marked) == len(CUTOFFS) * len(REGIONS) * 7
    assert set(marked.loc[marked["cutoff"] == CUTOFFS[0], "model"]) == {"seasonal_naive"}  # nothing was known yet


def test_the_combinations_weights_can_be_read(tables):
    rows = tables["models"].query("model == 'combination'").set_index("region")["parameters"].map(json.loads)
    chosen = tables["forecasts"].query("is_champion").groupby("region")["model"].first()
    for region, parameters in rows.items():
        assert sum(parameters["weights"].values()) == pytest.approx(1, abs=0.01)
        assert not {*BROKEN} & {*parameters["weights"]}
        assert parameters["champion"] == chosen[region]
        assert parameters["windows"] == len(CUTOFFS)


def test_the_combination_is_the_weighted_mean_of_what_the_models_said(tables):
    rows = tables["forecasts"].pivot(index=["region", "date"], columns="model", values="y_hat")
    weights = tables["models"].query("model == 'combination'").set_index("region")["parameters"].map(json.loads)
    for (region, _), row in rows.iterrows():
        mean = sum(w * row[m] for m, w in weights[region]["weights"].items())
        assert row["combination"] == pytest.approx(mean, rel=2e-3, abs=0.1)


def test_a_stand_in_has_the_naives_point_forecasts_and_says_so(tables):
    for name, keys in (("forecasts", ["region", "date"]), ("backtests", ["cutoff", "region", "date"])):
        rows = tables[name].set_index(keys).sort_index()
        broken, other, naive = (rows[rows["model"] == model] for model in (*BROKEN, "seasonal_naive"))
        for stand_in in (broken, other):
            pd.testing.assert_series_equal(stand_in["y_hat"], naive["y_hat"])
            assert set(stand_in["fallback_used"]) == {"seasonal_naive"}
        assert rows.loc[~rows["model"].isin(BROKEN), "fallback_used"].isna().all()


def test_back_tests_show_what_came(tables):
    rows, days = tables["backtests"], tables["region_day"]
    assert rows.groupby("warm_up")["cutoff"].unique().map(set).to_dict() == {True: {CUTOFFS[0]}, False: {*CUTOFFS[1:]}}
    assert len(rows) == len(CUTOFFS) * 7 * len(REGIONS) * len(ALL_MODELS)
    assert sorted(set(rows["cutoff"])) == CUTOFFS
    assert [(d - c).days for d, c in zip(rows["date"], rows["cutoff"], strict=True)] == rows["horizon"].tolist()
    joined = rows.merge(days[["region", "date", "target", "status"]], on=["region", "date"], suffixes=("", "_day"))
    pd.testing.assert_series_equal(joined["y"], joined["target"], check_names=False)
    assert (joined["status"] == joined["status_day"]).all()


def test_the_naive_is_the_value_of_a_week_before(tables):
    days = tables["region_day"].set_index(["region", "date"])["target_clean"]
    closed = tables["calendar"].set_index(["region", "date"])["is_closed"]
    for row in tables["backtests"].query("model == 'seasonal_naive'").itertuples():
        wanted = 0.0 if closed[row.region, row.date] else max(days[row.region, row.date - timedelta(days=7)], 0.0)
        assert row.y_hat == wanted


def test_metrics_are_those_of_the_back_tests(tables):
    rows = tables["backtests"].query("not warm_up").dropna(subset=["y"])
    found = (
        tables["metrics"]
        .query("source == 'backtest' and horizon == 0")
        .set_index(["region", "model", "metric"])["value"]
    )
    for model, mine in rows.groupby("model"):
        error = (mine["y"] - mine["y_hat"]).abs()
        assert found["*", model, "wape"] == pytest.approx(error.sum() / mine["y"].abs().sum())
        assert found["*", model, "mae"] == pytest.approx(error.mean())
        inside = (mine["q10"] <= mine["y"]) & (mine["y"] <= mine["q90"])
        assert found["*", model, "coverage_80"] == pytest.approx(inside.mean())
        theirs = mine[mine["region"] == "shanghai"]
        assert found["shanghai", model, "wape"] == pytest.approx(
            (theirs["y"] - theirs["y_hat"]).abs().sum() / theirs["y"].sum()
        )
    assert ("*", "champion", "wape") in found.index
    assert found["*", "champion", "wape"] < found["*", "seasonal_naive", "wape"]
    assert set(tables["metrics"]["source"]) == {"backtest", "raw"}  # no forecast's day has come


def test_the_run_is_written_down(small_run, tables):
    (row,) = tables["runs"].to_dict("records")
    assert (row["run_id"], row["as_of"], row["status"]) == (small_run.ran.run_id, AS_OF, "ok")
    assert json.loads(row["config"])["dataset"] == "small"
    assert {part.split("@")[0] for part in row["tables_written"].split(", ")} >= {
        "events",
        "region_day",
        "forecasts",
        "metrics",
    }
    assert all(row[f"seconds_{step}"] > 0 for step in STEPS)
    assert row["report"].endswith("index.html")


@pytest.fixture(scope="module")
def registered(small_run):
    """Name of the database that the tables and the view are registered in."""
    overrides = [argument for argument in small_run.arguments if "=" in argument]
    settings = load_settings(small_run.arguments[1], overrides)
    Store(small_run.spark, str(small_run.home), for_settings(settings)).register()
    yield "small"
    small_run.spark.sql("drop database small cascade")


def test_forecast_latest_is_the_champions(small_run, tables, registered):
    found = small_run.spark.sql(f"select region, date, y_hat, q10, q90 from {registered}.forecast_latest").toPandas()
    champions = tables["forecasts"].query("is_champion")[["region", "date", "y_hat", "q10", "q90"]]
    one, other = (frame.sort_values(["region", "date"], ignore_index=True) for frame in (found, champions))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert len(found) == 42


def test_parameters_can_be_asked_for_in_sql(small_run, tables, registered):
    query = f"select region, value from {registered}.model_parameters where model = 'auto_ets' and parameter = 'alpha'"
    found = {row["region"]: row["value"] for row in small_run.spark.sql(query).collect()}
    fitted = tables["models"].query("model == 'auto_ets' and status == 'ok'")
    assert found == {row.region: json.loads(row.parameters)["alpha"] for row in fitted.itertuples()}
    titles = f"select text from {registered}.model_parameters where model = 'auto_ets' and parameter = 'model'"
    assert all(row["text"].startswith("ETS(A,") for row in small_run.spark.sql(titles).collect())


def test_tables_are_found_by_their_names_in_sql(small_run, registered):
    found = {row["tableName"] for row in small_run.spark.sql(f"show tables in {registered}").collect()}
    assert found >= {*CONTRACT, "calendar", "ingested_files", "forecast_latest", "model_parameters"}
    assert found >= {"forecast_levels_latest", "models_latest", "monitoring_latest", "metrics_latest"}
    newest = small_run.spark.sql(f"select distinct run_id from {registered}.models_latest").collect()
    assert [row[0] for row in newest] == [small_run.ran.run_id]


# Twice is once, and step by step is the same -------------------------------------------------------

STEPS = ("ingest", "features", "train", "forecast", "reconcile", "evaluate")
TIMED = [
    "fit_seconds",
    "started",
    "finished",
    "mlflow_run",
    "tables_read",
    "tables_written",
    *(f"seconds_{s}" for s in STEPS),
]


@pytest.fixture(scope="module")
def again(small_run, tables):
    """The same run again, each step as a job of its own."""
    return {step: run_job(step, *small_run.arguments) for step in STEPS}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_can_be_run_alone(again, small_run, step):
    assert again[step].code == 0, again[step].err
    if step in STEPS[2:]:
        assert again[step].run_id == small_run.ran.run_id


def test_a_second_ingest_reads_no_file(again):
    assert re.search(r"files +\d+ \(0 new\)", again["ingest"].out)


@pytest.mark.parametrize("name", [name for name in (*CONTRACT, "calendar", "ingested_files") if name != "events"])
def test_the_same_run_again_leaves_the_same_table(again, small_run, tables, name):
    one, other = tables[name], table(small_run, name)
    one, other = (frame.drop(columns=[c for c in TIMED if c in frame]) for frame in (one, other))
    if name == "models":  # how long the network trained and what it reused stands in its parameters
        one, other = (
            frame.assign(parameters=frame["parameters"].where(frame["model"] != "stcnn")) for frame in (one, other)
        )
    columns = list(one.columns)
    one, other = (frame.sort_values(columns, ignore_index=True) for frame in (one, other))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


# An earlier as-of ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def earlier(small_run, again):
    """The run of a week before, with the later data in the tables; its first cutoff is the small run's first."""
    models = "[{name: seasonal_naive}, {name: auto_ets}]"
    sets = ("--set", f"models={models}", "--set", "backtest.windows=1", "--as-of", str(CUTOFFS[-1]))
    return [run_job(step, *small_run.arguments, *sets) for step in ("train", "forecast")]


def test_a_run_as_of_an_earlier_day_does_not_know_what_came_later(earlier, small_run, tables):
    """Its forecasts are, to the last bit, those of the back-test from that day.

    Combination and intervals are made of the models and windows that take part, here fewer.
    """
    assert [ran.code for ran in earlier] == [0, 0], earlier[-1].err
    run_id = earlier[1].run_id
    assert run_id != small_run.ran.run_id
    rows = table(small_run, "forecasts").query(f"run_id == '{run_id}'")
    wanted = tables["backtests"]
    wanted = wanted[(wanted["cutoff"] == CUTOFFS[-1]) & wanted["model"].isin(["seasonal_naive", "auto_ets"])]
    columns = ["region", "date", "model", "horizon", "y_hat"]
    rows = rows[rows["model"] != "combination"]
    one, other = (f[columns].sort_values(columns[:3], ignore_index=True) for f in (rows, wanted))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_an_earlier_run_does_not_take_the_newest_ones_place(earlier, small_run, registered):
    runs = table(small_run, "runs")
    assert sorted(runs["run_id"]) == sorted({earlier[0].run_id, small_run.ran.run_id})
    assert set(runs["status"]) == {"ok"}
    found = small_run.spark.sql(f"select distinct run_id from {registered}.forecast_latest").collect()
    assert [row[0] for row in found] == [small_run.ran.run_id]


# A back-test of its own ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def back_test(small_run, earlier):
    """jobs/backtest.py with two cheap models, fitted again every second window; the last window lost; once more."""
    models = "[{name: seasonal_naive}, {name: theta}]"
    arguments = (*small_run.arguments, "--set", f"models={models}", "--set", "backtest.refit=2")
    first = run_job("backtest", *arguments)
    assert first.code == 0, first.err
    mine = f"run_id = '{first.run_id}'"
    before = {name: table(small_run, name).query(f"run_id == '{first.run_id}'") for name in BACK_TESTED}
    for name in BACK_TESTED:
        lost = mine if name == "backtests" else f"{mine} and cutoff = '{CUTOFFS[-1]}'"
        small_run.spark.sql(f"delete from delta.`{small_run.home / name}` where {lost}")
    return first, run_job("backtest", *arguments), before


BACK_TESTED = ("backtest_windows", "backtests")


def test_a_back_test_goes_on_with_the_windows_that_are_missing(back_test, small_run):
    first, again, before = back_test
    assert again.code == 0, again.err
    assert again.run_id == first.run_id
    assert "2 judged, 1 before them, 3 computed now" in first.out
    assert "2 judged, 1 before them, 1 computed now" in again.out
    for name, one in before.items():
        other = table(small_run, name).query(f"run_id == '{first.run_id}'")
        keys = ["cutoff", "region", "date", "model"]
        one, other = (frame.sort_values(keys, ignore_index=True) for frame in (one, other))
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_a_back_test_says_what_the_training_run_said_until_models_are_fitted_again(back_test, small_run, tables):
    mine, theirs = back_test[2]["backtest_windows"], tables["backtest_windows"]
    keys = ["model", "cutoff", "region", "date"]
    one, other = (
        frame[frame["model"].isin(["seasonal_naive", "theta"]) & frame["cutoff"].isin(CUTOFFS[:2])]
        .drop(columns="run_id")
        .sort_values(keys, ignore_index=True)
        for frame in (mine, theirs)
    )
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert {*mine["cutoff"]} == {*CUTOFFS}


def test_a_back_test_is_measured_and_publishes_nothing(back_test, small_run):
    run_id = back_test[0].run_id
    rows = table(small_run, "metrics").query(f"run_id == '{run_id}'")
    assert {*rows["source"]} == {"backtest", "raw"}
    assert {*rows.query("level == 'all'")["model"]} == {"seasonal_naive", "theta", "combination", "champion"}
    assert table(small_run, "forecasts").query(f"run_id == '{run_id}'").empty


def test_a_blocked_back_test_cannot_be_published(small_run):
    sets = ("--set", "models=[{name: seasonal_naive}]", "--set", "backtest.scheme=blocked")
    ran = run_job("train", *small_run.arguments, *sets)
    assert ran.code == 2
    assert "backtest.scheme: 'blocked' lets fits see later days; " in ran.err


# What the simulator planted is found ---------------------------------------------------------------


@pytest.fixture(scope="module")
def effects(tables):
    """Least squares of log sales on what region_day knows of each day: (effects by name, residuals)."""
    days = tables["region_day"].query("status == 'observed'").reset_index(drop=True)
    t = np.array([(day - SHOP["start"]).days for day in days["date"]]) / 365.25
    weekday = np.array([day.weekday() for day in days["date"]])
    columns = {f"level {r}": (days["region"] == r) * 1.0 for r in REGIONS}
    columns |= {f"growth {r}": (days["region"] == r) * t for r in REGIONS}
    columns |= {f"{f.__name__} {k}": f(2 * np.pi * k * t) for f in (np.sin, np.cos) for k in (1, 2)}
    columns |= {f"weekday {k}": (weekday == k) * 1.0 - (weekday == 6) * 1.0 for k in range(6)}  # sum to zero
    columns |= {name: days[name] for name in days if name.startswith("event_") or name in ("holiday", "promotion")}
    drop = date(2025, 4, 13)
    columns["drop"] = (days["region"].isin(EAST) & (days["date"] >= drop)) * 1.0
    x = pd.DataFrame(columns).astype(float)
    x = x.loc[:, x.abs().sum() > 0]
    log = np.log(days["target"].clip(lower=0) + 0.5)
    fitted = np.linalg.lstsq(x.to_numpy(), log.to_numpy(), rcond=None)[0]
    residual = days[["region", "date"]].assign(u=log - x.to_numpy() @ fitted)
    return dict(zip(x.columns, fitted, strict=True)), residual


def test_the_week_is_found(effects):
    """Planted log effects from -0.12 on Mondays to 0.17 on Saturdays; tolerance 0.05."""
    found = [effects[0][f"weekday {k}"] for k in range(6)]
    np.testing.assert_allclose([*found, -sum(found)], WEEKDAY_LOG, atol=0.05)


def test_holidays_lift_sales(effects):
    """Planted 0.18; tolerance 0.08."""
    assert effects[0]["holiday"] == pytest.approx(HOLIDAY_LOG_LIFT, abs=0.08)


@pytest.mark.parametrize("event", ["event_618", "event_double_11"])
def test_shopping_events_lift_sales(effects, event):
    """Planted 0.80 and 1.10 on the day with a flatter run-up than the column's straight line: more than 0.25 of it."""
    assert effects[0][event] > 0.25


def test_promotions_sell(effects):
    """Planted elasticity 1.6 per unit of discount; tolerance 0.4."""
    assert effects[0]["promotion"] == pytest.approx(PROMOTION_ELASTICITY, abs=0.4)


def test_the_drop_in_the_east_is_found(effects, truth):
    """Planted factor 0.65 from its day on; tolerance 0.1."""
    assert truth["drop"]["date"] == "2025-04-13"
    assert tuple(sorted(truth["drop"]["regions"])) == EAST
    assert np.exp(effects[0]["drop"]) == pytest.approx(DROP_FACTOR, abs=0.1)


def test_what_moves_a_region_moves_its_neighbours_the_day_after(effects, tables):
    """Residuals on the neighbours' of the day before, beside the own: positive by more than 2 standard errors."""
    u = effects[1].pivot(index="date", columns="region", values="u")
    u = u.reindex(pd.date_range(u.index.min(), u.index.max()).date)
    edges = tables["region_edges"]
    rows = []
    for region, theirs in edges.groupby("region"):
        neighbours = u[theirs["neighbour"]].mean(axis=1)
        rows.append(pd.DataFrame({"now": u[region], "own": u[region].shift(1), "there": neighbours.shift(1)}))
    known = pd.concat(rows).dropna().to_numpy()
    y, x = known[:, 0], known[:, 1:]
    slopes, squares, _, _ = np.linalg.lstsq(x, y, rcond=None)
    error = np.sqrt(squares[0] / len(y) * np.linalg.inv(x.T @ x)[1, 1])
    assert slopes[1] > 2 * error > 0
