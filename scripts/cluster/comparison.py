"""Compares the tables of two runs, row by row, as delta-rs reads them."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from pipeline_run import PipelineRun

RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Two numbers are equal within RELATIVE times the larger, or ABSOLUTE for what is 0 but for rounding."""
SHOWN = 5

KEYS = {
    "region_day": ["region", "date"],
    "backtests": ["run_id", "cutoff", "region", "date", "model"],
    "models": ["run_id", "region", "model"],
    "forecasts": ["run_id", "region", "date", "model"],
}
"""In the order in which they are made: the first that differs is where to look."""
ONLY = {"models": ["status", "fallback_used", "n_fits"]}
"""Of `models`, seconds and folders differ from run to run."""


@dataclass
class TableComparison:
    """What two versions of a table have in common; `differences` are readable lines, the first SHOWN only."""

    table: str
    rows: int
    values: int = 0
    differing: int = 0
    missing: int = 0
    largest: float = 0.0
    largest_relative: float = 0.0
    differences: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.differing and not self.missing and self.rows > 0


def compare_tables(ours: PipelineRun, theirs: PipelineRun) -> list[TableComparison]:
    """Compare the tables of KEYS of the cluster's run and the local one."""
    return [compare(table, ours.read(table), theirs.read(table)) for table in KEYS]


def compare(table: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> TableComparison:
    """Compare two frames by the table's keys: same keys, numbers within the tolerance, all else identical."""
    keys = KEYS[table]
    columns = ONLY.get(table) or [c for c in dict.fromkeys([*ours, *theirs]) if c not in keys]
    both = ours.merge(theirs, on=keys, how="outer", suffixes=("", " (local)"), indicator=True)
    both = both.sort_values(keys, ignore_index=True)
    alone = both[both["_merge"] != "both"]
    found = TableComparison(table, len(both) - len(alone), missing=len(alone))
    for row in alone.head(SHOWN).to_dict("records"):
        side = "cluster" if row["_merge"] == "left_only" else "local run"
        found.differences.append(f"{_name(table, row)}: only in the {side}")
    shared = both[both["_merge"] == "both"]
    for column in columns:
        if column not in ours or column not in theirs:
            found.missing += 1
            found.differences.append(f"{table}.{column}: a column of one run only")
            continue
        _compare_column(found, shared, column)
    del found.differences[SHOWN:]
    return found


def _compare_column(found: TableComparison, rows: pd.DataFrame, column: str) -> None:
    a, b = rows[column], rows[f"{column} (local)"]
    both_null = a.isna().to_numpy() & b.isna().to_numpy()
    if pd.api.types.is_float_dtype(a) and pd.api.types.is_float_dtype(b):
        x, y = a.to_numpy(dtype=float), b.to_numpy(dtype=float)
        with np.errstate(invalid="ignore"):
            gap, size = np.abs(x - y), np.maximum(np.abs(x), np.abs(y))
            same = both_null | (x == y) | (gap <= RELATIVE * size + ABSOLUTE)
        known = gap[np.isfinite(gap)]
        relative = (gap / np.where(size > 0, size, 1.0))[np.isfinite(gap)]
        found.largest = max(found.largest, float(known.max(initial=0.0)))
        found.largest_relative = max(found.largest_relative, float(relative.max(initial=0.0)))
    else:
        same = both_null | (a == b).fillna(False).to_numpy(dtype=bool)
    found.values += len(rows)
    found.differing += int((~same).sum())
    for row in rows[~same].head(SHOWN).to_dict("records"):
        values = f"{row[column]!r} on the cluster, {row[f'{column} (local)']!r} locally"
        found.differences.append(f"{_name(found.table, row)}.{column}: {values}")


def _name(table: str, row: dict[str, object]) -> str:
    return f"{table}[{', '.join(str(row[key]) for key in KEYS[table] if key != 'run_id')}]"
