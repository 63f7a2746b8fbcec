"""The row of a test, and the border between a test that does not apply and one that fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEVEL = 0.05
"""Significance level of every verdict."""


@dataclass(frozen=True)
class Finding:
    """One test of one region (or `*`): NaN where there is no statistic or p-value; the verdict is for people."""

    test: str
    statistic: float
    p_value: float
    verdict: str


def described(test: str, statistic: float, verdict: str) -> Finding:
    """A finding that has no p-value."""
    return Finding(test, statistic, math.nan, verdict)


def tried(test: str, make: Callable[[], Sequence[Finding]]) -> list[Finding]:
    """The findings of `make`, or one that says why there are none: a test that fails costs only its own row."""
    try:
        return list(make())
    except NotApplicable as reason:
        return [described(test, math.nan, f"not tested: {reason}")]
    except Exception as error:  # noqa: BLE001  whatever a test raises is written down in its row
        return [described(test, math.nan, f"failed: {error!r}")]


class NotApplicable(Exception):
    """A series that a test says nothing about: too short, constant."""
