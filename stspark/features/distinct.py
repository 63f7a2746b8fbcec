"""Counts of distinct ids per group, exact but for collisions of 64-bit hashes, at the cost of a sort per task.

Spark's own count of distinct values sends every (group, id) through two hash tables and a shuffle; with nearly as many
ids as rows, as users of a region-day are, that is most of a large build. Here each task sorts the hashes of its rows
and passes on one array per group; only groups that lie in several tasks are compared again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stspark.worker import settle

MOST = 4_000_000
"""Rows that a task holds at once."""
GROUP = "_group"


def count_distinct_ids(rows: DataFrame, keys: Sequence[str], ids: Mapping[str, Column]) -> DataFrame:
    """GROUP (see `group_of`) and for each name of `ids` the number of its distinct values that are not null.

    A count of n may be too small by one with probability n² / 2⁶⁵ (two ids of one hash): 3e-8 for a million.
    """
    hashed = {name: F.when(value.isNotNull(), F.xxhash64(value)) for name, value in ids.items()}
    slim = rows.select(group_of(keys).alias(GROUP), *(value.alias(name) for name, value in hashed.items()))
    schema = ", ".join([f"{GROUP} bigint", *(f"`{name}` array<bigint>" for name in ids)])
    found = slim.mapInArrow(functools.partial(_distinct, most=MOST), schema)
    return found.groupBy(GROUP).agg(*(_size(name).alias(name) for name in ids))


def group_of(keys: Sequence[str]) -> Column:
    """A number that stands for a row's values of `keys`."""
    return F.xxhash64(*keys)


def _size(name: str) -> Column:
    """Of the arrays that the tasks found: nothing is to be compared where there is only one."""
    found = F.collect_list(name)
    several = F.size(F.array_distinct(F.flatten(found)))
    return F.when(F.size(found) == 1, F.size(found[0])).otherwise(several).cast("bigint")


def _distinct(batches: Iterator[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
    """Rows of group and hashes to one row per group with an array of the distinct hashes, `most` rows at a time."""
    settle()
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= most:
            yield _arrays(pa.Table.from_batches(held))
            held, rows = [], 0
    if held:
        yield _arrays(pa.Table.from_batches(held))


def _arrays(rows: pa.Table) -> pa.RecordBatch:
    groups = rows[GROUP].combine_chunks().dictionary_encode()
    code, n = groups.indices.to_numpy(), len(groups.dictionary)
    names = [name for name in rows.column_names if name != GROUP]
    lists = [_lists(rows[name].combine_chunks(), code, n) for name in names]
    return pa.RecordBatch.from_arrays([groups.dictionary, *lists], names=[GROUP, *names])


def _lists(hashes: pa.Array, code: NDArray[np.int32], n: int) -> pa.ListArray:
    """The distinct hashes of each of `n` groups; code: [N] the group of each hash."""
    known = hashes.is_valid().to_numpy(zero_copy_only=False)
    value, group = hashes.fill_null(0).to_numpy()[known], code[known]
    order = np.argsort(value)
    small = np.uint16 if n <= np.iinfo(np.uint16).max else np.uint32  # numpy sorts the former by counting
    order = order[np.argsort(group[order].astype(small), kind="stable")]
    value, group = value[order], group[order]
    new = np.ones(len(value), dtype=bool)
    new[1:] = (value[1:] != value[:-1]) | (group[1:] != group[:-1])
    offsets = np.searchsorted(group[new], np.arange(n + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(value[new]))
