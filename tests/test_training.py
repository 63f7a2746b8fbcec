"""Training and scoring through Spark: where ranks run, what the driver says, the same numbers everywhere."""

import json
import logging
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from stspark import global_model
from stspark.config_file import load_settings
from stspark.errors import EnvironmentMistake, InputError
from stspark.models.deep.checkpoint import load_checkpoint, trained_parts
from stspark.models.deep.stcnn import STCNNConfig
from stspark.settings import Model
from stspark.snapshot import WHOLE, Manifest, load_snapshot, write_snapshot
from stspark.training import launch as starting
from stspark.training import train as training
from stspark.training.launch import Place, choose_place, device_of_task, find_failure
from stspark.training.plan import TrainingConfig
from stspark.training.state import Keeper

FIRST, DAYS, HORIZON = date(2023, 1, 2), 70, 7
REGIONS = ("north", "south", "late")
CUTOFFS = (FIRST + timedelta(days=DAYS - 8), FIRST + timedelta(days=DAYS - 1))
TINY = TrainingConfig(epochs=2, fine_tune_epochs=1, network=STCNNConfig(channels=4, embedding=2))
BARRIER, DRIVER = Place(barrier=True), Place(barrier=False)


@pytest.fixture(scope="module")
def snapshot_path(spark, tmp_path_factory):
    """A snapshot that Spark wrote: weekly demand, `late` opens on day 65, calendar rows after the history."""
    t = np.arange(DAYS + HORIZON)
    rows = pd.concat(
        pd.DataFrame(
            {
                "region_index": np.int32(r),
                "date_index": t.astype("int32"),
                "promotion": (t % 5 == 0) * 1.0,
                "y": np.where(t < DAYS, 10.0 * (r + 1) * (1 + 0.3 * np.sin(2 * np.pi * t / 7)), np.nan),
                "observed": t < DAYS,
            }
        )
        for r in range(len(REGIONS))
    )
    rows = rows[(rows["region_index"] < 2) | (rows["date_index"] >= 65)]
    edges = ((0, 1, 1.0), (1, 0, 1.0), (2, 1, 1.0))
    manifest = Manifest("v1", REGIONS, FIRST, DAYS, DAYS + HORIZON, ("promotion",), edges, 7, HORIZON, (0.1, 0.975))
    path = str(tmp_path_factory.mktemp("snapshot"))
    write_snapshot(spark.createDataFrame(rows), manifest, path)
    return path


def a_spark(master="spark://host:7077", **conf):
    """Stands for a session where only master and settings matter."""
    settings = {key.replace("_", "."): value for key, value in conf.items()}
    return SimpleNamespace(sparkContext=SimpleNamespace(master=master), conf=settings)


@pytest.fixture
def slots(monkeypatch):
    """Set the number of slots that the cluster offers, and whether the driver has a GPU."""

    def offer(count, gpu=False):
        monkeypatch.setattr(starting, "count_slots", lambda *_: count)
        monkeypatch.setattr(starting, "_driver_has_gpu", lambda: gpu)

    return offer


@pytest.mark.parametrize(
    ("session", "offered", "gpu", "place"),
    [
        pytest.param(a_spark("local[2]"), (2, False), "auto", BARRIER, id="enough local slots"),
        pytest.param(a_spark("local[1]"), (1, False), "auto", DRIVER, id="one local slot"),
        pytest.param(a_spark("local[2]"), (2, True), "auto", Place(False, cuda=True), id="the driver's GPU"),
        pytest.param(a_spark("local[2]"), (2, True), "never", BARRIER, id="a GPU not wanted"),
        pytest.param(a_spark(), (2, True), "auto", BARRIER, id="a driver's GPU is no executor's"),
        pytest.param(
            a_spark(spark_task_resource_gpu_amount="1"),
            (2, False),
            "always",
            Place(True, True, True),
            id="tasks with GPUs",
        ),
    ],
)
def test_where_the_ranks_run(slots, session, offered, gpu, place):
    slots(*offered)
    assert choose_place(session, TrainingConfig(gpu=gpu, processes=2)) == place


@pytest.mark.parametrize(
    ("session", "gpu", "message"),
    [
        pytest.param(a_spark(), "never", r"training.processes: is 2, but the cluster offers 1 slots;", id="slots"),
        pytest.param(a_spark("local[2]"), "always", r"training.gpu: is 'always', but this machine shows no", id="gpu"),
        pytest.param(a_spark(), "always", r"but spark.task.resource.gpu.amount is not 1;", id="gpu of tasks"),
        pytest.param(a_spark(spark_dynamicAllocation_enabled="true"), "never", "switch it off", id="dynamic"),
    ],
)
def test_what_the_user_is_told_when_something_lacks(slots, session, gpu, message):
    slots(1)
    with pytest.raises(EnvironmentMistake, match=message):
        choose_place(session, TrainingConfig(gpu=gpu, processes=2))


def test_more_processes_than_a_machine_can_bear_are_refused(slots, monkeypatch):
    slots(2)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert choose_place(a_spark("local[2]"), TrainingConfig(gpu="never", processes=8)) == DRIVER
    with pytest.raises(EnvironmentMistake, match=r"is 9, but this machine has 2 cores; .* 8 or less"):
        choose_place(a_spark("local[2]"), TrainingConfig(gpu="never", processes=9))


@pytest.mark.parametrize(
    ("files", "rank", "lost"),
    [
        pytest.param({}, "", True, id="no rank left a word"),
        pytest.param({0: "2.0\nRuntimeError: [gloo] closed", 1: "3.0\nValueError: x"}, "rank-1", False, id="own"),
        pytest.param({0: "2.0\nConnectionError: a", 1: "1.0\nDistNetworkError: b"}, "rank-1", True, id="first to lose"),
    ],
)
def test_the_rank_that_is_to_blame(tmp_path, files, rank, lost):
    for number, text in files.items():
        (tmp_path / f"rank-{number}.txt").write_text(text)
    failure = find_failure(tmp_path)
    assert (failure.rank, failure.lost_contact) == (rank, lost)


@pytest.mark.parametrize(("works", "given", "device"), [
    pytest.param(False, ("1",), "cpu", id="the GPU that Spark gave does not work"),
    pytest.param(True, ("1",), "cuda:1", id="the one that Spark gave"),
    pytest.param(True, None, "cuda:0", id="the driver's"),
])  # fmt: skip
def test_a_task_scores_on_its_own_gpu(monkeypatch, works, given, device):
    resources = {"gpu": SimpleNamespace(addresses=list(given))} if given else {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: works)
    monkeypatch.setattr("pyspark.TaskContext.get", lambda: SimpleNamespace(resources=lambda: resources))
    assert str(device_of_task()) == device


def test_ranks_that_lost_contact_are_started_again(snapshot_path, tmp_path, monkeypatch):
    starts = []

    def run_ranks(launch, place):
        starts.append(launch.start)
        launch.errors.mkdir(exist_ok=True)
        (launch.errors / "rank-0.txt").write_text("1.0\nRuntimeError: [gloo] Connection closed by peer")
        raise RuntimeError("hidden")

    monkeypatch.setattr(training, "choose_place", lambda *_: BARRIER)
    monkeypatch.setattr(training, "run_ranks", run_ranks)
    with pytest.raises(training.TrainingFailed, match=r"(?s)rank-0 failed.*closed by peer.*GLOO_SOCKET_IFNAME"):
        training.train(None, snapshot_path, str(tmp_path), TINY, CUTOFFS)
    assert starts == [0, 0]


def test_a_cutoff_without_enough_history_is_the_users_mistake(snapshot_path, tmp_path):
    with pytest.raises(InputError, match="first back-test cutoff 2023-01-11: has 10 days of history, stcnn needs 21"):
        training.train(None, snapshot_path, str(tmp_path), TINY, [date(2023, 1, 11)])


@pytest.mark.spark
def test_slots_are_counted_as_spark_does(spark):
    assert starting.count_slots(spark, 2, 0.0) == int(spark.sparkContext.defaultParallelism)


@pytest.mark.spark
@pytest.mark.slow
def test_barrier_stage_and_driver_train_to_the_same_bits(spark, snapshot_path, tmp_path, monkeypatch, caplog):
    """Two ranks, each with parts of the regions to itself; the cluster's test shares windows."""
    parted = replace(TINY, regions_at_once=1)
    with caplog.at_level(logging.INFO, "stspark"):
        result = training.train(spark, snapshot_path, str(tmp_path / "one"), parted, CUTOFFS)
    assert (result.barrier, result.trained, result.reused) == (True, CUTOFFS, ())
    assert "2 processes are training on cpu" in caplog.text
    assert f"cutoff {CUTOFFS[0]}, epoch 2/2, loss" in caplog.text

    monkeypatch.setattr(training, "choose_place", lambda *_: DRIVER)
    other = training.train(spark, snapshot_path, str(tmp_path / "two"), parted, CUTOFFS)
    snapshot = load_snapshot(snapshot_path)
    for day in CUTOFFS:
        one, two = (load_checkpoint(tmp_path / run / "checkpoints", snapshot, day)[0] for run in ("one", "two"))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert other.losses == result.losses
    assert trained_parts(Path(result.checkpoints), CUTOFFS[0]) == [slice(0, 1), slice(1, 2), slice(2, 3)]

    again = training.train(spark, snapshot_path, str(tmp_path / "one"), parted, CUTOFFS)
    assert (again.trained, again.reused) == ((), CUTOFFS)
    assert json.loads(again.to_json())["losses"][str(CUTOFFS[0])] == result.losses[CUTOFFS[0]]

    rows = training.score(spark, snapshot_path, result.checkpoints, CUTOFFS).toPandas()
    assert list(rows.columns) == ["cutoff", "region", "date", "horizon", "y_hat", "q10", "q97_5"]
    assert rows.groupby(["cutoff", "region"]).size().to_dict() == {
        (CUTOFFS[0], "north"): HORIZON,
        (CUTOFFS[0], "south"): HORIZON,
        **{(CUTOFFS[1], region): HORIZON for region in REGIONS},
    }
    assert (rows["q10"] <= rows["y_hat"]).all()
    assert (rows["y_hat"] <= rows["q97_5"]).all()
    first = rows[(rows["cutoff"] == CUTOFFS[0]) & (rows["region"] == "north")].sort_values("horizon")
    assert first["date"].tolist() == [CUTOFFS[0] + timedelta(days=k) for k in range(1, HORIZON + 1)]


@pytest.mark.spark
def test_a_failing_ranks_traceback_is_shown(spark, snapshot_path, tmp_path):
    broken = replace(TINY, network=STCNNConfig(channels=4, embedding=-1))
    with pytest.raises(training.TrainingFailed, match=r"(?s)rank-\d failed .*negative dimension"):
        training.train(spark, snapshot_path, str(tmp_path), broken, CUTOFFS)


@pytest.mark.spark
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9], ids=["not a number", "infinite", "explodes"])
def test_a_network_that_returns_nonsense_for_a_region_leaves_the_naives_forecast(
    spark, snapshot_path, tmp_path, monkeypatch, value
):
    """South's forecast is nonsense: the naive stands in, marked, and the model's row says so."""
    made = np.full((len(REGIONS), HORIZON, 3), 10.0)
    made[1] = value
    monkeypatch.setattr(training, "predict", lambda folder, snapshot, cutoff, device: made)
    monkeypatch.setattr(training, "trained_parts", lambda folder, cutoff: [WHOLE])
    monkeypatch.setattr(training, "train", lambda *_: SimpleNamespace(to_json=lambda: "{}"))
    monkeypatch.setattr(global_model, "snapshot_folder", lambda *_: snapshot_path)
    monkeypatch.setattr(global_model, "training_config", lambda *_: TINY)
    day = CUTOFFS[0]
    days = [(r, day + timedelta(days=k), False) for r in REGIONS for k in range(1, HORIZON + 1)]
    calendar = spark.createDataFrame(days, "region string, date date, is_closed boolean")
    rows = [("seasonal_naive", r, day, d, (d - day).days, 5.0, 5.0, 5.0, None) for r, d, _ in days if r != "late"]
    keys = "model string, region string, cutoff date, date date, horizon int, y_hat double, q10 double, q97_5 double"
    naive = spark.createDataFrame(rows, f"{keys}, fallback_used string")
    chosen = SimpleNamespace(
        training=SimpleNamespace(gpu="auto"),
        target=SimpleNamespace(non_negative=True),
        quantile_columns=("q10", "q97_5"),
    )
    store = SimpleNamespace(read=lambda name: calendar, home=str(tmp_path))
    job = SimpleNamespace(spark=spark, store=store, settings=chosen)
    trained = global_model._train_network(job, SimpleNamespace(run_id="r"), Model(name="stcnn"), naive, [day])
    found = trained.forecasts.toPandas().groupby("region")[["y_hat", "fallback_used"]].first()
    assert found["y_hat"].to_dict() == {"north": 10.0, "south": 5.0}
    assert found.loc["south", "fallback_used"] == "seasonal_naive"
    assert found.loc["north", "fallback_used"] is None
    told = trained.models.first()
    assert (told["status"], told["fallback_used"]) == ("failed", "seasonal_naive")
    assert f"'south' at cutoff {day}" in told["error"]


def test_a_state_that_another_rank_removes_while_it_is_looked_for_is_none(tmp_path, monkeypatch):
    """Rank 0 ends a cutoff, and with it the state of that cutoff, while the others begin the next one."""
    keeper = Keeper(tmp_path / "state.pt", "next cutoff", writes=False)
    monkeypatch.setattr(Path, "exists", lambda self: True)  # it was there a moment ago
    assert keeper.progress() is None
    layer = torch.nn.Linear(1, 1)
    assert keeper.restore(layer, None, None).epoch == 0


def test_a_relative_warm_start_is_found_from_any_folder(tmp_path, monkeypatch):
    """Ranks run elsewhere."""
    settings = load_settings("conf/rohlik_orders.yaml")
    monkeypatch.chdir(tmp_path)
    Path("warehouse/x/checkpoints").mkdir(parents=True)
    Path("warehouse/x/checkpoints/2023-05-01.json").touch()
    for given in ("warehouse/x/checkpoints", f"file:{tmp_path}/warehouse/x/checkpoints"):
        made = global_model.training_config(settings, Model.model_validate({"name": "gru", "warm_start": given}))
        assert made.warm_start == str(tmp_path / "warehouse/x/checkpoints")
