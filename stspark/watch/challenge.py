"""Champion and challenger: a new run takes the champion's place only after it has won on days that both forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F
from scipy.special import stdtr

from stspark.tracking import forecaster_champion, register_forecaster
from stspark.watch.spread import champions_of

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run

LEVEL = 0.1
"""One-sided level at which the challenger must have the smaller error."""
FEWEST = 5
"""Days in common below which nothing is decided."""


@dataclass(frozen=True)
class Challenge:
    """Errors on the days in common, and whether the challenger has won."""

    won: bool
    reason: str


def decide(champion: np.ndarray, challenger: np.ndarray) -> Challenge:
    """Diebold & Mariano's test (1995, with Harvey, Leybourne & Newbold's 1997 t-distribution) on daily absolute errors.

    champion, challenger: [days] error summed over regions, of the same days and forecast origin.
    """
    days = len(champion)
    if days < FEWEST:
        return Challenge(False, f"kept as challenger: {days} days in common are too few to decide")
    gain = champion - challenger
    spread = float(gain.std(ddof=1))
    t = float(gain.mean()) / (spread / np.sqrt(days)) if spread > 0 else float(np.copysign(np.inf, gain.mean()))
    p = 1.0 if not gain.any() else float(stdtr(days - 1, -t))
    told = f"error {challenger.sum():,.4g} against the champion's {champion.sum():,.4g} on {days} days (p = {p:.2g})"
    return Challenge(p < LEVEL, f"promoted: {told}" if p < LEVEL else f"kept as challenger: {told}")


def challenge(job: Job, run: Run) -> str:
    """Register the run as a version of <dataset>-forecaster and give it the alias that it has earned; say which.

    The first run is champion. Later ones are challengers until they beat the champion's published forecasts, on days
    that have come, with their own back-test from the same day.
    """
    holder = forecaster_champion(job.settings)
    if holder is None or holder == run.run_id:
        register_forecaster(job, run, "champion")
        return "champion: the first run" if holder is None else "champion"
    found = on_common_days(job, holder, run.run_id)
    register_forecaster(job, run, "champion" if found.won else "challenger", found.reason)
    return found.reason


def on_common_days(job: Job, champion: str, challenger: str) -> Challenge:
    """Compare the champion's forecasts with the challenger's back-test from the same cutoff."""
    store = job.store
    published = store.read("forecasts").where((F.col("run_id") == champion) & F.col("is_champion"))
    published = published.select("region", "date", F.col("as_of").alias("cutoff"), F.col("y_hat").alias("champion"))
    tested = champions_of(store.read("backtests"), challenger).where("y is not null")
    both = tested.select("region", "date", "cutoff", "y", "y_hat").join(published, ["region", "date", "cutoff"])
    daily = both.groupBy("date").agg(
        F.sum(F.abs(F.col("y") - F.col("champion"))).alias("champion"),
        F.sum(F.abs(F.col("y") - F.col("y_hat"))).alias("challenger"),
    )
    rows = daily.orderBy("date").toPandas()
    return decide(rows["champion"].to_numpy(float), rows["challenger"].to_numpy(float))
