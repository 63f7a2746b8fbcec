"""PySpark's daemon of Python workers, for one machine: its workers go without a traceback.

Spark lets a worker go after a minute without work by closing its socket. PySpark's worker takes that for an error and
reports it to the closed socket, so that `BrokenPipeError` stands on the terminal beside a job that goes well. What a
task itself does wrong goes to Spark, not here.
"""

from __future__ import annotations

import sys
import traceback

from pyspark import daemon


class Quiet:
    """Of the module `traceback`, what PySpark's daemon calls; a farewell that nobody hears is not printed."""

    format_exc = staticmethod(traceback.format_exc)

    @staticmethod
    def print_exc() -> None:
        """Print the present exception, but for a closed socket."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            traceback.print_exc()


if __name__ == "__main__":
    vars(daemon)["traceback"] = Quiet
    daemon.manager()
