"""What a function that runs in Spark's Python workers should do first."""

from __future__ import annotations

import gc


def settle() -> None:
    """Take what the worker has loaded so far out of the garbage collector's sight; call it after the imports.

    PySpark collects garbage after every task of a reused worker: with pandas and models loaded that takes 50 ms and
    more, longer than many a task. Children that are forked share the frozen pages, too.
    """
    gc.freeze()
