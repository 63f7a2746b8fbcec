"""What a function that runs in Spark's Python workers should do first."""

from __future__ import annotations

import gc


def settle() -> None:
    """Take what the worker has loaded out of the garbage collector's sight; call it once a task, after the imports.

    PySpark collects garbage after every task of a reused worker: with pandas and models loaded that takes 50 ms and
    more, longer than many a task. Children that are forked share the frozen pages, too. What is garbage at the call is
    never collected: right after the last task's collection there is none, between the groups of a task there is.
    """
    gc.freeze()
