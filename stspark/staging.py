"""Results that several tables are made from: computed once, kept as Parquet while the job runs, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession

if TYPE_CHECKING:
    from stspark.job import Job


def staged(job: Job, name: str, frame: DataFrame) -> DataFrame:
    """Write `frame` once under the job's own staging folder and return what was written, computed no second time."""
    path = f"{folder(job)}/{name}"
    frame.write.mode("overwrite").parquet(path)
    return job.spark.read.parquet(path)


def folder(job: Job) -> str:
    """The job's staging folder; a twin that runs at the same time has another."""
    return f"{job.store.home}/_staging/{job.spark.sparkContext.applicationId}"


def clear(spark: SparkSession, path: str) -> None:
    """Remove a staging folder, wherever Spark's file systems reach."""
    jvm, context = spark._jvm, spark.sparkContext._jsc
    assert jvm is not None
    where = jvm.org.apache.hadoop.fs.Path(path)
    where.getFileSystem(context.hadoopConfiguration()).delete(where, True)
