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
from place import LOOPBACK, ROOT, ClusterError, Place, say
from processes import Family
from standalone import Cluster

STEPS = ("ingest", "features", "train", "forecast", "evaluate")


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
    """Return all rows of a Delta table."""
    return DeltaTable(str(folder)).to_pandas()


def run_on_cluster(place: Place, family: Family, cluster: Cluster, wheel: Path, arguments: list[str]) -> PipelineRun:
    """Submit the pipeline to the cluster with the wheel as --py-files."""
    conf = {
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.executor.memory": "2g",
        "spark.executorEnv.GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    }
    options = ["--master", cluster.url, "--py-files", str(wheel)]
    options += [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    environment = place.environment(cluster.python) | {"STSPARK_IMPORTS": str(place.imports)}
    return _submit(place, family, "cluster", (options, arguments, environment), cluster.require_alive)


def run_on_this_machine(place: Place, family: Family, arguments: list[str]) -> PipelineRun:
    """Submit the pipeline to local[*], with stspark from the checkout, as `make run` does."""
    options = ["--master", "local[*]"]
    environment = place.environment(Path(sys.executable))
    return _submit(place, family, "local", (options, arguments, environment), lambda: None)


def _submit(
    place: Place, family: Family, name: str,
    what: tuple[list[str], list[str], dict[str, str]], check: Callable[[], None],
) -> PipelineRun:  # fmt: skip
    """Run spark-submit and echo what it says; `check` raises when there is no point in waiting on."""
    options, (config, *more), environment = what
    warehouse = place.warehouse / name
    aside = {"warehouse": str(warehouse), "reports": str(place.reports / name), "tracking_uri": None}
    sets = [word for key, value in aside.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [str(place.spark / "bin" / "spark-submit"), *options, str(ROOT / "jobs" / "pipeline.py")]
    say(f"{name}: the pipeline on {options[1]} ({config})")
    began = time.monotonic()
    child = family.start(name, [*command, "--config", config, *more, *sets], environment)
    _follow(place.logs / f"{name}.log", name, child, family, check)
    if child.returncode:
        raise _failure(name, child.returncode, place.logs / f"{name}.log")
    say(f"{name}: done in {time.monotonic() - began:.0f} s")
    return _only_run(warehouse)


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
                time.sleep(0.3)


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
