"""SQL over a data set's tables: one answer, or a prompt."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from stspark.config_file import load_settings
from stspark.errors import InputError, UserError
from stspark.job import hush_repeats
from stspark.session import build_session
from stspark.store import Store
from stspark.tables import for_settings

ROWS_SHOWN = 1000
TERMINAL = "/dev/tty"


def run_sql(arguments: Sequence[str] | None = None) -> int:
    """Answer --query (or STSPARK_QUERY), else prompt; return 0, 2 for the user's mistakes."""
    parser = argparse.ArgumentParser(prog="spark-submit jobs/sql.py", description="SQL over a data set's tables")
    parser.add_argument("--config", required=True, metavar="conf/DATASET.yaml")
    parser.add_argument("--query", default=os.environ.get("STSPARK_QUERY", ""), help="answer this and end")
    parser.add_argument(
        "--set", action="append", default=[], metavar="dotted.key=value", help="override a key; repeatable"
    )
    options = parser.parse_args(arguments)
    hush_repeats()
    try:
        settings = load_settings(options.config, options.set)
        spark = build_session(f"stspark sql {settings.dataset}")
        names = Store(spark, settings.home, for_settings(settings)).register()
        if not names:
            raise InputError(settings.home, "holds no tables yet", f"run `make run CONFIG={options.config}` first")
        spark.sql(f"use `{settings.dataset}`")
        if options.query.strip():
            show(answer(spark, options.query))
        else:
            prompt(spark, settings.dataset, names)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    return 0


def answer(spark: SparkSession, query: str) -> DataFrame:
    """The query's rows; InputError with Spark's own first line where it is wrong."""
    try:
        frame = spark.sql(query.strip().rstrip(";"))
        frame.limit(0).collect()
    except PySparkException as error:
        raise InputError("query", _first_line(str(error)), "mend the query; `show tables` lists the tables") from error
    return frame


def _first_line(text: str) -> str:
    return next((line.strip().rstrip(";") for line in text.splitlines() if line.strip()), "is not understood")


def show(frame: DataFrame) -> None:
    """Print rows as an aligned table, at most ROWS_SHOWN."""
    rows = frame.limit(ROWS_SHOWN + 1).collect()
    cells = [frame.columns, *([_text(v) for v in row] for row in rows[:ROWS_SHOWN])]
    widths = [max(len(line[i]) for line in cells) for i in range(len(frame.columns))]
    for number, line in enumerate(cells):
        print("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print(f"({len(rows):,} rows)" if len(rows) <= ROWS_SHOWN else f"(the first {ROWS_SHOWN:,} rows; add a limit)")


def _text(value: object) -> str:
    if value is None:
        return "null"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def prompt(spark: SparkSession, dataset: str, names: Sequence[str]) -> None:
    """Read statements that end with ; and answer them, until end of input, quit or exit."""
    print(f"{dataset}: {', '.join(names)}\nEnd a statement with ; and leave with quit;")
    _listen_to_the_terminal()
    statement = ""
    while True:
        try:
            statement += input("stspark> " if not statement else "      -> ") + "\n"
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if statement.strip().lower().rstrip(";") in ("quit", "exit"):
            return
        if not statement.strip().endswith(";"):
            continue
        try:
            show(answer(spark, statement))
        except UserError as mistake:
            print(f"error: {mistake}")
        statement = ""


def _listen_to_the_terminal() -> None:
    """Under spark-submit, which hands its own input to nobody, read from the terminal; InputError without one."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return
    try:
        sys.stdin = open(TERMINAL)  # noqa: SIM115  for as long as the process lives
    except OSError as error:
        fix = "give --query, or pipe the statements to `python jobs/sql.py`"
        raise InputError("statements", "spark-submit passes no input on, and there is no terminal", fix) from error
