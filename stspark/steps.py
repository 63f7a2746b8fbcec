"""Lengths of time as a config writes them."""

from __future__ import annotations

import re
from datetime import timedelta


def step_of(text: str) -> timedelta:
    """`5 minutes`, `1 hour`, `1 day`, `2 weeks`; ValueError for anything else.

    >>> step_of("2 weeks")
    datetime.timedelta(days=14)
    """
    found = re.fullmatch(r"(\d+) +(minute|hour|day|week)s?", text.strip())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"'{text}' is no step; write for example '1 day'")
    return int(found[1]) * timedelta(**{found[2] + "s": 1})
