"""The input files: which there are, what they hold (by content, not by name), which columns they bring."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stspark.columns import speaks_of
from stspark.errors import InputError, nearest
from stspark.ingest import formats
from stspark.ingest.formats import read_header
from stspark.settings import Source

SQL = "sql:"
"""Prefix of a column mapping that is an expression, not a column name."""

__all__ = ["SQL", "InputFile", "data_version", "list_files", "read_header", "require_columns", "source_columns"]


@dataclass(frozen=True)
class InputFile:
    """A file of the source: `name` relative to the source's folder, SHA-256 of its content, its columns.

    types: what tells apart files of equal columns that cannot be read together.
    """

    path: Path
    name: str
    content_hash: str
    header: tuple[str, ...]
    format: formats.Format = "csv"
    types: str = ""


def list_files(source: Source, covariates: Sequence[str] = ()) -> list[InputFile]:
    """All files of the source, by name; InputError for none, an empty one, or one that lacks a column.

    Names that begin with a dot or an underscore are left alone, as Spark does: they are not finished yet.

    covariates: further columns that each file needs.
    """
    root = Path(source.path)
    paths = _paths(root, source)
    if not paths:
        raise InputError(
            f"source.path: {root}", f"holds no file that matches '{source.pattern}'", "mend source.pattern"
        )
    home = root if paths != [root] else root.parent
    files = [_describe(path, str(path.relative_to(home)), source) for path in paths]
    needed = [*source_columns(source), *covariates]
    for file in files:
        if file.header or file.format != "jsonl":  # a file of no JSON object has no rows either
            require_columns(file.path, file.header, needed)
    return files


def _paths(root: Path, source: Source) -> list[Path]:
    if root.is_file() or formats.format_of(root, source.format) == "delta":
        return [root]
    found = (p for p in root.glob(source.pattern) if p.is_file())
    return sorted(p for p in found if not any(part[0] in "._" for part in p.relative_to(root).parts))


def source_columns(source: Source) -> list[str]:
    """Their columns that the mapping names directly and that no lookup brings."""
    from_lookups = {c for lookup in source.lookups for c in lookup.columns}
    made = ("region", "target", *(() if source.start is None else ("date",))) if source.layout == "wide" else ()
    return [
        c for ours, c in source.columns.items() if not c.startswith(SQL) and c not in from_lookups and ours not in made
    ]


def user_columns(files: Iterable[InputFile], source: Source) -> list[str]:
    """Their columns that the user's id is made of."""
    made_of = source.columns.get("user_id", "")
    return sorted({c for file in files for c in file.header if speaks_of(made_of, c)})


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


def _describe(path: Path, name: str, source: Source) -> InputFile:
    kind = formats.format_of(path, source.format)
    if kind == "delta":
        header, content = formats.delta_columns(path)
        return InputFile(path, name, hashlib.sha256(content.encode()).hexdigest(), header, kind)
    types = ""
    if kind == "jsonl":
        header = formats.json_keys(path)
    elif kind == "parquet":
        header, types = formats.parquet_columns(path)
    else:
        header = read_header(path, source.encoding, source.separator)
        if path.suffix == ".gz":
            formats.require_whole(path)
    with open(path, "rb") as raw:
        return InputFile(path, name, hashlib.file_digest(raw, "sha256").hexdigest(), header, kind, types)
