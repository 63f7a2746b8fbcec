"""The fleet beside its peers in one run: statsforecast alone, through Fugue, and a groupBy per model.

python -m bench.fleet [--short] [--regions 200] [--days 730] [--data ../shared/data]

Simulated regions, three cutoffs a week apart, horizon 7, 80% intervals, every model fitted at every cutoff, warm
workers; JSON goes to bench/results/fleet.json (fleet_short.json). The last line holds ratios of wall time:

    fleet overhead=… fugue=… per_group=… same_accuracy_time=… wape_loss=… day_two=…

overhead: ours / statsforecast with n_jobs = slots, of seasonal naive, Theta and AutoETS together. fugue, per_group:
peer / ours, the worst of the cheap models. same_accuracy_time: the default fleet with its savings / statsforecast's
time for refitting every model everywhere at every cutoff; wape_loss: what the chosen forecasts' WAPE loses by it; both
the worst of the simulated regions and of the published data sets in --data. day_two: a warm start / the day before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
os.environ["PYTHONPATH"] = str(ROOT)
os.environ["PYSPARK_SUBMIT_ARGS"] = "--driver-memory 2g pyspark-shell"

from bench.fleet.measures import CHEAP, DEAR, Bench, day_two, growth, like_for_like, same_accuracy, task  # noqa: E402
from bench.fleet.panels import published, shop  # noqa: E402
from bench.fleet.peers import through_fugue  # noqa: E402
from bench.panels import PANELS  # noqa: E402
from stspark.session import build_session  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="16 regions, a few minutes")
    parser.add_argument("--regions", type=int, default=200)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    spark = build_session("bench fleet", master="local[2]")
    spark.sparkContext.setLogLevel("OFF")
    bench = Bench.of(spark)
    try:
        found = measure(bench, 16 if asked.short else asked.regions, asked.days, asked.data, asked.short)
    finally:
        spark.stop()
        shutil.rmtree(bench.folder)
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    (results / ("fleet_short.json" if asked.short else "fleet.json")).write_text(json.dumps(found, indent=1) + "\n")
    line = ("overhead", "fugue", "per_group", "same_accuracy_time", "wape_loss", "day_two")
    print("fleet " + " ".join(f"{key}={found[key]:.3f}" for key in line))


def measure(bench: Bench, regions: int, days: int, data: Path, short: bool) -> dict[str, Any]:
    warm = bench.panel(shop(4, 200))
    bench.ours(warm.frame, task((*CHEAP, *DEAR), warm.last))
    through_fugue(warm.frame, CHEAP)
    panel = bench.panel(shop(regions, days))
    found: dict[str, Any] = {"regions": regions, "days": days, "slots": bench.slots} | like_for_like(bench, panel)
    saved, kept = same_accuracy(bench, panel)
    found["same_accuracy"] = {"simulated": saved}
    for name in PANELS if data.is_dir() and not short else ():
        found["same_accuracy"][name] = same_accuracy(bench, bench.panel(published(name, data)))[0]
    found |= day_two(bench, regions, days, kept) | growth(bench, (25, 100) if short else (100, 1000, 5000))
    return found | {
        "overhead": found["three_ours"] / found["three_alone"],
        "fugue": min(found[f"{n}_fugue"] / found[f"{n}_ours"] for n in CHEAP),
        "per_group": min(found[f"{n}_per_group"] / found[f"{n}_ours"] for n in CHEAP),
        "same_accuracy_time": max(one["time"] for one in found["same_accuracy"].values()),
        "wape_loss": max(one["wape_loss"] for one in found["same_accuracy"].values()),
        "day_two": found["day_two_seconds"] / saved["ours_saving"],
    }


if __name__ == "__main__":
    main()
