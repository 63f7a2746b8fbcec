"""Distinct ids per group, counted by hashes in the tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from stspark.features import distinct


def batch(groups: list[int], hashes: list[int | None]) -> pa.RecordBatch:
    columns = [pa.array(groups, pa.int64()), pa.array(hashes, pa.int64())]
    return pa.RecordBatch.from_arrays(columns, names=[distinct.GROUP, "users"])


@pytest.mark.parametrize("most", [1, 3, 100])
def test_a_task_passes_on_each_groups_distinct_hashes(most: int) -> None:
    batches = [batch([7, 7, -2], [5, -9, 5]), batch([7, 7, 3], [5, None, None]), batch([-2], [5])]
    found: dict[int, set[int]] = {}
    for made in distinct._distinct(iter(batches), most):
        for group, hashes in zip(made[distinct.GROUP].to_pylist(), made["users"].to_pylist(), strict=True):
            assert len(set(hashes)) == len(hashes)
            found.setdefault(group, set()).update(hashes)
    assert found == {7: {5, -9}, -2: {5}, 3: set()}


def test_more_groups_than_sixteen_bits_hold() -> None:
    n = 70_000
    groups = np.repeat(np.arange(n), 2)
    (made,) = distinct._distinct(iter([batch(groups.tolist(), [1, 2] * n)]), 10 * n)
    assert made.num_rows == n
    assert {len(hashes) for hashes in made["users"].to_pylist()} == {2}


def test_counts_are_those_of_pandas_however_the_rows_are_spread(spark: SparkSession) -> None:
    rng = np.random.default_rng(1)
    n = 5_000
    rows = pd.DataFrame({
        "region": rng.choice(["a", "b", "c"], n),
        "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 9, n), unit="D"),
        "user_id": rng.choice([None, *(f"u{k}" for k in range(300))], n),
    })  # fmt: skip
    rows["date"] = rows["date"].dt.date
    keys = ["region", "date"]
    wanted = rows.groupby(keys)["user_id"].nunique()
    frame = spark.createDataFrame(rows, "region string, date date, user_id string")
    for tasks in (1, 4):
        counted = distinct.count_distinct_ids(frame.repartition(tasks), keys, {"users": F.col("user_id")})
        days = frame.select(*keys, distinct.group_of(keys).alias(distinct.GROUP)).distinct()
        made = days.join(counted, distinct.GROUP).toPandas().set_index(keys)["users"]
        pd.testing.assert_series_equal(made.sort_index(), wanted, check_names=False, check_dtype=False)
