"""Column types by name, without a session; names and rows as Spark takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

TYPES: dict[str, DataType] = {
    "string": StringType(),
    "double": DoubleType(),
    "int": IntegerType(),
    "bigint": LongType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestampType(),
}


def schema_of(columns: Iterable[tuple[str, str]]) -> StructType:
    """Spark schema of (name, type) pairs; needs no session, so workers may use it."""
    return StructType([StructField(name, TYPES[kind]) for name, kind in columns])


def quoted(name: str) -> str:
    """A column's name in backticks, whatever signs it holds.

    >>> quoted("a`b.c")
    '`a``b.c`'
    """
    return "`" + name.replace("`", "``") + "`"


def speaks_of(expression: str, column: str) -> bool:
    """Whether a mapping, a column's name or a SQL expression, has the column in it as a whole word."""
    return re.search(rf"(?i)(?<!\w){re.escape(column)}(?!\w)", expression) is not None


def tuples(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Rows for createDataFrame, None where pandas has no value: in a column of text NaN would become 'nan'."""
    return [tuple(None if pd.isna(value) else value for value in row) for row in frame.itertuples(index=False)]
