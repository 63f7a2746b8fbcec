"""Submits jobs/pipeline.py, on the cluster or on this machine, and reads what it left."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from deltalake import DeltaTable
from place import LOOPBACK, ClusterError, Place, say
from processes import Family
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem
from standalone import Cluster

STEPS = ("ingest", "features", "train", "forecast", "reconcile", "evaluate")


@dataclass(frozen=True)
class PipelineRun:
    """A finished run: its data set's folder of tables, its row in `runs`, and whether it was made just now."""

    tables: Path
    row: dict[str, object]
    fresh: bool = True

    @property
    def run_id(self) -> str:
        return str(self.row["run_id"])

    def read(self, table: str) -> pd.DataFrame:
        """Return this run's rows of a table, read by delta-rs without Spark."""
        rows = read_delta(self.tables / table)
        return rows[rows["run_id"] == self.run_id] if "run_id" in rows else rows

    def global_failures(self) -> list[str]:
        """Return what went wrong with models that cover all regions: equal stand-ins prove nothing."""
        models = self.read("models")
        failed = models[(models["region"] == "*") & (models["status"] != "ok")]
        return [f"{row.model} {row.status}: {row.error}" for row in failed.itertuples()]


def read_delta(folder: Path) -> pd.DataFrame:
    """Return all rows of a Delta table.

    Arrow's own file system: delta-rs's is a Python one, whose threads abort a Python that ends soon after (1 in 12).
    """
    files = SubTreeFileSystem(str(folder.absolute()), LocalFileSystem())
    return DeltaTable(str(folder)).to_pandas(filesystem=files)


@dataclass(frozen=True)
class Task:
    """What both runs submit: the wheel, the job's file, the Python to run them, and config and further arguments."""

    wheel: Path
    job: Path
    python: Path
    arguments: list[str]


def run_on_cluster(place: Place, family: Family, cluster: Cluster, task: Task) -> PipelineRun:
    """Submit the pipeline to the cluster."""
    conf = {
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.executor.memory": "2g",
        "spark.executorEnv.GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    }
    options = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    environment = place.environment(task.python) | {"STSPARK_IMPORTS": str(place.imports)}
    command = _command(place, "cluster", task, ["--master", cluster.url, *options])
    say(f"cluster: the pipeline on {cluster.url} ({task.arguments[0]})")
    child = family.start("cluster", command, environment)
    return _finish(place, family, "cluster", child, cluster.require_alive)


def run_on_this_machine(place: Place, family: Family, task: Task) -> PipelineRun:
    """Submit the pipeline to local[*]."""
    say(f"local: the pipeline on local[*] ({task.arguments[0]})")
    command = _command(place, "local", task, ["--master", "local[*]"])
    child = family.start("local", command, place.environment(task.python))
    return _finish(place, family, "local", child, lambda: None)


def _command(place: Place, name: str, task: Task, options: list[str]) -> list[str]:
    """The spark-submit of a run whose tables and report go to folders of their own."""
    warehouse, reports = place.warehouse / name, place.reports / name
    aside = {"warehouse": str(warehouse), "reports": str(reports), "tracking_uri": None}
    sets = [word for key, value in aside.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    submit = [str(place.spark / "bin" / "spark-submit"), *options, "--py-files", str(task.wheel), str(task.job)]
    return [*submit, "--config", *task.arguments, *sets]


def _finish(
    place: Place, family: Family, name: str, child: subprocess.Popen[bytes], check: Callable[[], None]
) -> PipelineRun:
    """Echo a run's log to its end and return the run; `check` raises when there is no point in waiting on."""
    began = time.monotonic()
    _follow(place.logs / f"{name}.log", name, child, family, check)
    if child.returncode:
        raise _failure(name, child.returncode, place.logs / f"{name}.log")
    say(f"{name}: done in {time.monotonic() - began:.0f} s")
    return _only_run(place.warehouse / name)


def _follow(log: Path, name: str, child: subprocess.Popen[bytes], family: Family, check: Callable[[], None]) -> None:
    """Echo whole lines of the log until the process ends."""
    ended = False
    with log.open(encoding="utf-8", errors="replace") as said:
        rest = ""
        while not ended:
            ended = child.poll() is not None
            *lines, rest = (rest + said.read()).split("\n")
            for line in lines:
                print(f"  {name:>7} | {line}", file=sys.stderr, flush=True)
            if not ended:
                check()
                family.look()
                time.sleep(0.5)
        if rest:
            print(f"  {name:>7} | {rest}", file=sys.stderr, flush=True)


def _failure(name: str, exit_code: int, log: Path) -> ClusterError:
    """One line: the job's own where the mistake is the user's, else its last error; the rest was echoed."""
    said = log.read_text(errors="replace")
    if exit_code == 2 and (lines := re.findall(r"^error: (.*)", said, re.M)):
        return ClusterError(lines[-1], exit_code=2)
    errors = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception|Failed): .*", said, re.M) or ["no error was said"]
    return ClusterError(f"{name}: the pipeline ended with exit code {exit_code}: {errors[-1]} (all it said: {log})")


def _only_run(warehouse: Path) -> PipelineRun:
    """The run in a warehouse that was empty before."""
    tables = next(warehouse.glob("*/runs")).parent
    row = read_delta(tables / "runs").iloc[0].to_dict()
    return PipelineRun(tables, row)
