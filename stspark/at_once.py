"""Work that does not depend on each other, side by side: Spark plans a query in one thread of the driver."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyspark.sql import SparkSession
from pyspark.util import inheritable_thread_target

log = logging.getLogger("stspark")

WORKERS = 4


def at_once(spark: SparkSession, *calls: Callable[[], Any]) -> list[Any]:
    """Results of the calls, in their order; all end before the first error among them, in that order, is raised.

    Further errors go to the log.

    Each call plans and waits in a thread of its own, with the caller's Spark properties; it must not change the
    session's settings.
    """
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="at-once") as pool:
        futures = [pool.submit(inheritable_thread_target(spark)(call)) for call in calls]
    failed = [error for future in futures if (error := future.exception())]
    for error in failed[1:]:
        log.error("failed too: %s", error)
    return [future.result() for future in futures]
