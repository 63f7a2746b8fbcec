"""Builds the SparkSession: the only module that does."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from stspark.errors import EnvironmentMistake

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
"""One compute thread per Python worker: workers are the parallelism, and must not fight over cores."""


FIXED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.legacy.javaCharsets": "true",  # read any encoding that Java knows, not only Latin-1 and UTF
}
"""What decides numbers: the same on every cluster, whatever its spark-defaults.conf says."""

LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.buffer.pageSize": "4m",
}
"""On one machine. A page is up to 64 MB by itself, and each table that is broadcast, however small, holds one."""


def build_session(name: str, master: str | None = None) -> SparkSession:
    """Start (or join) the session of a job, with Delta, UTC and Arrow on.

    Settings given to spark-submit win, but for those that decide numbers (FIXED). Raises EnvironmentMistake where Java
    or the Delta jars are missing.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(name)
    if master:
        builder = builder.master(master)
    try:
        SparkContext._ensure_initialized()  # from here on SparkConf knows what spark-submit was given
        for key, value in _settings().items():
            builder = builder.config(key, value)
        spark: SparkSession = builder.getOrCreate()
        spark._jvm.java.lang.Class.forName(  # type: ignore[union-attr]
            "io.delta.sql.DeltaSparkSessionExtension",
            True,
            spark._jvm.java.lang.Thread.currentThread().getContextClassLoader(),  # type: ignore[union-attr]
        )
    except PySparkRuntimeError as error:
        raise EnvironmentMistake(
            "Java", f"Spark could not start ({error.getCondition()})", "install Java 17 and set JAVA_HOME"
        ) from error
    except Exception as error:
        if "ClassNotFoundException" not in str(error):
            raise
        raise EnvironmentMistake(
            "Delta jars",
            "are not on Spark's class path",
            "run `make setup`, or submit with --packages io.delta:delta-spark_4.2_2.13:4.4.0",
        ) from error
    ship_package(spark)
    return spark


def ship_package(spark: SparkSession) -> None:
    """Let executors import stspark where spark-submit was given the wheel (--py-files).

    PySpark puts .zip, .egg and .jar on its workers' path, but no .whl, which only its name sets apart from a .zip.
    """
    if package_root().suffix == ".whl":
        spark.sparkContext.addPyFile(str(_as_zip(package_root())))


@functools.cache
def _as_zip(wheel: Path) -> Path:
    """Copy the wheel to stspark.zip, for as long as this process runs: executors fetch it from here."""
    folder = Path(tempfile.mkdtemp(prefix="stspark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(shutil.copy(wheel, folder / "stspark.zip"))


def _settings() -> dict[str, str]:
    """Session settings that are not already given to spark-submit, and those that must be ours."""
    given = SparkConf()
    local = given.get("spark.master", "local[*]").startswith("local")
    cores = os.cpu_count() or 2
    wanted = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.shuffle.partitions": str(2 * cores),
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(cores),
        "spark.ui.enabled": "false",
        "spark.python.unix.domain.socket.enabled": str(os.name == "posix").lower(),
        **(LOCAL if local else {}),
        **({"spark.python.daemon.module": "stspark.daemon"} if local and package_root().suffix != ".whl" else {}),
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
        "spark.sql.requireAllClusterKeysForCoPartition": "false",  # what lies by region is joined by day where it lies
        **{f"spark.executorEnv.{name}": value for name, value in THREADS.items()},
    }
    return {key: value for key, value in wanted.items() if not given.contains(key)} | FIXED


def slots(spark: SparkSession) -> int:
    """Tasks that can run at once now."""
    return spark.sparkContext.defaultParallelism


def package_root() -> Path:
    """Folder that holds the package, for children that start without it."""
    return Path(__file__).resolve().parent.parent
