"""Set-up: its one-line errors, its stamp and lock, the Makefile, and the pins. No network, no Spark."""

import ast
import fcntl
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def module(monkeypatch):
    """Import a module of scripts/set_up, which set-up runs as a folder and not as a package."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "set_up"))
    yield importlib.import_module
    for name, loaded in list(sys.modules.items()):
        if str(ROOT / "scripts" / "set_up") in str(getattr(loaded, "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def checkout(tmp_path):
    """A copy of what set-up reads, with no environment."""
    for name in ("scripts", "conf/spark"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def command(path: Path, says: str, *, exit_code: int = 0) -> None:
    """Write an executable that says one thing, on both streams."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\necho '{says}' >&2\nexit {exit_code}\n")
    path.chmod(0o755)


def set_up(checkout: Path, path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run setup.sh with nothing on the PATH but what lies in `path`."""
    path.mkdir(exist_ok=True)
    return subprocess.run(
        ["/bin/sh", str(checkout / "scripts" / "setup.sh")],
        env={"PATH": str(path), **env}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- one clear line


@pytest.mark.parametrize(
    ("pythons", "env", "names"),
    [
        pytest.param({}, {}, "no Python that runs", id="no Python"),
        pytest.param({"python3": "3.9"}, {}, "python3 is Python 3.9", id="old"),
        pytest.param({"python3.11": "", "python3": "3.12"}, {}, "python3 is Python 3.12", id="an empty shim"),
        pytest.param({"python3.11": "3.11"}, {"PYTHON": "python2"}, "no python2 that runs", id="PYTHON names none"),
    ],
)
def test_wrong_python_is_one_line_with_the_remedy(checkout, tmp_path, pythons, env, names):
    for name, version in pythons.items():
        command(tmp_path / "bin" / name, version, exit_code=0 if version else 127)
    done = set_up(checkout, tmp_path / "bin", **env)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Python 3.11 is needed" in done.stderr
    assert names in done.stderr
    assert "apt install python3.11" in done.stderr


@pytest.mark.parametrize(
    ("java", "names"),
    [
        pytest.param(None, "no Java found", id="no Java"),
        pytest.param('openjdk version "11.0.22" 2024-01-16', "is Java 11", id="Java 11"),
        pytest.param('openjdk version "1.8.0_402"', "is Java 8", id="Java 8"),
        pytest.param("The operation could not be completed", "-version does not work", id="the stub of macOS"),
    ],
)
def test_wrong_java_is_one_line_with_the_remedy(checkout, tmp_path, java, names):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.11").symlink_to(sys.executable)
    if java:
        command(tmp_path / "bin" / "java", java)
    done = set_up(checkout, tmp_path / "bin")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert names in done.stderr
    assert "install Java 17" in done.stderr
    assert not (checkout / ".venv").exists()


def test_java_home_goes_before_the_path(checkout, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.11").symlink_to(sys.executable)
    command(tmp_path / "bin" / "java", 'openjdk version "17.0.1"')
    done = set_up(checkout, tmp_path / "bin", JAVA_HOME="/no/such/java")
    assert "JAVA_HOME=/no/such/java holds no bin/java" in done.stderr


@pytest.mark.parametrize("version", ['"17.0.15" 2025-04-15', '"21"', '"25.0.1"'])
def test_java_that_spark_runs_on_passes(module, monkeypatch, tmp_path, version):
    command(tmp_path / "bin" / "java", f"openjdk version {version}")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    module("java").check_java()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        pytest.param(
            "WARNING: Retrying ... NewConnectionError('...: Failed to establish a new connection')\n"
            "ERROR: No matching distribution found for setuptools",
            "no network: pip cannot reach",
            id="pip without network",
        ),
        pytest.param("ERROR: No matching distribution found for torch==2.13.0", "no torch==2.13.0", id="no wheel"),
        pytest.param(
            "Host repo1.maven.org not found.\n[unresolved dependency: io.delta#delta-spark_4.2_2.13;4.4.0: not found]",
            "no network: Ivy cannot fetch",
            id="Ivy without network",
        ),
        pytest.param("[unresolved dependency: io.delta#x;1: not found]", "Ivy cannot fetch", id="Ivy, no such jar"),
        pytest.param("ERROR: [Errno 28] No space left on device", "the disk is full", id="disk full"),
        pytest.param("Error: [Errno 13] Permission denied: '.venv'", "no permission to write", id="no permission"),
        pytest.param("building\nERROR: it broke\nsee above", "ERROR: it broke", id="anything else"),
        pytest.param("", "no output", id="nothing said"),
    ],
)
def test_a_failed_command_is_explained_in_one_line(module, output, says):
    explained = module("console").explain(output)
    assert says in explained
    assert "\n" not in explained


# ------------------------------------------------------------------------------------------------- stamp and lock


@pytest.fixture
def steps(module, monkeypatch):
    """The main module of set-up with its steps replaced by a list of those that ran."""
    module("place")  # the folder is on the path now, as it is when set-up runs
    spec = importlib.util.spec_from_file_location("set_up_main", ROOT / "scripts" / "set_up" / "__main__.py")
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    ran: list[str] = []
    for name in ("make_venv", "install_packages", "install_jars", "install_spark_settings"):
        monkeypatch.setattr(main, name, lambda place, name=name: (place.venv.mkdir(exist_ok=True), ran.append(name)))
    monkeypatch.setattr(main, "check_java", lambda: None)
    return main, ran


def test_a_second_set_up_does_nothing(steps, module, checkout, capsys):
    main, ran = steps
    place = module("place").Place(checkout)
    main.set_up(place)
    assert ran == ["make_venv", "install_packages", "install_jars", "install_spark_settings"]
    assert [line[:12] for line in capsys.readouterr().err.splitlines()][:3] == [f"[set-up] {n}/3" for n in (1, 2, 3)]
    main.set_up(place)
    assert len(ran) == 4
    assert capsys.readouterr().err == ""


def test_an_interrupted_set_up_is_taken_up_again(steps, module, checkout, monkeypatch):
    main, ran = steps
    place = module("place").Place(checkout)

    def stopped(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(main, "install_jars", stopped)
        with pytest.raises(KeyboardInterrupt):
            main.set_up(place)
    assert not place.is_ready()
    main.set_up(place)
    assert ran[-4:] == ["make_venv", "install_packages", "install_jars", "install_spark_settings"]
    assert place.is_ready()


@pytest.mark.parametrize("changed", ["constraints.txt", "setup.py", "conf/spark/log4j2.properties"])
def test_a_changed_pin_or_setting_makes_it_again(steps, module, checkout, changed):
    main, ran = steps
    place = module("place").Place(checkout)
    main.set_up(place)
    with (checkout / changed).open("a") as file:
        file.write("\n# changed\n")
    assert not place.is_ready()
    main.set_up(place)
    assert len(ran) == 8


def test_a_moved_checkout_is_made_again(steps, module, checkout, tmp_path):
    main, _ = steps
    main.set_up(module("place").Place(checkout))
    moved = tmp_path.with_name("moved")
    checkout.rename(moved)
    assert not module("place").Place(moved).is_ready()


def test_a_second_command_waits_and_finds_it_made(steps, module, checkout, capsys):
    main, ran = steps
    place = module("place").Place(checkout)
    place.kept_jars.mkdir()
    with (place.kept_jars / "set-up.lock").open("a") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = threading.Thread(target=main.set_up, args=(place,))
        second.start()
        second.join(0.5)
        assert second.is_alive()
        place.venv.mkdir()
        place.stamp.write_text(place.fingerprint())
    second.join(10)
    assert not second.is_alive()
    assert ran == []
    assert "waiting" in capsys.readouterr().err


def test_a_package_that_pip_did_not_finish_is_installed_again(module, checkout, monkeypatch):
    packages, place = module("python_packages"), module("place").Place(checkout)
    for name in ("whole", "half"):
        (place.packages / f"{name}-1.0.dist-info").mkdir(parents=True)
    (place.packages / "whole-1.0.dist-info" / "RECORD").touch()
    monkeypatch.setattr(packages, "run", lambda *_: "")
    packages.install_packages(place)
    assert [path.name for path in place.packages.iterdir()] == ["whole-1.0.dist-info"]


def test_jars_of_another_version_do_not_stay(module, checkout):
    jars, place = module("spark_jars"), module("place").Place(checkout)
    version = place.pin("delta-spark")
    artefact = f"delta-spark_{'.'.join(place.pin('pyspark').split('.')[:2])}_2.13-{version}"
    (place.kept_jars / artefact).mkdir(parents=True)
    (place.kept_jars / artefact / f"delta-storage-{version}.jar").touch()
    (place.spark / "jars").mkdir(parents=True)
    for name in ("delta-storage-0.1.jar", "spark-core_2.13-4.2.0.jar"):
        (place.spark / "jars" / name).touch()
    jars.install_jars(place)
    assert {path.name for path in (place.spark / "jars").iterdir()} == {
        f"delta-storage-{version}.jar", "spark-core_2.13-4.2.0.jar",
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------- make


TARGETS = ("run", "test", "sql", "cluster", "lint", "wheel", "setup", "clean", "distclean")


def make(directory: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=directory, env=inherited | env, capture_output=True, text=True, check=True, timeout=60
    )


def test_help_lists_every_command(checkout):
    listed = make(checkout, "help").stdout
    for target in TARGETS:
        assert re.search(rf"^  {target} +\S", listed, re.M), target


@pytest.fixture
def stub(checkout):
    """A checkout whose environment is made, and whose spark-submit and python show what they were given."""
    (checkout / "scripts" / "setup.sh").write_text("")
    for name in ("spark-submit", "python"):
        command(checkout / ".venv" / "bin" / name, "")
        (checkout / ".venv" / "bin" / name).write_text(
            '#!/bin/sh\nprintf "%s|" "$@"; printf "query=%s|spark=%s" "$STSPARK_QUERY" "$SPARK_HOME"\n'
        )
    return checkout


@pytest.mark.parametrize(
    "query",
    [
        "select region, date from shop.forecast_latest order by region, date limit 14",
        "select * from t where city = 'O''Brien' and \"x y\" <> `z`; -- a comment, 100 %",
        "select '$HOME', '$(shell echo bad)', '\\\\n', '#'",
        "",
    ],
)
def test_a_query_reaches_the_job_as_it_was_typed(stub, query):
    assert make(stub, "sql", f"QUERY={query}").stdout.split("|query=")[1] == f"{query}|spark="


def test_run_takes_the_simulated_shop_unless_told_otherwise(stub):
    assert make(stub, "run").stdout.startswith("jobs/pipeline.py|--config|conf/simulated.yaml|query=")
    given = make(stub, "run", "CONFIG=my data.yaml", "ARGS=--as-of 2024-05-31").stdout
    assert given.startswith("jobs/pipeline.py|--config|my data.yaml|--as-of|2024-05-31|query=")


def test_another_spark_on_the_machine_is_left_alone(stub):
    assert make(stub, "run", SPARK_HOME="/opt/other-spark").stdout.endswith("|spark=")


def test_clean_keeps_the_environment_and_what_people_wrote(stub):
    made = ["warehouse", "reports", "simulated", "mlruns", ".pytest_cache"]
    kept = [".venv", "conf", "scripts", ".jars"]
    for name in [*made, ".jars", "jobs", "stspark", "tests", "bench"]:
        (stub / name).mkdir(exist_ok=True)
    (stub / "mlflow.db").touch()
    make(stub, "clean")
    assert not [name for name in [*made, "mlflow.db"] if (stub / name).exists()]
    assert not [name for name in kept if not (stub / name).exists()]


# ------------------------------------------------------------------------------------------------- pins and packaging


def named_in_setup_py() -> list[str]:
    """The requirements of setup.py, without running it."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)]
    return [name for found in lists for name in ast.literal_eval(found)]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~ \[;]", name)[0]).lower()


def test_every_dependency_is_named_once_and_pinned():
    named = [normal(name) for name in named_in_setup_py()]
    pins = [line.split(";")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pinned = {normal(pin): pin for pin in pins if pin and not pin.startswith("#")}
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", pin) for pin in pinned.values())
    assert len(named) == len(set(named))
    assert set(named) <= set(pinned)
    for requirement in named_in_setup_py():
        if "==" in requirement:
            assert pinned[normal(requirement)] == requirement.replace("delta-spark", "delta_spark")


def test_every_dependency_says_why_it_is_there():
    lines = (ROOT / "setup.py").read_text().splitlines()
    named = [line for line in lines if re.match(r'    "[A-Za-z]', line)]
    assert len(named) == len(named_in_setup_py())
    assert [line for line in named if "  # " not in line] == []


def test_every_import_is_of_a_named_dependency():
    named = {normal(name) for name in named_in_setup_py()}
    sources = [path for folder in ("stspark", "jobs") for path in (ROOT / folder).rglob("*.py")]
    found = {
        module.split(".")[0]
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
        for module in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    ours = {"stspark", *(path.stem for path in (ROOT / "jobs").glob("*.py"))}  # pipeline.py imports the other jobs
    foreign = found - set(sys.stdlib_module_names) - ours
    packages = importlib.metadata.packages_distributions()
    assert {name for name in foreign if not {normal(d) for d in packages.get(name, [])} & named} == set()


def test_every_folder_of_modules_goes_into_the_wheel():
    folders = {path.parent for path in (ROOT / "stspark").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_licence_is_there():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "Apache-2.0" in (ROOT / "setup.py").read_text()


def test_ci_runs_the_command_of_the_readme():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
