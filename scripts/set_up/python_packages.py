"""Steps 1 and 2: a virtual environment, and the pinned packages in it."""

import os
import re
import shutil
import subprocess
import sys

from console import explain, run
from place import DISK_GB, Place, SetUpError


def make_venv(place: Place) -> None:
    """Make .venv, or make it anew if it is broken, of another Python, or was moved here from elsewhere."""
    if is_usable(place):
        return
    free_gb = shutil.disk_usage(place.root).free / 1e9
    if free_gb < DISK_GB:
        raise SetUpError(f"the disk has {free_gb:.0f} GB free; free {DISK_GB} GB and run the same command again")
    made = subprocess.run(
        [sys.executable, "-I", "-m", "venv", "--clear", str(place.venv)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        said = made.stdout + made.stderr
        if "ensurepip" in said:
            raise SetUpError("this Python lacks venv; install it (Debian, Ubuntu: sudo apt install python3.11-venv)")
        raise SetUpError(explain(said))


def is_usable(place: Place) -> bool:
    """Whether .venv runs Python 3.11 with pip, and its scripts name the Python that lies in it."""
    pip = place.venv / "bin" / "pip"
    if not (place.python.exists() and pip.exists() and (place.venv / "pyvenv.cfg").exists()):
        return False
    named = re.search(r"(/[^\n\"]*)/python[\d.]*", pip.read_text(errors="replace"))
    if not named or not os.path.exists(named[1]) or not os.path.samefile(named[1], place.python.parent):
        return False
    probe = "import sys, pip; assert sys.version_info[:2] == (3, 11)"
    return subprocess.run([place.python, "-I", "-c", probe], capture_output=True, check=False).returncode == 0


def install_packages(place: Place) -> None:
    """Install what setup.py names, at the versions of constraints.txt, and this package itself in place."""
    for unfinished in place.packages.glob("*.dist-info"):  # pip was stopped: RECORD is the last thing it writes
        if not (unfinished / "RECORD").exists():
            shutil.rmtree(unfinished)
    flags = "--no-input --disable-pip-version-check --progress-bar=off -c constraints.txt"
    pip = [str(place.python), "-I", "-m", "pip", "install", *flags.split()]
    env = {**os.environ, "PIP_USER": "0", "PYTHONUNBUFFERED": "1"}
    # The build tools first, pinned like the rest: pyspark comes as source, and this package is built with them too.
    run([*pip, "setuptools", "wheel"], place, lambda said: "build tools", env)
    total = sum("==" in line for line in (place.root / "constraints.txt").read_text().splitlines())

    def progress(said: str) -> str:
        if "Installing collected packages" in said:
            return f"installing {min(len(list(place.packages.glob('*.dist-info'))), total)} of {total}"
        found = len(re.findall(r"^Collecting |^Requirement already satisfied: ", said, re.M))
        doing = re.findall(r"^ *(?:(D)ownloading|Building wheel for) ([^\s-]+)\S*( \(\d.*\))?", said, re.M)
        now = f", {'downloading' if doing[-1][0] else 'building'} {''.join(doing[-1][1:])}" if doing else ""
        return f"found {min(found, total)} of {total}{now}"

    run([*pip, "--no-build-isolation", "-e", ".[dev]"], place, progress, env)
