"""Where everything of one cluster lies, the environment its processes get, and how it talks to the user."""

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LOOPBACK = "127.0.0.1"


def say(text: str) -> None:
    """Tell the user where it stands."""
    print(f"[cluster] {text}", file=sys.stderr, flush=True)


class ClusterError(Exception):
    """What is wrong and what to do, in one line; below it, where it helps, the end of a log."""

    def __init__(self, line: str, *, log: Path | None = None, exit_code: int = 1) -> None:
        self.exit_code = exit_code
        super().__init__(line if log is None else f"{line} (all it said: {log})\n{tail(log)}")


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented."""
    said = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line}" for line in said[-lines:])


class Place:
    """One cluster's folder: wiped when it starts, left behind for the user to look into."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.logs = self.home / "logs"
        self.work = self.home / "work"  # the workers': one folder per application and executor
        self.python = self.home / "python"
        self.settings = self.home / "conf"
        self.shipped = self.home / "wheel"
        self.jobs = self.home / "jobs"
        self.scratch = self.home / "tmp"
        self.warehouse = self.home / "warehouse"
        self.reports = self.home / "reports"
        self.imports = self.logs / "imports.jsonl"

    def clear(self) -> None:
        """Remove what an earlier cluster left: its tables would be taken for this one's."""
        made = (self.logs, self.work, self.python, self.settings, self.shipped, self.jobs, self.scratch)
        for folder in (*made, self.warehouse, self.reports):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in made:
            folder.mkdir(parents=True)

    @property
    def spark(self) -> Path:
        """Spark, as installed in the environment that runs this script."""
        import pyspark

        return Path(pyspark.__file__).parent

    def environment(self, python: Path) -> dict[str, str]:
        """Return the environment of every process: this Spark and Python, loopback, and no GPU.

        The standalone workers offer no GPU, so a local run that took one would not be the same computation.
        """
        foreign = ("SPARK_", "PYSPARK_", "PYTHON", "MAKE", "VIRTUAL_ENV")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return ours | {
            "SPARK_HOME": str(self.spark),
            "SPARK_LOCAL_IP": LOOPBACK,
            "SPARK_LOCAL_DIRS": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "PYSPARK_PYTHON": str(python),
            "PYSPARK_DRIVER_PYTHON": str(python),
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "CUDA_VISIBLE_DEVICES": "",
        }
