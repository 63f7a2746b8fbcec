"""What a source's files say of themselves: their format, column names and types. No Spark here."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq

from stspark.errors import InputError

Format = Literal["csv", "jsonl", "parquet", "delta"]
BY_ENDING: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
FILE, RAW, CORRUPT, ROW_HASH = "_file", "_raw", "_corrupt", "_row_hash"
"""Columns that travel with each raw row. RAW holds the names (joined by BETWEEN) and the texts of all its columns: one
type for all files, however many columns they have."""

BETWEEN = "\x1f"


def format_of(path: Path, declared: str) -> Format:
    """The declared format, else what the name's ending says: `.jsonl`, `.parquet`, a Delta folder; else CSV."""
    if declared in ("csv", "jsonl", "parquet", "delta"):
        return declared  # type: ignore[return-value]
    if (path / "_delta_log").is_dir():
        return "delta"
    return BY_ENDING.get(Path(path.name.removesuffix(".gz")).suffix.lower(), "csv")


def read_header(path: Path, encoding: str, separator: str) -> tuple[str, ...]:
    """Column names in a CSV file's first line; InputError for an empty or undecodable file, or a repeated name."""
    encoding = "utf-8-sig" if encoding.lower().replace("-", "") == "utf8" else encoding
    try:
        with _open(path) as raw:
            line = re.split(rb"\r\n?|\n", raw.readline())[0]  # only this one: other lines' bytes are judged row by row
        first = next(csv.reader([line.decode(encoding)], delimiter=separator), [])
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error, csv.Error) as error:
        raise InputError(str(path), f"cannot be read ({error})", "check the file and source.encoding") from error
    except PermissionError as error:
        raise InputError(str(path), "cannot be read (no permission)", "give the job's user read permission") from error
    if not any(first):
        raise InputError(str(path), "is empty", "remove the file or send it again with its header")
    names = tuple(name.strip() or f"column {k}" for k, name in enumerate(first, 1))
    return _distinct(path, names)


def json_keys(path: Path) -> tuple[str, ...]:
    """All keys of a file of JSON lines, sorted; lines that are no JSON object have none."""
    keys: set[str] = set()
    try:
        for line in _lines(path):
            keys |= _keys_of(line)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(str(path), f"cannot be read to its end ({error})", "send the file again, whole") from error
    except PermissionError as error:
        raise InputError(str(path), "cannot be read (no permission)", "give the job's user read permission") from error
    return _distinct(path, tuple(sorted(keys)))


def parquet_columns(path: Path) -> tuple[tuple[str, ...], str]:
    """Column names of a Parquet file, and its schema as text."""
    try:
        schema = pq.read_schema(path).remove_metadata()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(str(path), f"cannot be read as Parquet ({error})", "send the file again, whole") from error
    for field in schema:
        if (pa.types.is_timestamp(field.type) and field.type.unit == "ns") or pa.types.is_float16(field.type):
            raise InputError(
                str(path), f"column '{field.name}' is a {field.type}, which Spark cannot read", "write microseconds"
            )
    return _distinct(path, tuple(schema.names)), schema.to_string()


def delta_columns(path: Path) -> tuple[tuple[str, ...], str]:
    """Column names of a Delta table, and what identifies its present content: the table's id and version."""
    try:
        table = deltalake.DeltaTable(str(path))
    except deltalake.exceptions.DeltaError as error:
        raise InputError(str(path), f"cannot be read as a Delta table ({error})", "mend source.path") from error
    names = tuple(field.name for field in table.schema().fields)
    return _distinct(path, names), f"{table.metadata().id} {table.version()}"


def require_whole(path: Path) -> None:
    """InputError for a gzip file that was cut short or damaged: Spark would fail on it in the middle of the work."""
    try:
        with gzip.open(path, "rb") as file:
            while file.read(1 << 20):
                continue
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(str(path), f"cannot be read to its end ({error})", "send the file again, whole") from error


def _distinct(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The names; InputError where one comes twice (Spark does not tell capitals apart) or is one of ours."""
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise InputError(
                str(path), f"names the column '{name}' twice (capitals are not told apart)", "rename one of them"
            )
        if name.casefold() in (FILE, RAW, CORRUPT, ROW_HASH):
            raise InputError(str(path), f"has a column '{name}', a name that the ingest uses itself", "rename it")
        seen.add(name.casefold())
    return tuple(names)


def _keys_of(line: bytes) -> set[str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # bad JSON or bad UTF-8: the row will be rejected
        return set()
    return set(row) if isinstance(row, dict) else set()


def _lines(path: Path) -> Iterator[bytes]:
    """The file's lines, the first without a byte order mark."""
    with _open(path) as raw:
        for k, line in enumerate(raw):
            yield line.removeprefix(b"\xef\xbb\xbf") if k == 0 else line


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # type: ignore[return-value]
