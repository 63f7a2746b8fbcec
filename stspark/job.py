"""What every job shares: arguments, exit codes, the run it belongs to, the closing summary."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NoReturn

from pyspark.sql import SparkSession

from stspark import __version__, cells, progress, runs, staging
from stspark.config_file import load_settings, origin
from stspark.errors import ConfigError, UserError
from stspark.preflight import prepare
from stspark.session import build_session
from stspark.settings import Settings
from stspark.store import Store
from stspark.tables import for_settings

log = logging.getLogger("stspark")


@dataclass
class Job:
    """One invocation: its settings, session and tables, and what it has to tell at the end."""

    name: str
    settings: Settings
    spark: SparkSession
    store: Store
    asked_as_of: date | None = None
    config: str = ""
    """Path of the config file, as it was given."""
    full: bool = False
    """Make everything anew, not only what changed."""
    options: argparse.Namespace = field(default_factory=argparse.Namespace)
    """What this job alone understands."""
    seconds: dict[str, float] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    run: runs.Run | None = None
    mlflow_run: str | None = None
    report: str | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step of the pipeline and show its progress."""
        begun = time.monotonic()
        log.info("%s: starts", name)
        with progress.watch(self.spark, name):
            yield
        self.seconds[name] = time.monotonic() - begun
        log.info("%s: done in %.0f s", name, self.seconds[name])

    def open_run(self) -> runs.Run:
        """The run that config, data and as-of define; noted as running in `runs`."""
        if self.run is None:
            as_of = runs.resolve_as_of(self.store, self.asked_as_of, self.settings)
            self.run = runs.identify(self.store, self.settings, as_of)
            log.info("run %s, as of %s", self.run.run_id, as_of)
            self._record("running")
        return self.run

    def close(self, status: str) -> None:
        """Note the end of the run, if one was opened, and clear what it staged."""
        staging.clear(self.spark, staging.folder(self))
        if self.run is not None:
            self._record(status)

    def _record(self, status: str) -> None:
        assert self.run is not None
        if self.name not in runs.RECORDED:
            return  # a job beside the run's steps leaves the run's row as it is
        self.store.merge("runs", runs.row(self, self.run, status), keep=runs.KEPT)


def run_job(
    name: str,
    body: Callable[[Job], None],
    arguments: Sequence[str] | None = None,
    more: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Parse arguments, run `body`, print the summary; return the exit code of the contract (0, 2 or 1).

    more: adds the options that this job alone understands.
    """
    _interrupted.clear()
    _start_logging()
    options = _parse(name, arguments, more)
    try:
        settings = load_settings(options.config, options.set)
        _prepare(settings, options)
        job = _open(name, settings, options)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    try:
        body(job)
        job.close("ok")
    except UserError as mistake:
        job.close("failed")
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    except BaseException:
        _try_to_close(job)
        if not _interrupted.is_set():
            raise
        print("interrupted: what was published stays whole; the same command goes on from here", file=sys.stderr)
        return 1
    print(_summary(job))
    return 0


def _prepare(settings: Settings, options: argparse.Namespace) -> None:
    """All that can be checked before Spark starts; a mistake in a key names the file or the `--set` that holds it."""
    try:
        prepare(settings)
    except ConfigError as mistake:
        where = origin(options.config, options.set, mistake.where, settings.model_dump())
        raise ConfigError(where, mistake.problem, mistake.fix) from mistake


def _try_to_close(job: Job) -> None:
    """Note a failed run without hiding the error that ended it."""
    try:
        job.close("failed")
    except Exception:
        log.warning("the failure could not be noted in the table runs", exc_info=not _interrupted.is_set())


_interrupted = threading.Event()
"""Ctrl-C was typed. The JVM hears it too and ends, so that any error may be what comes of it."""


def _interrupt(signum: int, frame: object) -> NoReturn:
    _interrupted.set()
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    """A mistake on the command line is one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; --help lists the options\n")


def _parse(
    name: str, arguments: Sequence[str] | None, more: Callable[[argparse.ArgumentParser], None] | None
) -> argparse.Namespace:
    parser = _Parser(
        prog=f"spark-submit jobs/{name}.py", description=sys.modules["__main__"].__doc__ if arguments is None else None
    )
    parser.add_argument("--config", required=True, metavar="conf/DATASET.yaml", help="the data set's configuration")
    parser.add_argument(
        "--as-of",
        type=_day,
        metavar="YYYY-MM-DD",
        help="last day that the run may know (default: the last day of the data)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="dotted.key=value",
        help="override a key of the config; repeatable",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="clean all files and build all days anew, not only what changed since the last run",
    )
    if more is not None:
        more(parser)
    return parser.parse_args(arguments)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no day; write YYYY-MM-DD") from error


def _open(name: str, settings: Settings, options: argparse.Namespace) -> Job:
    log.info("stspark %s %s: %s", __version__, name, settings.title or settings.dataset)
    spark = build_session(f"stspark {name} {settings.dataset}")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)  # PySpark's own asks the JVM to cancel jobs
    if settings.regions.cells is not None:
        cells.register(spark)
    store = Store(spark, settings.home, for_settings(settings))
    return Job(name, settings, spark, store, options.as_of, options.config, options.full, options)


def _start_logging() -> None:
    """Our own lines to stderr, with seconds since the start; nothing of the libraries below warnings."""
    begun = time.monotonic()

    class Elapsed(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return f"[{time.monotonic() - begun:6.1f}s] {record.getMessage()}" + (
                "\n" + self.formatException(record.exc_info) if record.exc_info else ""
            )

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Elapsed())
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    hush_repeats()


def hush_repeats() -> None:
    """Silence loggers of PySpark and py4j that print, in pages, the errors that they raise and we show ourselves."""
    for repeats in ("DataFrameQueryContextLogger", "SQLQueryContextLogger", "py4j"):
        logging.getLogger(repeats).setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_not_an_echo)  # py4j logs there what it raises


def _not_an_echo(record: logging.LogRecord) -> bool:
    return not record.getMessage().endswith("while sending command.")


def _summary(job: Job) -> str:
    facts = {
        "run": job.run.run_id if job.run else "-",
        **job.summary,
        "seconds": ", ".join(f"{name} {value:.0f}" for name, value in job.seconds.items()),
        "tables": job.settings.home,
        **({"report": job.report} if job.report else {}),
        **({"mlflow run": job.mlflow_run} if job.mlflow_run else {}),
    }
    width = max(len(key) for key in facts)
    lines = [f"  {key:<{width}}  {value}" for key, value in facts.items() if value]
    return "\n".join([f"{job.name} {job.settings.dataset}: ok", *lines])
