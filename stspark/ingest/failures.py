"""Expressions of the config that fail on a value: the user's mistake, with the expression and the value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import AnalysisException, PySparkException, QueryContextType

from stspark.errors import ConfigError
from stspark.ingest.files import SQL
from stspark.settings import Source


@contextmanager
def named(source: Source) -> Iterator[None]:
    """Turn Spark's error about an expression of `source` (columns or rules) into a ConfigError that quotes it."""
    try:
        yield
    except AnalysisException as error:
        raise ConfigError(
            "source.columns or source.rules", str(error).splitlines()[0], "mend the expression"
        ) from error
    except PySparkException as error:
        where = _place(error, source)
        if where is None:
            raise
        problem = str(error).splitlines()[0].split(" SQLSTATE")[0]
        raise ConfigError(where, problem, "let the expression give null there, or mend the file") from error


def _place(error: PySparkException, source: Source) -> str | None:
    """The key of the expression that failed, with its text; None where the error is of another origin."""
    written = {f"source.columns.{ours}": e.removeprefix(SQL) for ours, e in source.columns.items() if SQL in e}
    written |= {f"source.rules '{rule.name}'": rule.keep for rule in source.rules}
    raised = error.getCondition() == "USER_RAISED_EXCEPTION"
    for context in (c for c in error.getQueryContext() if c.contextType() == QueryContextType.SQL):
        for key, text in written.items():
            if context.fragment() in text:
                return f"{key}: {text.strip()}"
    made = [f"{key}: {text.strip()}" for key, text in written.items() if raised and "raise_error" in text]
    return made[0] if made else None
