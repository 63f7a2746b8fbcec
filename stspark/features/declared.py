"""The features of region_day, declared once: what each is, as of when it is known, and how far back it reads.

Training and scoring, full and incremental builds take their columns, comments and windows from this list. All of them
are past-only: the value of a day is known at the end of the day before. What is known ahead lies in `calendar`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import Column, Window, WindowSpec
from pyspark.sql import functions as F

LAGS = (1, 7, 14, 364)
"""Days back; 364 is the same weekday last year."""
YEAR = 364
FILL_DAYS = 364
"""A fill of target_clean looks at most this many days back."""
OUTLIER_DAYS = 84
"""The judgement of an outlier looks at most this many days back."""
DIGITS = 6


@dataclass(frozen=True)
class Feature:
    """A column of region_day that is made from earlier days only.

    window: how many days before its own day it reads. reads: whose days, the region's own, its neighbours' (by
    region_edges) or those of all regions of its parent. make: the expression over the region's own days, None where
    other regions take part.
    """

    name: str
    window: int
    meaning: str
    make: Callable[[], Column] | None = None
    reads: Literal["own", "neighbours", "siblings"] = "own"

    @property
    def comment(self) -> str:
        """What an analyst reads about the column."""
        return f"{self.meaning} (as-of: the day before)"


def in_order() -> WindowSpec:
    """The region's days by date."""
    return Window.partitionBy("region").orderBy("date")


def before(days: int) -> WindowSpec:
    """The region's `days` days before a day. Precondition: no missing days (a frame counts rows)."""
    return in_order().rowsBetween(-days, -1)


def _lag(days: int) -> Feature:
    when = {1: "the day before", 7: "a week before", 14: "two weeks before", YEAR: "the same weekday last year"}[days]
    return Feature(f"lag_{days}", days, f"target_clean of {when}", lambda: F.lag("target_clean", days).over(in_order()))


def _ratio(above: str, below: str, days: int) -> Column:
    total = [F.sum(c).over(before(days)).cast("double") for c in (above, below)]
    return F.round(F.try_divide(*total), DIGITS)


def _price_index() -> Column:
    recent, usual = (F.avg("price").over(before(days)) for days in (7, 91))
    return F.round(F.try_divide(recent, usual), DIGITS)


def _days_since_sale() -> Column:
    sold = F.when(F.col("target") > 0, F.col("date"))
    earlier = in_order().rowsBetween(Window.unboundedPreceding, -1)  # one pass, unlike a frame of a year
    days = F.date_diff("date", F.last(sold, ignorenulls=True).over(earlier))
    return F.when(days <= YEAR, days).cast("double")


def _zero_share() -> Column:
    return F.round(F.avg((F.col("target") == 0).cast("double")).over(before(28)), DIGITS)


FEATURES: tuple[Feature, ...] = (
    *(_lag(days) for days in LAGS),
    Feature("mean_7", 7, "mean target_clean of the 7 days before", lambda: F.avg("target_clean").over(before(7))),
    Feature("mean_28", 28, "mean target_clean of the 28 days before", lambda: F.avg("target_clean").over(before(28))),
    Feature(
        "sd_28",
        28,
        "standard deviation of target_clean of the 28 days before",
        lambda: F.stddev_samp("target_clean").over(before(28)),
    ),
    Feature("min_28", 28, "least target_clean of the 28 days before", lambda: F.min("target_clean").over(before(28))),
    Feature("max_28", 28, "largest target_clean of the 28 days before", lambda: F.max("target_clean").over(before(28))),
    Feature("zero_share_28", 28, "share of true zeros among the observed of the 28 days before", _zero_share),
    Feature(
        "days_since_sale", YEAR, "days since the last day with a target above 0, null beyond 364", _days_since_sale
    ),
    Feature("users_mean_7", 7, "mean users of the 7 days before", lambda: F.avg("users").over(before(7))),
    Feature(
        "conversion_28",
        28,
        "orders per view in the 28 days before; null without views",
        lambda: _ratio("orders", "views", 28),
    ),
    Feature("price_index", 91, "mean price of the 7 days before by that of the 91 days before", _price_index),
    Feature("spatial_lag_1", 1, "weighted target_clean of the neighbours the day before", reads="neighbours"),
    Feature("spatial_mean_7", 7, "weighted mean_7 of the neighbours", reads="neighbours"),
    Feature(
        "parent_share_28",
        28,
        "share in the target_clean of all regions of its parent, 28 days before",
        reads="siblings",
    ),
)
