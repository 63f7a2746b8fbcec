"""Step 3: the Delta jars and Spark's settings, put where every Spark process of the environment finds them."""

import os
import shutil
from pathlib import Path

from console import run
from place import Place, SetUpError

# Ivy would also fetch what pyspark/jars has in newer versions (75 MB), and two versions on one class path do not work.
OURS = ("io.delta", "io.unitycatalog")
IN_PYSPARK = (
    "org.apache.hadoop", "org.apache.parquet", "org.apache.logging.log4j", "org.slf4j", "org.roaringbitmap",
    "com.fasterxml.jackson.core", "com.fasterxml.jackson.datatype", "org.scala-lang",
)  # fmt: skip

# pyspark's own version asks the python3 of the PATH where Spark is: another Python, unless .venv is activated.
FIND_SPARK_HOME = """\
#!/usr/bin/env bash
# Written by scripts/set_up. Sourced by spark-submit and its kin: the Spark and the Python of this environment.
bin="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export SPARK_HOME="${SPARK_HOME:-$(dirname "$bin")/lib/python3.11/site-packages/pyspark}"
export PATH="$bin:$PATH"
"""


def install_jars(place: Place) -> None:
    """Put the Delta jars into pyspark/jars: on the class path of every Spark process here, with no --packages."""
    spark_version, delta_version = place.pin("pyspark"), place.pin("delta-spark")
    artefact = f"delta-spark_{'.'.join(spark_version.split('.')[:2])}_2.13"
    kept = place.kept_jars / f"{artefact}-{delta_version}"
    if not kept.is_dir():
        fetch_jars(place, f"io.delta:{artefact}:{delta_version}", kept)
    wanted = {jar.name for jar in kept.glob("*.jar")}
    for jar in [*place.spark.glob("jars/delta-*.jar"), *place.spark.glob("jars/unitycatalog-*.jar")]:
        if jar.name not in wanted:
            jar.unlink()
    for name in sorted(wanted):
        copy(kept / name, place.spark / "jars" / name)


def fetch_jars(place: Place, coordinate: str, target: Path) -> None:
    """Let Spark's Ivy resolve the coordinate, and keep Delta's own jars, all at once, in `target`."""
    ivy = place.kept_jars / "ivy"
    ivy.mkdir(exist_ok=True)
    (ivy / "nothing.py").write_text("")
    command = [str(place.spark / "bin" / "spark-submit"), "--master", "local[1]", "--packages", coordinate]
    command += ["--exclude-packages", ",".join(f"{group}:*" for group in IN_PYSPARK)]
    command += ["--conf", f"spark.jars.ivy={ivy}", str(ivy / "nothing.py")]
    theirs = ("SPARK_", "PYSPARK_", "PYTHON")  # another Spark on this machine is not ours to start
    env = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    env |= {"SPARK_HOME": str(place.spark), "PYSPARK_PYTHON": str(place.python)}

    def progress(said: str) -> str:
        return f"{said.count('[SUCCESSFUL ]')} jars"

    run(command, place, progress, env)
    fetched = ivy / "fetched"
    shutil.rmtree(fetched, ignore_errors=True)
    fetched.mkdir()
    for group in OURS:
        for jar in (ivy / "jars").glob(f"{group}_*.jar"):  # GROUP_ARTEFACT-VERSION.jar
            jar.rename(fetched / jar.name.removeprefix(f"{group}_"))
    if not list(fetched.glob("delta-spark*.jar")):
        raise SetUpError(f"Ivy fetched no jar of {coordinate}; remove .jars and run the same command again")
    fetched.rename(target)
    shutil.rmtree(ivy)


def install_spark_settings(place: Place) -> None:
    """Give Spark its settings and a spark-submit that works without an activated environment."""
    (place.spark / "conf").mkdir(exist_ok=True)
    for path in (place.root / "conf" / "spark").iterdir():
        copy(path, place.spark / "conf" / path.name)
    (place.venv / "bin" / "find-spark-home").write_text(FIND_SPARK_HOME)


def copy(source: Path, target: Path) -> None:
    """Copy by rename: a Spark that is starting meanwhile never sees half a file."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, partial)
    partial.replace(target)
