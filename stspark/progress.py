"""Tells on the log, now and then, how far a long Spark stage is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

log = logging.getLogger("stspark")

EVERY_SECONDS = 10.0


@contextmanager
def watch(spark: SparkSession, step: str) -> Iterator[None]:
    """While the block runs, log every ten seconds how many tasks of all active stages are done."""
    done = threading.Event()
    tracker = spark.sparkContext.statusTracker()

    def report() -> None:
        while not done.wait(EVERY_SECONDS):
            infos = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            tasks = [(info.numCompletedTasks, info.numTasks) for info in infos if info is not None]
            done_now, of_all = (sum(counts) for counts in zip(*tasks, strict=True)) if tasks else (0, 0)
            if of_all > 1:
                log.info("%s: %d of %d tasks done", step, done_now, of_all)

    thread = threading.Thread(target=report, name=f"progress-{step}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
