"""Whether the last days of the data look complete: an extract often ends in days whose rows have not all come in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

WEEKS = 8
"""A day is compared with the same weekday of this many weeks before."""
COMPARED = timedelta(weeks=2 * WEEKS) - timedelta(days=1)
"""Days before the last that are looked at."""
LOW = 0.75
"""A last day below this share of its usual total belongs to the doubtful edge."""
VERY_LOW = 0.6
"""The edge is doubtful at all only where its last day is below this share."""


@dataclass(frozen=True)
class Edge:
    """Last days of all regions together that are far below their weekday's usual total."""

    last_usual: date
    days: int
    share: float
    """Of the last day: its total over the median of the same weekday before."""

    def __str__(self) -> str:
        """What it means, in words, for summary and report."""
        days = "the last day holds" if self.days == 1 else f"the last {self.days} days fall to"
        are = "is it" if self.days == 1 else "are they"
        return (
            f"{days} {self.share:.0%} of the usual: {are} complete? If not, set time.end to {self.last_usual} "
            "(models take what is not there for a collapse of demand)"
        )


def daily_sums(days: pa.Table) -> pd.Series:
    """Target of all regions together by date: a number a day, gapless, NaN where nothing is known.

    days: date, target.
    """
    known = pc.ScalarAggregateOptions(min_count=1)
    sums = days.group_by("date").aggregate([("target", "sum", known)]).to_pandas()
    totals = pd.Series(sums["target_sum"].to_numpy(dtype=float), index=pd.to_datetime(sums["date"]))
    return totals.sort_index().asfreq("D")


def doubtful_edge(totals: pd.Series) -> Edge | None:
    """The doubtful edge of daily totals [days], NaN = closed or not known; None where the data end as usual."""
    shares = totals / usual(totals)
    shares = shares[np.isfinite(shares)]
    if shares.empty or shares.iloc[-1] >= VERY_LOW:
        return None
    low = (shares < LOW).to_numpy()
    n = len(low) if low.all() else int(np.argmin(low[::-1]))
    first_low = shares.index[-n]
    return Edge((first_low - pd.Timedelta(days=1)).date(), n, float(shares.iloc[-1]))


def usual(totals: pd.Series) -> pd.Series:
    """Median of the same weekday in the weeks before, [days]; NaN where fewer than half of them are known."""
    before = pd.concat([totals.shift(7 * k) for k in range(1, WEEKS + 1)], axis=1)
    enough = before.notna().sum(axis=1) >= WEEKS // 2
    return before.median(axis=1).where(enough & (before.median(axis=1) > 0))
