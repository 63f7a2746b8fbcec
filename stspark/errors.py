"""The user's mistakes: each one line that names place, value and remedy (exit code 2)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in config or input that the user can mend; a job ends with exit code 2.

    The text is one line: where (file, key or column), what came, what to do.
    """

    def __init__(self, where: str, problem: str, fix: str) -> None:
        self.where, self.problem, self.fix = where, problem, fix
        super().__init__(" ".join(f"{where}: {problem}; {fix}".split()))


class ConfigError(UserError):
    """A key of the config file that is unknown, of the wrong type or contradictory."""


class InputError(UserError):
    """Data that cannot be used as they are: a file, a column, a value."""


class EnvironmentMistake(UserError):
    """What surrounds the run: Java, jars, permissions, slots, devices."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word most like `word`, or "" when none is near (difflib, cutoff 0.5)."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return found[0] if found else ""
