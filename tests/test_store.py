"""Tables: declared columns with comments, writes that twice are once, and the same numbers for every reader."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from pathlib import Path

import deltalake
import pandas as pd
import pyarrow.compute as pc
import pytest
from conftest import ROOT
from pyspark.sql import functions as F

from stspark.config_file import load_settings
from stspark.errors import InputError
from stspark.settings import Covariate, Settings
from stspark.store import Gone, Store, latest_queries
from stspark.tables import for_settings

NASTY = (
    "O'Brien",
    "a/b=c%",
    "上海",
    "'; DROP TABLE regions; --",
    'say "hi"',
    "back\\slash",
    "`tick`",
    "  spaced  ",
    "NULL",
)
DAYS = [date(2024, 1, day) for day in (1, 2, 3)]
TABLES = (
    "ingested_files", "events", "events_rejected", "regions", "region_edges", "calendar", "region_day", "backtests",
    "models", "forecasts", "metrics", "runs",
)  # fmt: skip


def settings(dataset: str = "shop") -> Settings:
    return Settings.model_validate({
        "dataset": dataset, "source": {"kind": "events", "path": "x", "columns": {"event_time": "t", "region": "r"}},
        "target": {"name": "sales"}, "models": [{"name": "seasonal_naive"}], "quantiles": [0.1, 0.9],
    })  # fmt: skip


@pytest.fixture
def store(spark, tmp_path):
    return Store(spark, str(tmp_path / "shop"), for_settings(settings()))


def edges(spark, *rows: tuple[str, str, float]):
    return spark.createDataFrame(list(rows), "region string, neighbour string, weight double")


def contents(store: Store, name: str, *columns: str) -> list[tuple]:
    return sorted(map(tuple, store.read(name).select(*columns).collect()))


# Declarations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["simulated", "online_retail", "rohlik_orders", "olist"])
def test_every_declared_column_has_a_type_and_a_comment(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    for table in for_settings(load_settings(f"conf/{config}.yaml")).values():
        assert table.comment
        assert len(set(table.column_names)) == len(table.columns), table.name
        assert set(table.keys) | set(table.clustered) <= set(table.column_names)
        assert all(len(column.comment) >= 3 for column in table.columns), table.name
        assert len(table.schema()) == len(table.columns)


def test_quantiles_become_columns():
    tables = for_settings(settings().model_copy(update={"quantiles": (0.025, 0.5)}))
    for name in ("forecasts", "backtests"):
        assert tables[name].column_names[-2:] == ["q2_5", "q50"]
    assert tables["forecasts"].columns[-2].comment == "quantile 2.5% of the forecast"


def test_covariates_become_columns_where_they_are_known():
    given = {"covariates": [{"name": "promo", "known": "future"}, {"name": "rain", "known": "past"}]}
    panel = {"kind": "panel", "path": "x", "columns": {"date": "d", "region": "r", "target": "y"}}
    tables = for_settings(Settings.model_validate(settings().model_dump() | given | {"source": panel}))
    assert {"promo", "rain"} <= set(tables["region_day"].column_names)
    assert "promo" in tables["calendar"].column_names
    assert "rain" not in tables["calendar"].column_names  # nothing past-only may be known ahead


# Writes --------------------------------------------------------------------------------------------


def test_replacing_twice_is_once(spark, store):
    rows = edges(spark, ("a", "b", 0.5), ("a", "c", 0.5))
    store.replace("region_edges", rows)
    store.replace("region_edges", rows)
    assert contents(store, "region_edges", "region", "neighbour", "weight") == [("a", "b", 0.5), ("a", "c", 0.5)]
    store.replace("region_edges", edges(spark, ("x", "y", 1.0)))
    assert contents(store, "region_edges", "region", "neighbour") == [("x", "y")]


def test_a_slice_is_replaced_and_the_rest_stays(spark, store):
    store.replace("region_edges", edges(spark, ("a", "b", 1.0)), "region = 'a'")
    store.replace("region_edges", edges(spark, ("b", "a", 1.0)), "region = 'b'")
    store.replace("region_edges", edges(spark, ("a", "c", 0.5), ("a", "d", 0.5)), "region = 'a'")
    assert contents(store, "region_edges", "region", "neighbour") == [("a", "c"), ("a", "d"), ("b", "a")]
    history = deltalake.DeltaTable(store.path("region_edges")).history()
    assert len(history) == 4  # made once, then one commit a write


def test_rows_outside_their_slice_are_refused(spark, store):
    with pytest.raises(Exception, match=r"DELTA_REPLACE_WHERE_MISMATCH|replaceWhere|does not conform"):
        store.replace("region_edges", edges(spark, ("b", "a", 1.0)), "region = 'a'")


def test_columns_that_a_frame_lacks_are_null_and_others_are_left_out(spark, store):
    store.replace("region_edges", edges(spark, ("a", "b", 1.0)).selectExpr("*", "'x' as extra"))
    assert store.read("region_edges").columns == ["region", "neighbour", "distance_km", "hops", "weight"]
    assert contents(store, "region_edges", "region", "distance_km") == [("a", None)]


def test_a_key_is_never_null(spark, store):
    rows = spark.createDataFrame([(None, "b")], "region string, neighbour string")
    with pytest.raises(Exception, match=r"(?i)not.null"):
        store.replace("region_edges", rows)


def test_few_rows_are_read_without_a_job(spark, store):
    rows = spark.createDataFrame([("a", day, 1.0) for day in DAYS], "region string, date date, target double")
    store.replace("region_day", rows)
    assert store.rows("region_day", ("region", "date", "absent"), since=DAYS[1]).to_pydict() == {
        "region": ["a", "a"], "date": DAYS[1:],
    }  # fmt: skip
    assert store.rows("region_day", ("target",), since=date(2030, 1, 1)).num_rows == 0
    with pytest.raises(InputError, match=r"table calendar .* does not exist"):
        store.rows("calendar", ("date",))


def test_few_rows_of_a_table_that_delta_rs_does_not_understand_are_read_by_spark(spark, store):
    store.replace("region_edges", edges(spark, ("a", "b", 0.5), ("a", "c", 0.5)))
    spark.sql(
        f"alter table delta.`{store.path('region_edges')}` set tblproperties (delta.enableDeletionVectors = true)"
    )
    store.delete("region_edges", F.col("neighbour") == "c")
    assert store.rows("region_edges", ("neighbour", "weight")).to_pylist() == [{"neighbour": "b", "weight": 0.5}]


def test_rows_of_a_version_that_was_purged_are_gone(spark, store):
    for neighbour in "bc":
        store.replace("region_edges", edges(spark, ("a", neighbour, 1.0)))
    then = store.version("region_edges") - 1
    assert store.rows("region_edges", ("neighbour",), version=then)["neighbour"].to_pylist() == ["b"]
    store.purge()
    with pytest.raises(Gone, match="region_edges, version"):
        store.rows("region_edges", ("neighbour",), version=then)


def run_row(spark, run_id, status, as_of=date(2024, 1, 1), started=None, **more):
    columns = {"run_id": run_id, "status": status, "as_of": as_of, "started": started, **more}
    kinds = {"run_id": "string", "status": "string", "as_of": "date", "started": "timestamp"}
    schema = ", ".join(f"{name} {kinds.get(name, 'double')}" for name in columns)
    return spark.createDataFrame([tuple(columns.values())], schema)


def test_merging_updates_by_key_and_keeps_what_the_new_row_does_not_know(spark, store):
    keep = ("seconds_train", "seconds_forecast")
    store.merge("runs", run_row(spark, "r1", "running", seconds_train=5.0, seconds_forecast=None), keep)
    store.merge("runs", run_row(spark, "r2", "ok", seconds_train=1.0, seconds_forecast=1.0), keep)
    for _ in range(2):
        store.merge("runs", run_row(spark, "r1", "ok", seconds_train=None, seconds_forecast=7.0), keep)
    assert contents(store, "runs", "run_id", "status", "seconds_train", "seconds_forecast") == [
        ("r1", "ok", 5.0, 7.0), ("r2", "ok", 1.0, 1.0)
    ]  # fmt: skip


def at_once(*works) -> list[BaseException]:
    """Run functions in threads that start together; return what they raised."""
    gate, raised = threading.Barrier(len(works)), []

    def run(work) -> None:
        gate.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.parametrize("there", [True, False], ids=["there already", "made by both"])
def test_twins_that_write_at_the_same_time_leave_what_one_would(spark, tmp_path, there):
    twins = [Store(spark, str(tmp_path / "shop"), for_settings(settings())) for _ in range(2)]
    rows = edges(spark, ("a", "b", 0.5), ("a", "c", 0.5))
    if there:
        twins[0].create("region_edges")
    raised = at_once(*(lambda twin=twin: twin.replace("region_edges", rows, "region = 'a'") for twin in twins))
    assert raised == []
    assert contents(twins[0], "region_edges", "region", "neighbour") == [("a", "b"), ("a", "c")]


def test_a_changed_declaration_widens_a_table_of_runs_and_leaves_others_alone(spark, store, tmp_path):
    keys = "run_id string, region string, date date, model string"
    store.replace("region_edges", edges(spark, ("a", "b", 1.0)))
    store.replace(
        "forecasts",
        spark.createDataFrame([("r", "a", date(2024, 1, 1), "m", 1.0)], f"{keys}, q10 double"),
    )
    wider = Store(spark, str(tmp_path / "shop"), for_settings(settings().model_copy(update={"quantiles": (0.5,)})))
    wider.create("forecasts")
    wider.create("region_edges")
    wider.replace(
        "forecasts",
        spark.createDataFrame([("s", "a", date(2024, 1, 1), "m", 2.0)], f"{keys}, q50 double"),
        "run_id = 's'",
    )
    rows = wider.at("forecasts", wider.version("forecasts")).orderBy("run_id").select("run_id", "q10", "q50")
    assert [tuple(row) for row in rows.collect()] == [("r", 1.0, None), ("s", None, 2.0)]
    assert [c for c in wider.read("forecasts").columns if c.startswith("q")] == ["q50"]
    made = {f.name: f.metadata.get("comment") for f in wider.read("forecasts").schema}
    assert made["q50"] == "quantile 50% of the forecast"
    assert wider.read("region_edges").count() == 1


def test_a_changed_declaration_makes_anew_a_table_that_one_build_fills(spark, store, tmp_path):
    store.create("region_day")
    chosen = settings().model_copy(update={"covariates": (Covariate(name="visits", known="past", file="v.csv"),)})
    other = Store(spark, str(tmp_path / "shop"), for_settings(chosen))
    other.create("region_day")
    assert "visits" in other.read("region_day").columns
    store.versions_written.clear()
    store.create("region_day")
    assert "visits" not in store.read("region_day").columns


def test_a_row_of_a_run_outlives_new_columns(spark, store):
    store.merge("runs", run_row(spark, "r1", "ok"))
    spark.sql(f"alter table delta.`{store.path('runs')}` set tblproperties('delta.columnMapping.mode' = 'name')")
    spark.sql(f"alter table delta.`{store.path('runs')}` drop column finished")
    store.versions_written.clear()
    store.merge("runs", run_row(spark, "r2", "ok"))
    assert [row[0] for row in contents(store, "runs", "run_id")] == ["r1", "r2"]


def test_a_table_that_is_not_there_names_the_job_that_makes_it(store):
    with pytest.raises(InputError, match=r"table forecasts in .*: does not exist; run jobs/forecast.py"):
        store.read("forecasts")


def test_versions_read_and_written_are_remembered(spark, store):
    store.replace("region_edges", edges(spark, ("a", "b", 1.0)))
    store.read("region_edges")
    store.replace("region_edges", edges(spark, ("a", "c", 1.0)))
    assert store.versions_read == {"region_edges": 1}
    assert store.versions_written == {"region_edges": 2}


def test_a_region_keeps_its_name_through_every_reader(spark, store):
    store.replace("region_edges", edges(spark, *((name, name, 1.0) for name in NASTY)))
    assert [row[0] for row in contents(store, "region_edges", "region")] == sorted(NASTY)
    assert sorted(deltalake.DeltaTable(store.path("region_edges")).to_pyarrow_table()["region"].to_pylist()) == sorted(
        NASTY
    )
    rows = store.read("region_edges")
    assert {name: rows.where(rows["region"] == name).count() for name in NASTY[:4]} == dict.fromkeys(NASTY[:4], 1)


# SQL -----------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(spark, tmp_path, request):
    """A data set with a name of its own; its database is dropped afterwards."""
    name = f"d{abs(hash(request.node.name)) % 10**8}"
    yield lambda home: Store(spark, str(home / name), for_settings(settings(name)))
    spark.sql(f"drop database if exists {name} cascade")


@pytest.mark.parametrize(
    ("runs", "newest"),
    [
        pytest.param([("r1", "ok", 1, 1), ("r2", "ok", 2, 2)], "r2", id="latest as-of"),
        pytest.param([("r1", "ok", 2, 1), ("r2", "ok", 1, 2)], "r1", id="an old as-of run later is not newer"),
        pytest.param([("r1", "ok", 1, 1), ("r2", "failed", 2, 2), ("r3", "running", 3, 3)], "r1", id="failed, running"),
        pytest.param([("r1", "ok", 1, 1), ("r2", "ok", 1, 2)], "r2", id="same as-of: the later start"),
        pytest.param([("r1", "ok", 1, 1), ("only trained", "ok", 2, 2)], "r1", id="a run that only trained"),
        pytest.param([("r1", "ok", 1, 1), ("r2", "running again", 2, 2)], "r2", id="it ended well and runs again"),
        pytest.param([("r1", "ok", 1, 1), ("r2", "failed again", 2, 2)], "r2", id="it ended well, then failed"),
        pytest.param([("r1", "failed", 1, 1)], None, id="none has ended well"),
    ],
)
def test_forecast_latest_has_the_champions_of_the_newest_successful_run(spark, dataset, tmp_path, runs, newest):
    name = Path(dataset(tmp_path).home).name
    rows = [
        (r, status.removesuffix(" again"), date(2024, 1, as_of), (day := datetime(2024, 2, k, tzinfo=UTC)),
         day if status.endswith(" again") else None)
        for r, status, as_of, k in runs
    ]  # fmt: skip
    made = [
        (r, "a", model, model == "theta")
        for r, *_ in runs if r != "only trained" for model in ("seasonal_naive", "theta")
    ]  # fmt: skip
    spark.sql(f"create database {name}")
    for table, values, schema in (
        ("runs", rows, "run_id string, status string, as_of date, started timestamp, finished timestamp"),
        ("forecasts", made, "run_id string, region string, model string, is_champion boolean"),
    ):
        spark.createDataFrame(values, schema).write.format("parquet").saveAsTable(f"{name}.{table}")
    spark.createDataFrame([(r, "theta") for r, *_ in runs], "run_id string, model string").write.format(
        "parquet"
    ).saveAsTable(f"{name}.models")
    queries = latest_queries(name, ("models",))
    assert set(queries) == {"forecast_latest", "models_latest"}
    for query in queries.values():
        found = [(row["run_id"], row["model"]) for row in spark.sql(query).collect()]
        assert found == ([] if newest is None else [(newest, "theta")])


def test_a_warehouse_may_lie_anywhere(spark, dataset, tmp_path):
    store = dataset(tmp_path / "O'Brien's data 上海")
    store.replace("region_edges", edges(spark, ("a", "b", 1.0)))
    store.register()
    assert spark.sql(f"select count(*) from {Path(store.home).name}.region_edges").first()[0] == 1


def test_another_warehouse_of_the_same_name_takes_the_old_ones_place(spark, dataset, tmp_path):
    for place, neighbour in (("old", "b"), ("new", "c")):
        store = dataset(tmp_path / place)
        store.replace("region_edges", edges(spark, ("a", neighbour, 1.0)))
        store.register()
    assert spark.sql(f"select neighbour from {Path(store.home).name}.region_edges").first()[0] == "c"


# After a run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_every_column_of_every_table_has_its_comment(small_run, name):
    fields = deltalake.DeltaTable(str(small_run.home / name)).schema().fields
    assert fields
    assert [field.name for field in fields if not field.metadata.get("comment")] == []


@pytest.mark.parametrize("name", [t for t in TABLES if t != "events"])
def test_delta_rs_reads_the_numbers_that_spark_reads(small_run, name):
    """An independent reader of the folder, without Spark."""
    by_spark = small_run.spark.read.format("delta").load(str(small_run.home / name)).toArrow()
    by_rust = deltalake.DeltaTable(str(small_run.home / name)).to_pyarrow_table()
    assert by_spark.num_rows == by_rust.num_rows > 0
    one, other = (table.select(by_rust.column_names).to_pandas() for table in (by_spark, by_rust))
    for frame in (one, other):
        for column in frame:
            if str(frame[column].dtype).startswith("datetime"):
                frame[column] = frame[column].dt.tz_localize(None).astype("datetime64[us]")
        frame.sort_values(list(frame.columns), ignore_index=True, inplace=True)
    pd.testing.assert_frame_equal(one, other, check_exact=True, check_dtype=False)


def test_delta_rs_counts_the_events_that_spark_counts(small_run):
    table = deltalake.DeltaTable(str(small_run.home / "events")).to_pyarrow_table(
        columns=["region", "quantity", "amount"]
    )
    row = small_run.spark.sql(
        "select count(*), count(distinct region), sum(quantity), round(sum(amount), 2) "
        f"from delta.`{small_run.home}/events`"
    ).first()
    amount = round(pc.sum(table["amount"]).as_py(), 2)
    assert tuple(row) == (table.num_rows, 6, pc.sum(table["quantity"]).as_py(), pytest.approx(amount))
