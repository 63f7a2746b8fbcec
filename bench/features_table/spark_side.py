"""stspark's own way from events to region_day, on two cores with 2 GiB.

spark-submit --master local[2] --driver-memory 2g bench/features_table/spark_side.py full EVENTS WAREHOUSE
spark-submit … bench/features_table/spark_side.py day EVENTS WAREHOUSE NEXT_DAY
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from stspark import changes
from stspark.job import Job
from stspark.kept import Kept
from stspark.session import build_session
from stspark.settings import Settings
from stspark.store import Store
from stspark.tables import for_settings

sys.path.append(str(Path(__file__).resolve().parents[2] / "jobs"))


def settings(warehouse: str, regions: int) -> Settings:
    """One config for the benchmark: a target of money, Sundays closed, four neighbours a region."""
    places = Path(warehouse) / "regions.csv"
    places.parent.mkdir(parents=True, exist_ok=True)
    places.write_text("region,lat,lng\n" + "".join(f"r{k:03d},0,{k}\n" for k in range(regions)), encoding="utf-8")
    return Settings.model_validate({
        "dataset": "bench", "warehouse": warehouse, "target": {"name": "sales"}, "closed": {"weekdays": ["sun"]},
        "source": {"kind": "events", "path": "x", "columns": {"event_time": "t", "region": "r"}},
        "regions": {"file": str(places)}, "calendar": {"holidays": False}, "models": [{"name": "seasonal_naive"}],
    })  # fmt: skip


def peak_mib() -> float:
    """Largest resident memory so far of the JVM, which is this process's parent under spark-submit."""
    status = Path(f"/proc/{os.getppid()}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def full(job: Job, events: str) -> dict[str, float]:
    """Parquet events to the Delta tables, once."""
    import features

    begun = time.monotonic()
    with Kept() as keep:
        features.build_all(job, job.spark.read.parquet(events), changes.Basis("bench", 0, 0), keep)
    seconds = time.monotonic() - begun
    row = job.store.read("region_day").agg(F.count("*"), F.sum("target")).first()
    return {"seconds": seconds, "rows": row[0], "target": row[1], "peak_mib": peak_mib()}


def day(job: Job, events: str, following: str) -> dict[str, float]:
    """The full build from Delta events (the second of two, the JVM being warm), then that of one new day."""
    import features

    rows = job.spark.read.parquet(events).withColumn("ingest_id", F.lit("history"))
    job.store.replace("events", rows)
    enter(job, "history")
    features.main(job)
    job.full = True
    begun = time.monotonic()
    features.main(job)
    complete, job.full = time.monotonic() - begun, False
    came = job.spark.read.parquet(following).withColumn("ingest_id", F.lit("next"))
    job.store.replace("events", came, "ingest_id = 'next'")
    enter(job, "next")
    begun = time.monotonic()
    features.main(job)
    one = time.monotonic() - begun
    last = job.store.read("region_day").agg(F.max("date")).first()[0]
    newest = job.spark.read.parquet(following).agg(F.max("date")).first()[0]
    assert last == newest, (last, newest)
    return {"full": complete, "day": one}


def enter(job: Job, name: str) -> None:
    """Enter a file in the ledger, as an ingest does."""
    row = job.spark.createDataFrame([(name, name, name)], "source_file string, content_hash string, ingest_id string")
    job.store.replace("ingested_files", row, f"ingest_id = '{name}'")


def main(mode: str, events: str, warehouse: str, *following: str) -> None:
    spark: SparkSession = build_session("bench features")
    chosen = settings(warehouse, 100)
    job = Job("features", chosen, spark, Store(spark, chosen.home, for_settings(chosen)))
    result = full(job, events) if mode == "full" else day(job, events, *following)
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
