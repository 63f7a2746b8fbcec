"""The fleet beside its peers in one run: statsforecast alone, through Fugue, and a groupBy per model.

python bench/fleet.py [--short] [--regions 200] [--days 730]

Simulated regions, three cutoffs a week apart, horizon 7, 80% intervals, every model fitted at every cutoff, warm
workers; JSON goes to bench/results/fleet.json. The last line holds ratios of wall time:

    fleet overhead=… fugue=… per_group=… same_accuracy_time=… wape_loss=… day_two=…

overhead: ours / statsforecast with n_jobs = slots. fugue, per_group: the peer / ours, cheap models. same_accuracy_time:
the default fleet with its savings / statsforecast's time for refitting every model everywhere at every cutoff;
wape_loss: what the chosen forecasts' WAPE loses by that. day_two: a warm start / the day before.
"""

# ruff: noqa: E402  threads are set before numpy is imported
from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from statsforecast import StatsForecast
from statsforecast.models import ARIMA, AutoARIMA, AutoETS, DynamicOptimizedTheta, SeasonalNaive, WindowAverage

from stspark.fleet.attempt import Plan
from stspark.fleet.origin import Origin
from stspark.fleet.spread import PACKS_PER_SLOT, Earlier, FleetTask, run_fleet
from stspark.session import build_session

HORIZON, SEASON, LEVEL = 7, 7, [80]
LONGEST = 1500
"""Days that are drawn for every region, of which the first are used."""
START = np.datetime64("2023-01-01", "D")
CHEAP = ("seasonal_naive", "theta")
DEAR = ("auto_ets", "auto_arima", "sarima")
PEERS: dict[str, Callable[[], Any]] = {
    "seasonal_naive": lambda: SeasonalNaive(SEASON),
    "window_average": lambda: WindowAverage(56),
    "theta": lambda: DynamicOptimizedTheta(SEASON),
    "auto_ets": lambda: AutoETS(SEASON, "AZA"),
    "sarima": lambda: ARIMA((1, 0, 1), SEASON, (0, 1, 1)),
    "auto_arima": lambda: AutoARIMA(
        season_length=SEASON, max_p=3, max_q=3, max_P=1, max_Q=1, D=1, approximation=True, nmodels=20
    ),
}


def shop(regions: int, days: int) -> pd.DataFrame:
    """unique_id, ds, y: counts with a weekly profile, a year's wave, a random walk of the level; more days add on."""
    parts = []
    for seed in range(regions):
        rng = np.random.default_rng(seed)
        t = np.arange(LONGEST)
        level = np.exp(rng.normal(3, 1) + np.cumsum(rng.normal(0, 0.01, LONGEST)) + 0.2 * np.sin(2 * np.pi * t / 365))
        week = np.exp(rng.normal(0, 0.2, SEASON))[t % SEASON]
        y, t = rng.poisson(level * week).astype(float)[:days], t[:days]
        parts.append(pd.DataFrame({"unique_id": f"r{seed:05d}", "ds": (START + t).astype("datetime64[ns]"), "y": y}))
    return pd.concat(parts, ignore_index=True)


def learning_frame(spark: Any, data: pd.DataFrame, folder: str) -> DataFrame:
    """The learning frame of the same rows, from Parquet, with the horizon's days."""
    tails = []
    for name, rows in data.groupby("unique_id"):
        last = rows["ds"].iloc[-1]
        ahead = pd.date_range(last + pd.Timedelta(days=1), periods=HORIZON)
        tails.append(pd.DataFrame({"unique_id": name, "ds": ahead, "y": np.nan}))
    rows = pd.concat([data, *tails]).rename(columns={"unique_id": "region", "ds": "date"})
    rows = rows.assign(date=rows["date"].dt.date, observed=rows["y"].notna(), is_closed=False, holiday_name="")
    path = f"{folder}/learning-{len(data)}.parquet"
    rows.to_parquet(path, index=False)
    return spark.read.parquet(path)


def task(models: Sequence[str], days: int, *, windows: int = 3, refit: bool = True) -> FleetTask:
    last = START + days - 1
    cutoffs = tuple(last - HORIZON * k for k in range(windows, 0, -1))
    plan = Plan(cutoffs, HORIZON, (0.1, 0.5, 0.9), False, 60, origin=Origin(refit=1 if refit else None))
    return FleetTask(tuple((name, {}) for name in models), (), SEASON, plan, warm=(7, 1.5))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    made = work()
    return time.perf_counter() - begun, made


def ours(frame: DataFrame, what: FleetTask, slots: int, earlier: Earlier | None = None) -> tuple[float, pd.DataFrame]:
    """Seconds until every row of the fleet is made; and the rows, fetched afterwards from where they were kept."""
    made = run_fleet(frame, what, PACKS_PER_SLOT * slots, earlier or Earlier()).persist()
    seconds, _ = timed(lambda: made.write.format("noop").mode("overwrite").save())
    rows = made.toPandas()
    made.unpersist()
    return seconds, rows


def alone(data: pd.DataFrame, models: Sequence[str], slots: int, windows: int = 3) -> float:
    """statsforecast on all cores of this machine, without Spark."""
    peer = StatsForecast([PEERS[m]() for m in models], freq="D", n_jobs=slots)
    work = lambda: peer.cross_validation(  # noqa: E731
        df=data, h=HORIZON, step_size=HORIZON, n_windows=windows, refit=True, level=LEVEL
    )
    return timed(work)[0]


def through_fugue(frame: DataFrame, models: Sequence[str], windows: int = 3) -> float:
    """statsforecast on Spark through Fugue, whose engine it finds by the frame's type."""
    peer = StatsForecast([PEERS[m]() for m in models], freq="D")
    rows = frame.where("y is not null").selectExpr("region as unique_id", "cast(date as timestamp_ntz) as ds", "y")

    def work() -> None:
        made = peer.cross_validation(df=rows, h=HORIZON, step_size=HORIZON, n_windows=windows, refit=True, level=LEVEL)
        made.write.format("noop").mode("overwrite").save()

    return timed(work)[0]


def per_group(frame: DataFrame, models: Sequence[str], windows: int = 3) -> float:
    """groupBy(region).applyInPandas, one job per model, as most write it."""
    schema = "region string, cutoff int, step int, y_hat double, lo double, hi double"
    rows = frame.where("y is not null").select("region", "date", "y")

    def job(name: str) -> None:
        def fit(group: pd.DataFrame) -> pd.DataFrame:
            y = group.sort_values("date")["y"].to_numpy()
            parts = []
            for window in range(windows, 0, -1):
                made = PEERS[name]().forecast(y=y[: len(y) - HORIZON * window], h=HORIZON, level=LEVEL)
                parts.append(
                    pd.DataFrame({
                        "region": group["region"].iloc[0], "cutoff": window, "step": range(HORIZON),
                        "y_hat": made["mean"], "lo": made["lo-80"], "hi": made["hi-80"],
                    })
                )  # fmt: skip
            return pd.concat(parts)

        made = rows.groupBy("region").applyInPandas(fit, schema)
        made.write.format("noop").mode("overwrite").save()

    return timed(lambda: [job(name) for name in models])[0]


def chosen_wape(rows: pd.DataFrame, data: pd.DataFrame) -> float:
    """WAPE of the forecasts that each region's best model of the other cutoffs makes at each cutoff."""
    made = rows[rows["kind"] == "forecast"].assign(ds=lambda f: pd.to_datetime(f["date"]))
    both = made.merge(data.rename(columns={"unique_id": "region"}), on=["region", "ds"])
    both["error"] = (both["y"] - both["y_hat"]).abs()
    errors = both.groupby(["region", "model", "cutoff"])["error"].sum().unstack("cutoff")
    total = 0.0
    for cutoff in errors.columns:
        others = errors.drop(columns=cutoff).sum(axis=1).unstack("model")
        picked = others.idxmin(axis=1)
        total += sum(errors.loc[(region, model), cutoff] for region, model in picked.items())
    days = both.drop_duplicates(["region", "ds"])
    return total / float(days["y"].sum())


def like_for_like(frame: DataFrame, data: pd.DataFrame, days: int, slots: int) -> dict[str, float]:
    found = {}
    for name in (*CHEAP, "auto_ets"):
        seconds = {"ours": ours(frame, task([name] if name == CHEAP[0] else [CHEAP[0], name], days), slots)[0]}
        models = [name] if name == CHEAP[0] else [CHEAP[0], name]
        seconds |= {"alone": alone(data, models, slots), "fugue": through_fugue(frame, models)}
        seconds["per_group"] = per_group(frame, models)
        print(name, {k: round(v, 2) for k, v in seconds.items()}, flush=True)
        found |= {f"{name}_{peer}": value for peer, value in seconds.items()}
    return found


def growth(spark: Any, folder: str, counts: Sequence[int], slots: int) -> dict[str, float]:
    """Milliseconds per region of the cheap models as regions multiply."""
    found = {}
    for count in counts:
        data = shop(count, 365)
        seconds, _ = ours(learning_frame(spark, data, folder), task(CHEAP, 365), slots)
        found[f"ms_per_region_{count}"] = 1000 * seconds / count
        print(f"{count} regions: {1000 * seconds / count:.1f} ms each", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="16 regions, a few minutes")
    parser.add_argument("--regions", type=int, default=200)
    parser.add_argument("--days", type=int, default=730)
    asked = parser.parse_args()
    regions, days = (16 if asked.short else asked.regions), asked.days
    warnings.simplefilter("ignore")
    os.environ["PYSPARK_SUBMIT_ARGS"] = "--driver-memory 2g pyspark-shell"
    spark = build_session("bench fleet", master="local[2]")
    spark.sparkContext.setLogLevel("OFF")
    slots, folder = spark.sparkContext.defaultParallelism, tempfile.mkdtemp(prefix="bench-fleet-")
    data = shop(regions, days)
    frame = learning_frame(spark, data, folder)
    ours(learning_frame(spark, shop(4, 200), folder), task((*CHEAP, *DEAR), 200), slots)  # warm workers
    through_fugue(learning_frame(spark, shop(4, 201), folder), CHEAP)
    found: dict[str, Any] = {"regions": regions, "days": days, "slots": slots}
    found |= like_for_like(frame, data, days, slots)

    everything = (*CHEAP, *DEAR)
    reference = alone(data, everything, slots, windows=4)
    _, refitted = ours(frame, task(everything, days, windows=4, refit=True), slots)
    saved, kept = ours(frame, task(everything, days, windows=4, refit=False), slots)
    found |= {"statsforecast_refitting": reference, "ours_saving": saved}
    found |= {"wape_refitted": chosen_wape(refitted, data), "wape_saving": chosen_wape(kept, data)}
    fitted = kept.loc[kept["kind"] == "model", ["region", "model", "artefact"]]
    models = spark.createDataFrame(
        list(fitted.itertuples(index=False, name=None)), "region string, model string, artefact string"
    )
    later = shop(regions, days + 1)
    second, rows = ours(
        learning_frame(spark, later, folder),
        task(everything, days + 1, windows=4, refit=False),
        slots,
        Earlier(None, models),
    )
    kinds = rows.loc[rows["kind"] == "model", "fit_kind"].value_counts().to_dict()
    found |= {"day_two_seconds": second, "day_two_kinds": kinds}
    found |= growth(spark, folder, (25, 100) if asked.short else (100, 1000, 5000), slots)

    cheap = [f"{name}" for name in CHEAP]
    line = {
        "overhead": max(found[f"{n}_ours"] / found[f"{n}_alone"] for n in (*cheap, "auto_ets")),
        "fugue": min(found[f"{n}_fugue"] / found[f"{n}_ours"] for n in cheap),
        "per_group": min(found[f"{n}_per_group"] / found[f"{n}_ours"] for n in cheap),
        "same_accuracy_time": saved / reference,
        "wape_loss": found["wape_saving"] / found["wape_refitted"] - 1,
        "day_two": second / saved,
    }
    found |= line
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "fleet.json").write_text(json.dumps(found, indent=1) + "\n")
    print("fleet " + " ".join(f"{key}={value:.3f}" for key, value in line.items()))
    spark.stop()


if __name__ == "__main__":
    main()
