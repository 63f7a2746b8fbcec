"""Notes from where a process of the cluster imports stspark. machine.py puts it into the cluster's Python.

One line of JSON per process goes to the file that STSPARK_IMPORTS names. What is noted is what Python's own search
along sys.path finds; the note changes nothing.
"""

import json
import os
import sys
from importlib.machinery import PathFinder


class Witness:
    """A finder that finds nothing, and hence leaves the import to those behind it."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "stspark":
            found = PathFinder.find_spec(name)
            note(os.path.abspath(found.origin) if found and found.origin else "")


def note(origin: str) -> None:
    """Append this process, its part in the cluster, and where it has stspark from."""
    application, executor = os.getcwd().split(os.sep)[-2:]
    row = {
        "pid": os.getpid(),
        "executor": executor if application.startswith("app-") else None,
        "rank": os.environ.get("RANK"),
        "world": os.environ.get("WORLD_SIZE"),
        "origin": origin,
    }
    with open(os.environ["STSPARK_IMPORTS"], "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if "STSPARK_IMPORTS" in os.environ:
    sys.meta_path.insert(0, Witness)
