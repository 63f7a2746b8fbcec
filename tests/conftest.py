"""What tests share: one Spark session, one run of the whole pipeline on a small shop, and how to run a job."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from shop_panel import cutoff_of, shop_panel

from stspark.snapshot import Snapshot

ROOT = Path(__file__).resolve().parents[1]
SHOP = {"regions": 6, "start": date(2024, 6, 1), "end": date(2025, 6, 30), "orders_per_day": 30}
"""The small shop: 395 days with two 618s, a Double-11, a late opening on day 138 and a drop in the east on day 316."""
MODELS = (
    "[{name: seasonal_naive}, {name: auto_ets}, {name: theta}, {name: 'test_fleet:Broken'}, "
    "{name: prophet, samples: 200}, {name: stcnn, epochs: 4, fine_tune_epochs: 1}, {name: stv, second: orders}, "
    "{name: 'panel:test_panel_models:Unlucky'}]"
)


sys.path.append(str(ROOT / "jobs"))  # as spark-submit does with a job's folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the session (spark) and what needs the run of the pipeline (slow)."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        if used & {"spark", "small_run"}:
            item.add_marker("spark")
        if "small_run" in used:
            item.add_marker("slow")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory):
    """The session that all tests share, small; jobs that a test runs join it."""
    from stspark.session import build_session

    home = tmp_path_factory.mktemp("spark")
    environment = {
        "PYSPARK_SUBMIT_ARGS": "--driver-memory 3g pyspark-shell",
        "PYTHONPATH": str(ROOT / "tests"),  # models of the tests, on the workers
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(home)  # where Spark puts the folders of its databases
        for name, value in environment.items():
            patched.setenv(name, value)
        session = build_session("tests", master="local[2]")
    session.sparkContext.setLogLevel("OFF")
    session.conf.set("spark.sql.shuffle.partitions", "2")
    session.conf.set("spark.sql.codegen.wholeStage", "false")  # tables are small: compiling costs more than it saves
    session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    yield session
    session.stop()


@dataclass(frozen=True)
class Ran:
    """How a job ended: exit code, what it printed on stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Lines of stderr that are neither progress nor warnings of a library."""
        return [line for line in self.err.splitlines() if not re.match(r"\[ *\d+\.\ds\] ", line)]

    @property
    def run_id(self) -> str:
        found = re.search(r"^ +run +(\S+)$", self.out, re.M)
        assert found is not None, self.out
        return found[1]


def run_job(name: str, *arguments: str, body: Callable[[Any], None] | None = None) -> Ran:
    """Run jobs/NAME.py, or another body under that name, in this process."""
    from stspark.job import run_job as run

    job = None if body else import_module(name)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(name, job.main if job else body, arguments, more=getattr(job, "options", None))
    return Ran(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class SmallRun:
    """The pipeline's one run on the small shop: its arguments, where its files lie, how it ended."""

    arguments: tuple[str, ...]
    shop: Path
    home: Path
    reports: Path
    ran: Ran
    spark: Any

    def table(self, name: str) -> pd.DataFrame:
        """A table's rows, read by Spark."""
        return self.spark.read.format("delta").load(str(self.home / name)).toPandas()

    def rows(self, name: str) -> pd.DataFrame:
        """A table's rows of this run."""
        frame = self.table(name)
        return frame[frame["run_id"] == self.ran.run_id].reset_index(drop=True)


def small_arguments(home: Path) -> tuple[str, ...]:
    """conf/simulated.yaml for the small shop, with every path under `home`."""
    shop = ", ".join(f"{key}: {value}" for key, value in SHOP.items())
    changes = {
        "dataset": "small",
        "simulate": f"{{{shop}}}",
        "source.path": home / "simulated/events",
        "source.rules.3.keep": "event_time between '2024-05-31' and '2025-07-02'",
        "regions.file": home / "simulated/regions.csv",
        "covariates.0.file": home / "simulated/promotions.csv",
        "closed.file": home / "simulated/closures.csv",
        "calendar.shopping_events": ROOT / "conf/shopping_events.csv",
        "backtest.windows": 2,
        "backtest.warm_up": 1,
        "models": MODELS,
        "fleet.packs": 3,
        "warehouse": home / "warehouse",
        "reports": home / "reports",
    }
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    return ("--config", str(ROOT / "conf/simulated.yaml"), *sets)


@pytest.fixture(scope="session")
def small_run(spark, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """The whole pipeline, once, on the small shop."""
    home = tmp_path_factory.mktemp("small")
    arguments = small_arguments(home)
    ran = run_job("pipeline", *arguments)
    return SmallRun(arguments, home / "simulated", home / "warehouse/small", home / "reports", ran, spark)


@pytest.fixture(scope="module")
def panel() -> Snapshot:
    """The small panel of models that see all regions; test modules with another one define their own."""
    return shop_panel()


@pytest.fixture(scope="module")
def known(panel: Snapshot) -> Snapshot:
    """What is known of it a horizon before its end."""
    return panel.known_on(cutoff_of(panel))
