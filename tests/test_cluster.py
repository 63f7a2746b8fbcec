"""`make cluster`: the same numbers from two workers, the package from the wheel only, and nothing left running."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import yaml
from deltalake import write_deltalake

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts" / "cluster"
SECONDS = 1800  # a limit, not an expectation: CI machines are slow and shared


@pytest.fixture
def module(monkeypatch):
    """Import a module of scripts/cluster, which is run as a folder and not as a package."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(SCRIPTS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def small_config(tmp_path):
    """A simulated shop of 6 cities and half a year: cheap models, common trees, a few epochs of the network."""
    raw = yaml.safe_load((ROOT / "conf" / "simulated.yaml").read_text())
    shop = {"regions": 6, "start": date(2025, 3, 1), "end": date(2025, 8, 31), "orders_per_day": 4.0}
    raw |= {"dataset": "small_shop", "simulate": shop, "backtest": {"windows": 1, "step": 7, "warm_up": 1}}
    network = {"name": "stcnn", "epochs": 3, "fine_tune_epochs": 1}
    trees = {"name": "boosted_trees", "distributed": True, "boosters": 1, "rounds": 30, "rows": 20_000}
    raw["models"] = [{"name": "seasonal_naive"}, {"name": "auto_ets"}, trees, network]
    raw["hierarchy"] = {"method": "off"}  # its tables are none of those that are compared
    raw["source"]["path"] = str(tmp_path / "shop" / "events")
    raw["regions"]["file"] = str(tmp_path / "shop" / "regions.csv")
    raw["closed"]["file"] = str(tmp_path / "shop" / "closures.csv")
    raw["covariates"][0]["file"] = str(tmp_path / "shop" / "promotions.csv")
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture
def home(tmp_path):
    """The folder of a cluster; whatever happens to the test, none of its processes outlives it."""
    home = tmp_path / "home"
    yield home
    for pid in processes_that_name(home):
        os.kill(pid, signal.SIGKILL)


def processes_that_name(home: Path) -> list[int]:
    """Processes with the folder in their environment or command line: an account that the script has no part in."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(home).encode() in text and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run to the end; after the time limit ask it to stop, as a user would."""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            out, err = child.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            child.terminate()
            out, err = child.communicate(timeout=60)
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def script(*arguments: str) -> list[str]:
    return [sys.executable, "-I", str(SCRIPTS), *arguments]


# --- the whole ------------------------------------------------------------------------------------------------------


@pytest.mark.cluster
@pytest.mark.slow
def test_the_cluster_gives_the_numbers_of_the_local_run(small_config, home, monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")  # seven short-lived JVMs on two cores
    done = run(["make", "cluster", f"CONFIG={small_config}", f"ARGS=--home {home}"])
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout
    assert "equal: the cluster's numbers are the local run's, to the last bit" in done.stdout
    table = {words[0]: words[1:] for line in done.stdout.splitlines() if (words := line.split())}
    assert table["forecasts"][0] == str(5 * 6 * 7)  # models and their combination x regions x days
    assert table["backtests"][0] == str(5 * 6 * 7 * 2)  # a window and one to warm up
    assert all(table[name][-1] == "yes" for name in ("region_day", "backtests", "models", "forecasts"))

    assert "stspark came from the shipped wheel, byte for byte" in done.stdout
    imports = [json.loads(line) for line in (home / "logs" / "imports.jsonl").read_text().splitlines()]
    archives = {row["executor"]: Path(row["origin"]).parent.parent.name for row in imports}
    assert archives == {None: next((home / "wheel").glob("*.whl")).name, "0": "stspark.zip", "1": "stspark.zip"}
    assert {(row["rank"], row["executor"]) for row in imports if row["rank"]} in (
        {("0", "0"), ("1", "1")},
        {("0", "1"), ("1", "0")},
    )
    assert processes_that_name(home) == []


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "terminated"])
def test_an_interrupted_cluster_leaves_nothing_running(small_config, home, how):
    command = script("--config", str(small_config), "--home", str(home))
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True) as child:
        said = []
        for line in child.stderr:
            said.append(line)
            if "ingest: starts" in line:  # executors are up, or about to be
                break
        living = processes_that_name(home)
        child.send_signal(how)
        rest = child.communicate(timeout=120)[1]
    assert child.returncode == 130, "".join(said) + rest
    assert len(living) >= 5  # the script, master, two workers, the driver
    assert processes_that_name(home) == []
    assert rest.splitlines()[-1] == "[cluster] stopped"


@pytest.mark.cluster
@pytest.mark.slow
def test_two_clusters_live_side_by_side(module, tmp_path):
    place, processes, standalone = module("place"), module("processes"), module("standalone")
    families, urls = [], []
    try:
        for name in ("one", "two"):
            there = place.Place(tmp_path / name)
            there.clear()
            families.append(processes.Family(there.logs))
            urls.append(standalone.start_cluster(there, families[-1], Path(sys.executable)).url)
        assert len(set(urls)) == 2
        assert all(url.startswith("spark://127.0.0.1:") for url in urls)
    finally:
        stopped = [family.stop() for family in families]
    assert stopped == [3, 3]
    assert processes_that_name(tmp_path) == []


# --- its parts ------------------------------------------------------------------------------------------------------


def test_processes_of_their_own_session_are_stopped_and_strangers_are_not(module, tmp_path, monkeypatch):
    """As torchrun's ranks do: a grandchild in a session of its own, which outlives its parent."""
    nested = "import subprocess, time; subprocess.Popen(['sleep', '600'], start_new_session=True); time.sleep(600)"
    processes = module("processes")
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.2)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        family = processes.Family(tmp_path)
        family.start("parent", [sys.executable, "-c", nested], dict(os.environ))
        while len(family.look()) < 2:
            time.sleep(0.05)
        assert family.stop() == 2
        assert family.look() == set()
        assert stranger.poll() is None
        stranger.kill()


def test_a_worker_that_does_not_start_shows_the_end_of_its_log(module, tmp_path):
    place, processes, standalone = module("place"), module("processes"), module("standalone")
    there = place.Place(tmp_path / "home")
    there.clear()
    family = processes.Family(there.logs)
    daemon = family.start("worker-1", ["sh", "-c", "echo no such interface; exit 3"], dict(os.environ))
    with pytest.raises(place.ClusterError, match=r"worker-1 did not start \(exit code 3\).*\n    no such interface"):
        standalone._wait_for(there, family, "worker-1", daemon, "(registered)")


def test_the_machines_have_the_dependencies_but_no_stspark(module, tmp_path):
    there = module("place").Place(tmp_path / "home")
    there.clear()
    python = module("machine").make_python(there)
    code = "import pandas, torch, pyspark; print('dependencies'); import stspark"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "dependencies\n"
    assert "No module named 'stspark'" in done.stderr


@pytest.fixture
def witnessed(tmp_path, module):
    """Write imports.jsonl and judge it; origins are relative to tmp_path, which holds a wheel, its copy and another."""
    for name, text in (("a.whl", "1"), ("stspark.zip", "1"), ("other.zip", "2")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(zipfile.ZipInfo("stspark/__init__.py"), text)
    checkout = tmp_path / "checkout" / "stspark" / "__init__.py"
    checkout.parent.mkdir(parents=True)
    checkout.touch()

    def judge(*rows):
        names = ("executor", "rank", "world", "origin")
        found = [dict(zip(names, row, strict=True)) | {"pid": 1} for row in rows]
        for row in found:
            row["origin"] = str(tmp_path / row["origin"] / "stspark" / "__init__.py") if row["origin"] else ""
        (tmp_path / "imports.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
        return module("imports").read_imports(tmp_path / "imports.jsonl", tmp_path / "a.whl")

    return judge


DRIVER = (None, None, None, "a.whl")
WORKERS = (("0", None, None, "stspark.zip"), ("1", None, None, "stspark.zip"))
RANKS = (("0", "0", "2", "stspark.zip"), ("1", "1", "2", "stspark.zip"))


@pytest.mark.parametrize(("rows", "sound"), [
    pytest.param((DRIVER, *WORKERS, *RANKS), True, id="all from the wheel"),
    pytest.param((DRIVER, *WORKERS), True, id="no global model"),
    pytest.param((DRIVER, *WORKERS, RANKS[0]), False, id="a rank is missing"),
    pytest.param((DRIVER, *WORKERS, RANKS[0], ("0", "1", "2", "stspark.zip")), False, id="both ranks on one executor"),
    pytest.param((DRIVER, WORKERS[0]), False, id="one executor had no work"),
    pytest.param(WORKERS, False, id="no driver"),
    pytest.param((), False, id="nobody"),
    pytest.param((DRIVER, WORKERS[0], ("1", None, None, "checkout")), False, id="a worker from the checkout"),
    pytest.param((DRIVER, *WORKERS, RANKS[0], ("1", "1", "2", "other.zip")), False, id="a rank from another archive"),
    pytest.param((DRIVER, WORKERS[0], ("1", None, None, "")), False, id="a worker found none"),
])  # fmt: skip
def test_origin_of_the_package(witnessed, rows, sound):
    assert witnessed(*rows).sound is sound


def test_a_foreign_origin_is_named(witnessed):
    (line,) = witnessed(DRIVER, *WORKERS, ("1", "1", "2", "checkout")).foreign
    assert re.fullmatch(r"rank 1 on executor 1 \(process 1\) imported stspark from \S+/checkout/\S+", line)


def test_a_file_that_the_wheel_lacks_is_found(module, tmp_path):
    package = tmp_path / "stspark"
    (package / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "page.css", "__pycache__/x.pyc"):
        (package / name).touch()
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("stspark/__init__.py", "")
    assert module("wheel").missing_files(tmp_path / "a.whl", package) == ["page.css"]


FORECASTS = pd.DataFrame({
    "run_id": "r", "region": ["a", "a", "b"], "date": [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 1)],
    "model": "m", "y_hat": [1.5, 0.0, float("nan")], "is_champion": [True, False, True],
    "fallback_used": [None, "n", None],
})  # fmt: skip


def changed(column, row, value):
    frame = FORECASTS.copy()
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(("theirs", "difference"), [
    pytest.param(FORECASTS, None, id="the same"),
    pytest.param(FORECASTS.iloc[::-1], None, id="in another order"),
    pytest.param(changed("y_hat", 0, 1.5 * (1 + 1e-10)), None, id="rounding"),
    pytest.param(changed("y_hat", 0, 1.5 * (1 + 1e-8)), "forecasts[a, 2024-01-01, m].y_hat: 1.5 on the", id="a number"),
    pytest.param(changed("y_hat", 1, float("nan")), "forecasts[a, 2024-01-02, m].y_hat: 0.0 on the", id="null for 0"),
    pytest.param(changed("is_champion", 1, True), "forecasts[a, 2024-01-02, m].is_champion: False on", id="a flag"),
    pytest.param(changed("fallback_used", 1, None), "forecasts[a, 2024-01-02, m].fallback_used: 'n'", id="null text"),
    pytest.param(FORECASTS.iloc[:2], "forecasts[b, 2024-01-01, m]: only in the cluster", id="a row missing"),
    pytest.param(FORECASTS.drop(columns="y_hat"), "forecasts.y_hat: a column of one run only", id="a column missing"),
])  # fmt: skip
def test_comparison_names_the_first_difference(module, theirs, difference):
    found = module("comparison").compare("forecasts", FORECASTS, theirs)
    assert found.equal is (difference is None)
    assert found.differences == [] if difference is None else found.differences[0].startswith(difference)


def test_the_largest_difference_is_told_even_if_it_is_tolerated(module):
    found = module("comparison").compare("forecasts", FORECASTS, changed("y_hat", 0, 1.5 + 3e-10))
    assert found.equal
    assert found.largest == pytest.approx(3e-10, rel=1e-3)
    assert found.largest_relative == pytest.approx(2e-10, rel=1e-3)


def test_empty_tables_are_not_equal(module):
    assert not module("comparison").compare("forecasts", FORECASTS.iloc[:0], FORECASTS.iloc[:0]).equal


@pytest.mark.parametrize(("run_id", "status", "started", "device", "found"), [
    pytest.param("r", "ok", timedelta(0), "cpu", True, id="the same run"),
    pytest.param("other", "ok", timedelta(0), "cpu", False, id="another config, data or as-of"),
    pytest.param("r", "failed", timedelta(0), "cpu", False, id="failed"),
    pytest.param("r", "ok", timedelta(days=-3650), "cpu", False, id="older than the code"),
    pytest.param("r", "ok", timedelta(0), "cuda", False, id="trained on a GPU"),
])  # fmt: skip
def test_a_local_run_is_taken_only_if_it_is_the_same(module, tmp_path, run_id, status, started, device, found):
    def write(name, **columns):
        path = tmp_path / "warehouse" / "shop" / name
        write_deltalake(str(path), pd.DataFrame({key: [value] for key, value in columns.items()}))

    write("runs", run_id=run_id, status=status, started=datetime.now(UTC) + started)
    write("models", run_id=run_id, region="*", parameters=json.dumps({"device": device}))
    (tmp_path / "shop.yaml").write_text(f"dataset: shop\nwarehouse: {tmp_path / 'warehouse'}\n")
    ours = module("pipeline_run").PipelineRun(tmp_path / "home" / "shop", {"run_id": "r"})
    assert (module("local_run").find_local_run(str(tmp_path / "shop.yaml"), ours) is not None) is found


def test_without_a_local_run_there_is_none_to_take(module, tmp_path):
    (tmp_path / "shop.yaml").write_text(f"dataset: shop\nwarehouse: {tmp_path / 'warehouse'}\n")
    ours = module("pipeline_run").PipelineRun(tmp_path / "home" / "shop", {"run_id": "r"})
    assert module("local_run").find_local_run(str(tmp_path / "shop.yaml"), ours) is None


def test_a_config_that_does_not_exist_is_one_line(tmp_path):
    done = run(script("--config", "conf/simulatd.yaml", "--home", str(tmp_path / "home")))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"cluster: conf/simulatd.yaml: config file does not exist; give CONFIG= .*\n", done.stderr)


def test_a_folder_with_files_of_others_is_not_wiped(tmp_path):
    (tmp_path / "conf").mkdir()
    done = run(script("--home", str(tmp_path)))
    assert done.returncode == 1
    assert re.fullmatch(r"cluster: \S+: holds files of others.*\n", done.stderr)
    assert (tmp_path / "conf").is_dir()


def test_a_folder_in_use_is_left_alone(tmp_path):
    fcntl = importlib.import_module("fcntl")
    with (tmp_path / "cluster.lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(script("--home", str(tmp_path)))
    assert done.returncode == 1
    assert re.fullmatch(r"cluster: \S+: in use by process 4711; wait for it, or .*\n", done.stderr)
