"""What is submitted: the wheel, built by `make wheel` and checked for completeness, and the job files.

Copies of both, since nobody edits those or builds there meanwhile: the two runs are of the same code.
"""

import fcntl
import os
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

from place import ROOT, ClusterError, Place, say


def build_wheel(place: Place) -> Path:
    """Build dist/stspark-VERSION-py3-none-any.whl and return a copy in place.shipped."""
    began = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    with (ROOT / "setup.py").open() as lock:  # a second build would remove this one's files
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            ["make", "-s", "-C", str(ROOT), "wheel"], env=environment, capture_output=True, text=True, check=False
        )
        (place.logs / "wheel.log").write_text(made.stdout + made.stderr)
        if made.returncode:
            raise ClusterError("the wheel could not be built", log=place.logs / "wheel.log")
        wheel = Path(shutil.copy(next((ROOT / "dist").glob("stspark-*.whl")), place.shipped))
    if lacks := missing_files(wheel, ROOT / "stspark"):
        raise ClusterError(f"the wheel lacks stspark/{lacks[0]}; add its kind to package_data in setup.py")
    say(f"built {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB, in {time.monotonic() - began:.0f} s")
    return wheel


def copy_jobs(place: Place) -> Path:
    """Return the path of a copy of jobs/pipeline.py, its siblings beside it."""
    for job in (ROOT / "jobs").glob("*.py"):
        shutil.copy(job, place.jobs)
    return place.jobs / "pipeline.py"


def missing_files(wheel: Path, package: Path) -> list[str]:
    """Return the files of the package's folder that the wheel has not, relative to that folder."""
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
    files = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
    wanted = (path for path in files if "__pycache__" not in path.parts and not path.name.startswith("."))
    return sorted(str(path) for path in wanted if f"{package.name}/{path.as_posix()}" not in there)
