"""The input files: which there are, which are new, what their headers say."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stspark.errors import InputError, nearest
from stspark.settings import Source

SQL = "sql:"
"""Prefix of a column mapping that is an expression, not a column name."""


@dataclass(frozen=True)
class InputFile:
    """A file of the source: `name` relative to the source's folder, SHA-256 of its bytes, its header."""

    path: Path
    name: str
    content_hash: str
    header: tuple[str, ...]


def list_files(source: Source, covariates: Sequence[str] = ()) -> list[InputFile]:
    """All files of the source, by name; InputError for none, an empty one, or one that lacks a column.

    covariates: further columns that each file needs.
    """
    root = Path(source.path)
    paths = [root] if root.is_file() else sorted(p for p in root.glob(source.pattern) if p.is_file())
    if not paths:
        raise InputError(
            f"source.path: {root}", f"holds no file that matches '{source.pattern}'", "mend source.pattern"
        )
    home = root.parent if root.is_file() else root
    files = [_describe(path, str(path.relative_to(home)), source) for path in paths]
    needed = [*source_columns(source), *covariates]
    for file in files:
        require_columns(file.path, file.header, needed)
    return files


def source_columns(source: Source) -> list[str]:
    """Their columns that the mapping names directly and that no lookup brings."""
    from_lookups = {c for lookup in source.lookups for c in lookup.columns}
    return [c for c in source.columns.values() if not c.startswith(SQL) and c not in from_lookups]


def read_header(path: Path, encoding: str, separator: str) -> tuple[str, ...]:
    """Column names in a file's first line; InputError for an empty or undecodable file."""
    encoding = "utf-8-sig" if encoding.upper().replace("-", "") == "UTF8" else encoding
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as raw:
            first = next(csv.reader(io.TextIOWrapper(raw, encoding), delimiter=separator), [])
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise InputError(str(path), f"cannot be read ({error})", "check the file and source.encoding") from error
    except PermissionError as error:
        raise InputError(str(path), "cannot be read (no permission)", "give the job's user read permission") from error
    if not any(first):
        raise InputError(str(path), "is empty", "remove the file or send it again with its header")
    return tuple(name.strip() for name in first)


def require_columns(path: Path, header: Sequence[str], needed: Iterable[str]) -> None:
    """InputError for the first needed column that the header lacks, with the nearest one it has."""
    for column in needed:
        if column not in header:
            near = nearest(column, header)
            hint = f"the nearest column is '{near}'" if near else f"its columns are {', '.join(header)}"
            raise InputError(str(path), f"has no column '{column}'", f"{hint}; mend the file or the column mapping")


def data_version(hashes: Iterable[str]) -> str:
    """One hash for the contents of all input files, whatever their order."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()[:12]


def _require_whole(path: Path) -> None:
    """InputError for a gzip file that was cut short or damaged: Spark would fail on it in the middle of the work."""
    try:
        with gzip.open(path, "rb") as file:
            while file.read(1 << 20):
                continue
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(str(path), f"cannot be read to its end ({error})", "send the file again, whole") from error


def _describe(path: Path, name: str, source: Source) -> InputFile:
    header = read_header(path, source.encoding, source.separator)
    if path.suffix == ".gz":
        _require_whole(path)
    with open(path, "rb") as raw:
        return InputFile(path, name, hashlib.file_digest(raw, "sha256").hexdigest(), header)
