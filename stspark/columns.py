"""Column types by name, without a session; names as Spark SQL takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable

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
