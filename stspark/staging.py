"""Results that several tables are made from: computed once, kept as Parquet, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import DataFrame

if TYPE_CHECKING:
    from stspark.job import Job


def staged(job: Job, name: str, frame: DataFrame) -> DataFrame:
    """Write `frame` once under the run's staging folder and return what was written, computed no second time."""
    assert job.run is not None
    path = f"{job.store.home}/_staging/{job.run.run_id}/{name}"
    frame.write.mode("overwrite").parquet(path)
    return job.spark.read.parquet(path)
