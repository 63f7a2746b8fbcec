"""Days far from all others: a mistyped year would move the last day that the data know, and every forecast with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pandas as pd

GAP = timedelta(days=28)
"""Days are astray only beyond a longer time without any data."""
FEW = 3
"""So many region-days beyond such a time are astray, and more where they are sparse."""
SPARSE = 0.01
"""A share of the region-days that the time from the others to the outermost day would usually have."""


def without(days: pd.DataFrame, *, at_start: bool, at_end: bool) -> pd.DataFrame:
    """`days` (date, regions: how many have data then; in time order) without those astray at the asked ends."""
    first, last = 0, len(days)
    if at_end:
        last -= _astray(days.iloc[::-1])
    if at_start:
        first += _astray(days.iloc[:last])
    return days.iloc[first:last]


def _astray(days: pd.DataFrame) -> int:
    """How many of the outermost days, which come first, are astray; half of the data never are."""
    dates, outer, found = list(days["date"]), days["regions"].cumsum().tolist(), 0
    usual = float(days["regions"].median())
    for k in range(1, len(dates)):
        astray, away = outer[k - 1], abs((dates[0] - dates[k]).days)
        if astray >= outer[-1] / 2:
            break
        if abs(dates[k] - dates[k - 1]) > GAP and (astray <= FEW or astray < SPARSE * usual * away):
            found = k
    return found


def explain(astray: Sequence[date], span: tuple[date, date]) -> str:
    """What was left out, in words, for the summary."""
    named = ", ".join(str(day) for day in astray[:3]) + (" …" if len(astray) > 3 else "")
    return (
        f"{named} left out: far from all other days ({span[0]} to {span[1]}), with a handful of rows; "
        "mend the rows, or set time.start or time.end where they are right"
    )
