"""Make the environment that every command needs: .venv with the pinned packages, the Delta jars, Spark's settings.

scripts/setup.sh runs this folder with a Python 3.11 (`--check`: only say by the exit code whether all is there). It
uses the standard library alone, since nothing is installed yet. What was made is kept: a stamp, written last, holds a
hash of all that the environment was made from, so a finished environment costs milliseconds, and an interrupted or
outdated one is taken up where it stands. Messages go to stderr: the output of `make sql` stays clean.
"""

import contextlib
import errno
import fcntl
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from console import say
from java import check_java
from place import DISK_GB, Place, SetUpError
from python_packages import install_packages, make_venv
from spark_jars import install_jars, install_spark_settings

ROOT = Path(__file__).resolve().parent.parent.parent


@contextlib.contextmanager
def alone(place: Place) -> Iterator[None]:
    """Hold the lock of this checkout, so that two commands started at once make the environment once."""
    place.kept_jars.mkdir(exist_ok=True)
    with (place.kept_jars / "set-up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another command is making the environment; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up(place: Place) -> None:
    """Make what is missing, or nothing."""
    check_java()
    if place.is_ready():
        return
    with alone(place):
        if place.is_ready():  # made by the command that held the lock
            return
        start = time.monotonic()
        place.stamp.unlink(missing_ok=True)
        say("1/3 Python environment in .venv")
        make_venv(place)
        new = not place.spark.is_dir()
        say("2/3 Python packages" + (" (the first time about 3 minutes, 6 GB)" if new else ""))
        install_packages(place)
        say("3/3 Delta jars and Spark's settings")
        install_jars(place)
        install_spark_settings(place)
        place.stamp.write_text(place.fingerprint() + "\n")
        seconds = int(time.monotonic() - start)
        say(f"ready after {seconds // 60} min {seconds % 60} s")


def main(arguments: list[str]) -> int:
    """Return the exit code: 0 all is there, 1 with one line that says what to do, 130 after Ctrl-C."""
    place = Place(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        if "--check" in arguments:
            check_java()
            return 0 if place.is_ready() else 1
        set_up(place)
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here")
        return 130
    except SetUpError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        remedy = {
            errno.ENOSPC: f"free {DISK_GB} GB and run the same command again",
            errno.EACCES: "work in a directory of your own",
            errno.EROFS: "work in a directory that can be written to",
        }.get(error.errno or 0, "run the same command again")
        print(f"set-up: {error.filename or ROOT}: {error.strerror or error}; {remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
