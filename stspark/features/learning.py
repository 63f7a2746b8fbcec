"""The frame that models learn from: each region's past up to the as-of day, then what is known of the days ahead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from stspark.errors import ConfigError, InputError
from stspark.names import OBSERVED
from stspark.settings import Backtest

IDENTITY = ("region", "date", "y", "observed", "is_closed", "holiday_name")


def known_ahead(calendar: DataFrame) -> list[str]:
    """Numeric columns of the calendar that models may use for coming days."""
    return [f.name for f in calendar.schema if f.dataType.simpleString() == "double"]


def learning_frame(
    region_day: DataFrame, calendar: DataFrame, as_of: date, horizon: int, opening: Sequence[str] = ()
) -> DataFrame:
    """IDENTITY and the known-ahead columns for every region and day up to `horizon` days after `as_of`.

    opening: regions that may have no day yet; they have rows for the days ahead only.

    y is target_clean up to the as-of day and null after it; days between the end of the data and the as-of day are
    not observed and repeat the last value of their weekday.
    """
    past = region_day.where(F.col("date") <= F.lit(as_of)).select(
        "region", "date", F.col("target_clean").alias("y"), (F.col("status") == OBSERVED).alias("observed")
    )
    first = past.groupBy("region").agg(F.min("date").alias("first_date"))
    days = calendar.where(F.col("date") <= F.lit(as_of + timedelta(days=horizon)))
    days = days.join(F.broadcast(first), "region", "left")
    announced = F.col("region").isin(list(opening)) & (F.col("date") > F.lit(as_of))
    days = days.where((F.col("date") >= F.col("first_date")) | (F.col("first_date").isNull() & announced))
    same_weekday = Window.partitionBy("region", F.weekday("date")).orderBy("date")
    carried = F.coalesce("y", F.last("y", ignorenulls=True).over(same_weekday), F.lit(0.0))
    joined = days.join(past, ["region", "date"], "left").withColumns(
        {"observed": F.coalesce("observed", F.lit(False)), "y": F.when(F.col("date") <= F.lit(as_of), carried)}
    )
    return joined.select(*IDENTITY, *known_ahead(calendar))


def in_packs(frame: DataFrame, packs: int) -> DataFrame:
    """Spread regions over `packs` tasks by a hash of their names, the first task the largest.

    Shares of the regions fall linearly, to 1 / packs² (trapezoid self-scheduling; Tzen & Ni 1993, IEEE TPDS 4): slots
    that are done early take more of the small last ones, whatever the regions cost. Each partition holds whole regions,
    sorted by region and date. One shuffle, and nothing is counted before.
    """
    place = F.pmod(F.xxhash64("region"), F.lit(2**32)) / 2.0**32  # evenly in [0, 1)
    pack = F.floor(packs * (1 - F.sqrt(1 - place))).cast("int")
    return frame.repartitionById(packs, F.least(pack, F.lit(packs - 1))).sortWithinPartitions("region", "date")


def cutoffs(as_of: date, backtest: Backtest, horizon: int) -> list[date]:
    """Judged cutoffs, oldest first; the last one's forecast ends on the as-of day.

    Raises ConfigError where `backtest.first` leaves none.
    """
    last = as_of - timedelta(days=backtest.gap + horizon)
    windows = backtest.windows
    if backtest.first is not None:
        windows = (last - backtest.first).days // backtest.step + 1
        if windows < 1:
            raise ConfigError(
                "backtest.first",
                f"{backtest.first} lies after the last possible cutoff {last}",
                "choose an earlier day",
            )
        last = backtest.first + timedelta(days=backtest.step * (windows - 1))
    return [last - timedelta(days=backtest.step * k) for k in reversed(range(windows))]


def warm_up_cutoffs(region_day: DataFrame, first: date, backtest: Backtest, season: int) -> list[date]:
    """At most `backtest.warm_up` cutoffs before `first`, oldest first: those with four seasons of days before them."""
    row = region_day.where(F.col("status") == OBSERVED).agg(F.min("date")).first()
    earlier = [first - timedelta(days=backtest.step * k) for k in range(backtest.warm_up, 0, -1)]
    if row is None or row[0] is None:
        return []
    return [day for day in earlier if (day - row[0]).days >= 4 * season]


def require_enough(region_day: DataFrame, first_cutoff: date, season: int) -> None:
    """InputError unless some region has more than one season of observed days up to the first cutoff."""
    days = region_day.where((F.col("date") <= F.lit(first_cutoff)) & (F.col("status") == OBSERVED))
    longest = days.groupBy("region").count().agg(F.max("count")).first()
    have = int(longest[0] or 0) if longest is not None else 0
    if have <= season:
        raise InputError(
            f"table region_day: {have} observed days up to {first_cutoff}",
            f"are not more than one season of {season} days",
            "send more history, choose a later --as-of, or lower backtest.windows",
        )
