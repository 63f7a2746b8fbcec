"""What is measured of the fleet: seconds beside the peers, accuracy kept with less work, growth with the regions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from bench.fleet.panels import HORIZON, SEASON, learning_frame, shop
from bench.fleet.peers import alone, per_group, through_fugue, timed
from stspark.fleet.attempt import Plan
from stspark.fleet.origin import Origin
from stspark.fleet.spread import PACKS_PER_SLOT, Earlier, FleetTask, run_fleet

CHEAP = ("seasonal_naive", "window_average", "theta")
SHORTEST, REPEATS = ("seasonal_naive", "window_average"), 5
DEAR = ("auto_ets", "sarima", "auto_arima")
DEFAULT = ("seasonal_naive", "theta", *DEAR)
"""The statistical models of the default fleet."""
AS_STATSFORECAST = {"sarima": {"estimation": "css-ml"}, "auto_arima": {"estimation": "css-ml"}}
"""Options under which a model does what statsforecast's class of that name does."""
THREE = ("seasonal_naive", "theta", "auto_ets")
"""The fleet whose time is compared with statsforecast's own: each model alone is as short as a Spark job's start."""


@dataclass(frozen=True)
class Panel:
    """Rows as statsforecast takes them, and the same as the fleet does."""

    data: pd.DataFrame
    frame: DataFrame

    @property
    def last(self) -> np.datetime64:
        return self.data["ds"].max().to_datetime64().astype("datetime64[D]")


@dataclass(frozen=True)
class Bench:
    """Where it is measured: the session with its slots, and a folder for what it reads."""

    spark: SparkSession
    slots: int
    folder: str

    @classmethod
    def of(cls, spark: SparkSession) -> Bench:
        return cls(spark, spark.sparkContext.defaultParallelism, tempfile.mkdtemp(prefix="bench-fleet-"))

    def panel(self, data: pd.DataFrame) -> Panel:
        return Panel(data, learning_frame(self.spark, data, self.folder))

    def seconds(self, made: DataFrame) -> float:
        """Until every row is made; none is kept."""
        return timed(lambda: made.write.format("noop").mode("overwrite").save())[0]

    def fleet(self, frame: DataFrame, what: FleetTask, earlier: Earlier | None = None) -> DataFrame:
        return run_fleet(frame, what, PACKS_PER_SLOT * self.slots, earlier or Earlier())

    def ours(self, frame: DataFrame, what: FleetTask, earlier: Earlier | None = None) -> tuple[float, pd.DataFrame]:
        """Seconds until every row of the fleet is made; and the rows, fetched afterwards from where they were kept."""
        made = self.fleet(frame, what, earlier).persist()
        seconds = self.seconds(made)
        rows = made.toPandas()
        made.unpersist()
        return seconds, rows


def task(models: Sequence[str], last: np.datetime64, *, windows: int = 3, refit: bool = True) -> FleetTask:
    """Every model refitted at every cutoff, estimated as statsforecast's classes do; or the default fleet's savings."""
    cutoffs = tuple(last - HORIZON * k for k in range(windows, 0, -1))
    plan = Plan(cutoffs, HORIZON, (0.1, 0.5, 0.9), False, 60, origin=Origin(refit=1 if refit else None))
    options = {name: AS_STATSFORECAST.get(name, {}) if refit else {} for name in models}
    return FleetTask(tuple(options.items()), (), SEASON, plan, warm=(7, 1.5))


def like_for_like(bench: Bench, panel: Panel) -> dict[str, float]:
    """Seconds of each model (with the seasonal naive, which is always fitted) and of THREE, here and at the peers.

    Runs of a second or two hang on what the JVM has compiled so far: of SHORTEST, the median of REPEATS is taken.
    """
    found = {}
    fleets = {name: tuple(dict.fromkeys((CHEAP[0], name))) for name in (*CHEAP, *DEAR)} | {"three": THREE}
    for name, models in fleets.items():
        runs = [beside_peers(bench, panel, models) for _ in range(REPEATS if name in SHORTEST else 1)]
        seconds = {peer: float(np.median([run[peer] for run in runs])) for peer in runs[0]}
        print(name, {peer: round(value, 2) for peer, value in seconds.items()}, flush=True)
        found |= {f"{name}_{peer}": value for peer, value in seconds.items()}
    return found


def beside_peers(bench: Bench, panel: Panel, models: Sequence[str]) -> dict[str, float]:
    """Seconds of these models together, here and at each peer."""
    return {
        "ours": bench.seconds(bench.fleet(panel.frame, task(models, panel.last))),
        "alone": alone(panel.data, models, bench.slots),
        "fugue": through_fugue(panel.frame, models),
        "per_group": per_group(panel.frame, models),
    }


def same_accuracy(bench: Bench, panel: Panel, windows: int = 4) -> tuple[dict[str, float], pd.DataFrame]:
    """The default fleet refitted at every cutoff and with its savings; and the rows of the latter."""
    reference = alone(panel.data, DEFAULT, bench.slots, windows)
    everything, refitted = bench.ours(panel.frame, task(DEFAULT, panel.last, windows=windows, refit=True))
    saving, kept = bench.ours(panel.frame, task(DEFAULT, panel.last, windows=windows, refit=False))
    wape = chosen_wape(refitted, panel.data), chosen_wape(kept, panel.data)
    found = {
        "statsforecast": reference, "ours_refitting": everything, "ours_saving": saving,
        "wape_refitting": wape[0], "wape_saving": wape[1],
        "time": saving / reference, "wape_loss": wape[1] / wape[0] - 1,
    }  # fmt: skip
    print("same accuracy", {name: round(value, 4) for name, value in found.items()}, flush=True)
    return found, kept


def day_two(bench: Bench, regions: int, days: int, kept: pd.DataFrame) -> dict[str, Any]:
    """Seconds of the default fleet a day later, beginning with the parameters that the day before left."""
    fitted = kept.loc[kept["kind"] == "model", ["region", "model", "artefact"]]
    models = bench.spark.createDataFrame(
        list(fitted.itertuples(index=False, name=None)), "region string, model string, artefact string"
    )
    later = bench.panel(shop(regions, days + 1))
    what = task(DEFAULT, later.last, windows=4, refit=False)
    seconds, rows = bench.ours(later.frame, what, Earlier(None, models))
    kinds = rows.loc[rows["kind"] == "model", "fit_kind"].value_counts().to_dict()
    return {"day_two_seconds": seconds, "day_two_kinds": kinds}


def growth(bench: Bench, counts: Sequence[int]) -> dict[str, float]:
    """Milliseconds per region of the cheap models as regions multiply."""
    found = {}
    for count in counts:
        panel = bench.panel(shop(count, 365))
        seconds = bench.seconds(bench.fleet(panel.frame, task((CHEAP[0], CHEAP[-1]), panel.last)))
        found[f"ms_per_region_{count}"] = 1000 * seconds / count
        print(f"{count} regions: {1000 * seconds / count:.1f} ms each", flush=True)
    return found


def chosen_wape(rows: pd.DataFrame, data: pd.DataFrame) -> float:
    """WAPE of the forecasts that each region's best model of the other cutoffs makes at each cutoff."""
    made = rows[rows["kind"] == "forecast"].assign(ds=lambda f: pd.to_datetime(f["date"]))
    seen = data[data["observed"]] if "observed" in data else data
    both = made.merge(seen[["unique_id", "ds", "y"]].rename(columns={"unique_id": "region"}), on=["region", "ds"])
    both["error"] = (both["y"] - both["y_hat"]).abs()
    errors = both.groupby(["region", "model", "cutoff"])["error"].sum().unstack("cutoff")
    total = 0.0
    for cutoff in errors.columns:
        others = errors.drop(columns=cutoff).sum(axis=1).unstack("model")
        picked = others.idxmin(axis=1)
        total += sum(errors.loc[(region, model), cutoff] for region, model in picked.items())
    days = both.drop_duplicates(["region", "ds"])
    return total / float(days["y"].sum())
