"""A fleet whose worker or executor died is run again in smaller packs, which need less memory at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from stspark.fleet.spread import packs_of
from stspark.staging import staged

if TYPE_CHECKING:
    from stspark.job import Job

log = logging.getLogger("stspark")

TRIES, SMALLER = 3, 4
DIED = ("Python worker exited unexpectedly", "ExecutorLostFailure", "Executor heartbeat timed out")
"""What Spark says where a worker's or executor's process ended under a task, after its own tries of that task."""
T = TypeVar("T")


def staged_fleet(job: Job, name: str, fleet: Callable[[int], DataFrame]) -> DataFrame:
    """The rows of fleet(packs), computed once and staged: in the packs of the settings, and smaller ones if need be."""
    return in_smaller_packs(lambda packs: staged(job, name, fleet(packs)), packs_of(job.settings, job.spark))


def in_smaller_packs(run: Callable[[int], T], packs: int) -> T:
    """run(packs); where a process died under it, again with SMALLER times as many packs, at most TRIES times in all.

    Any other error, and the last of these, is raised.
    """
    for _ in range(TRIES - 1):
        try:
            return run(packs)
        except (PySparkException, Py4JJavaError) as error:  # Spark translates some errors of a job, not all
            if not any(words in str(error) for words in DIED):
                raise
            log.warning("fleet: a worker died with %d packs, trying again with %d", packs, SMALLER * packs)
            packs *= SMALLER
    return run(packs)
