"""Column types by name, without a session."""

from __future__ import annotations

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
