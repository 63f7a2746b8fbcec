"""Run the pipeline on a standalone cluster of two workers on this machine and show that a local run gives the same.

    make cluster [CONFIG=conf/DATASET.yaml] [ARGS="--as-of 2024-05-31 --set dotted.key=value --home DIR"]

Everything it makes lies in .cluster (or --home): logs, the workers' folders, two warehouses, reports. Both runs
take the wheel by --py-files and a Python that has the dependencies but no stspark, so that the package cannot come from
anywhere else; each process of the cluster that imports it leaves a line that says from where. What was started is
stopped, whatever happens. Exit code 0: the tables are equal; 1: they are not, or a run failed; 2: the config or the
input is wrong; 130: stopped by the user.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import report
from comparison import compare_tables
from imports import read_imports
from local_run import find_local_run
from machine import make_python
from pipeline_run import PipelineRun, Task, run_on_cluster, run_on_this_machine
from place import ClusterError, Place, say
from processes import Family
from standalone import start_cluster
from wheel import build_wheel, copy_jobs


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    options = _parse(arguments)
    place = Place(Path(options.home))
    for name in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) != signal.SIG_IGN:  # nohup
            signal.signal(name, _interrupt)
    try:
        with _alone(place):
            return _run(place, options.config, _forwarded(options))
    except KeyboardInterrupt:
        say("stopped")
        return 130
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return error.exit_code


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _run(place: Place, config: str, more: list[str]) -> int:
    if not Path(config).is_file():
        there = ", ".join(sorted(str(path) for path in Path("conf").glob("*.yaml"))) or "none here"
        raise ClusterError(f"{config}: config file does not exist; give CONFIG= one of: {there}", exit_code=2)
    place.clear()
    wheel = build_wheel(place)
    python = make_python(place)
    task = Task(wheel, copy_jobs(place), python, [config, *more])
    with _family(place) as family:
        cluster = start_cluster(place, family, python)
        ours = run_on_cluster(place, family, cluster, task)
    imports = read_imports(place.imports, wheel)
    local = find_local_run(config, ours) or _run_locally(place, task)
    tables = compare_tables(ours, local)
    print(report.describe(place, ours, local, imports, tables))
    return 0 if imports.sound and all(table.equal for table in tables) and not ours.global_failures() else 1


def _run_locally(place: Place, task: Task) -> PipelineRun:
    with _family(place) as family:
        return run_on_this_machine(place, family, task)


@contextlib.contextmanager
def _family(place: Place) -> Iterator[Family]:
    """The processes of the block, stopped at its end; a second Ctrl-C does not interrupt that."""
    family = Family(place.logs)
    try:
        yield family
    finally:
        before = {name: signal.signal(name, signal.SIG_IGN) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        began = time.monotonic()
        if stopped := family.stop():
            say(f"stopped {stopped} processes in {time.monotonic() - began:.0f} s")
        shutil.rmtree(place.scratch, ignore_errors=True)
        for name, handler in before.items():
            signal.signal(name, handler)


@contextlib.contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Hold the lock of this folder: two clusters in it would write the same tables."""
    file = place.home / "cluster.lock"
    if place.home.exists() and not file.exists() and any(place.home.iterdir()):
        raise ClusterError(f"{place.home}: holds files of others, and would be wiped; give an empty folder as --home")
    try:
        place.home.mkdir(parents=True, exist_ok=True)
        lock = file.open("a+")
    except OSError as error:
        raise ClusterError(f"{place.home}: cannot be written ({error.strerror}); give ARGS='--home DIR'") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            other = f"{place.home}: in use by process {lock.read().strip() or '?'}"
            raise ClusterError(f"{other}; wait for it, or give ARGS='--home .cluster/second'") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="conf/simulated.yaml", metavar="conf/DATASET.yaml")
    parser.add_argument("--home", default=".cluster", metavar="DIR", help="where everything goes (default: .cluster)")
    parser.add_argument("--as-of", metavar="YYYY-MM-DD", help="as for the pipeline")
    parser.add_argument("--set", action="append", default=[], metavar="dotted.key=value", help="as for the pipeline")
    return parser.parse_args(arguments)


def _forwarded(options: argparse.Namespace) -> list[str]:
    as_of = ["--as-of", options.as_of] if options.as_of else []
    return as_of + [word for override in options.set for word in ("--set", override)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
