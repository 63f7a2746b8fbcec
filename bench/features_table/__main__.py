"""`make bench-features`: events to region_day beside DuckDB and Polars, one new day beside a full build, memory.

The long form (20 million events, 5 and 40 million for memory) takes about nine minutes; ARGS=--short two.
Results lie in bench/results/features.json (or features_short.json).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from generate import generate, one_day

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Sizes:
    """Events of the comparison, of the two memory runs, and a day's of the incremental one."""

    compared: int
    small: int
    large: int
    per_day: int


LONG = Sizes(20_000_000, 5_000_000, 40_000_000, 20_000)
SHORT = Sizes(400_000, 100_000, 800_000, 200)
YEARS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a fiftieth of the events: shows that it works")
    short = parser.parse_args().short
    folder = Path(tempfile.mkdtemp(prefix="bench-features-"))
    try:
        result = measure(folder, SHORT if short else LONG)
    finally:
        shutil.rmtree(folder)
    result |= {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    place = ROOT / "bench" / "results" / ("features_short.json" if short else "features.json")
    place.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    print(last_line(result))


def measure(folder: Path, sizes: Sizes) -> dict[str, object]:
    result: dict[str, object] = {"events": sizes.compared}
    events = folder / "compared"
    generate(events, sizes.compared, 365 * YEARS)
    result["stspark"] = spark(folder / "w0", "full", events)
    result["duckdb"] = python("duckdb_side.py", events, folder / "duckdb.parquet")
    result["polars"] = python("polars_side.py", events, folder / "polars.parquet")
    agree(result)
    shutil.rmtree(events)
    for years in (YEARS, 1):
        history, following = folder / f"history{years}", folder / f"next{years}"
        generate(history, sizes.per_day * 365 * years, 365 * years)
        one_day(following, sizes.per_day)
        result[f"incremental_{years}y"] = spark(folder / f"wi{years}", "day", history, following)
        shutil.rmtree(history)
    for name, rows in (("small", sizes.small), ("large", sizes.large)):
        generate(folder / name, rows, 365 * YEARS)
        result[f"memory_{name}"] = spark(folder / f"wm{name}", "full", folder / name)
        shutil.rmtree(folder / name)
    return result


def agree(result: dict[str, object]) -> None:
    """The three engines made the same table, as far as rows and the sum of the target tell."""
    rows = {name: result[name]["rows"] for name in ("stspark", "duckdb", "polars")}
    targets = [result[name]["target"] for name in rows]
    assert len(set(rows.values())) == 1, rows
    assert max(targets) - min(targets) < 1e-6 * abs(targets[0]), targets


def spark(warehouse: Path, mode: str, *paths: Path) -> dict[str, float]:
    command = [str(BIN / "spark-submit"), "--master", "local[2]", "--driver-memory", "2g", str(HERE / "spark_side.py")]
    arguments = [mode, str(paths[0]), str(warehouse), *map(str, paths[1:])]
    ran = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
    found = [line for line in ran.stdout.splitlines() if line.startswith("RESULT ")]
    shutil.rmtree(warehouse, ignore_errors=True)
    if not found:
        raise SystemExit(ran.stdout[-4000:] + ran.stderr[-4000:])
    return json.loads(found[0].removeprefix("RESULT "))


def python(script: str, events: Path, out: Path) -> dict[str, float]:
    environment = os.environ | {"POLARS_MAX_THREADS": "2"}
    ran = subprocess.run(
        [sys.executable, str(HERE / script), str(events), str(out)], capture_output=True, text=True, env=environment
    )
    if ran.returncode:
        raise SystemExit(ran.stderr[-4000:])
    return json.loads(ran.stdout.splitlines()[-1])


def last_line(result: dict[str, object]) -> str:
    """Rows per second as a share of the peers', and the shares of time and memory."""
    ours, three, one = result["stspark"], result["incremental_3y"], result["incremental_1y"]
    return (
        f"features duckdb_ratio={result['duckdb']['seconds'] / ours['seconds']:.2f} "
        f"polars_ratio={result['polars']['seconds'] / ours['seconds']:.2f} "
        f"incremental_share={three['day'] / three['full']:.2f} "
        f"incremental_3y_over_1y={three['day'] / one['day']:.2f} "
        f"memory_40m_over_5m={result['memory_large']['peak_mib'] / result['memory_small']['peak_mib']:.2f}"
    )


if __name__ == "__main__":
    main()
