"""The newest back-test of a data set as Markdown: errors and coverage by model, and the worst regions.

.venv/bin/python scripts/accuracy.py warehouse/olist
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from deltalake import DeltaTable

CHAMPION, NAIVE, WORST = "champion", "seasonal_naive", 5
FIGURES = ("wape", "mase", "bias", "coverage_80", "coverage_95", "winkler_80")


def table(home: Path, name: str, run_id: str | None = None) -> pd.DataFrame:
    """A table's rows, of one run where it is given."""
    return DeltaTable(str(home / name)).to_pandas(filters=[("run_id", "=", run_id)] if run_id else None)


def newest_run(home: Path) -> pd.Series:
    """The row of the newest run that went well."""
    runs = table(home, "runs")
    return runs[runs["status"] == "ok"].sort_values(["as_of", "started"]).iloc[-1]


def by_model(metrics: pd.DataFrame) -> pd.DataFrame:
    """One row per model: FIGURES as published, the coverage of what the model itself said, WAPE against the naive."""
    whole = metrics[(metrics["level"] == "all") & (metrics["horizon"] == 0)]
    wide = whole.pivot(index="model", columns=["source", "metric"], values="value")
    found = wide["backtest"][list(FIGURES)].copy()
    found.insert(1, "against naive", found["wape"] / found.loc[NAIVE, "wape"] - 1)
    for level in (80, 95):
        found.insert(4 + level // 90, f"raw {level}", wide["raw"][f"coverage_{level}"])
    return found.sort_values("wape")


def by_region(metrics: pd.DataFrame, days: pd.DataFrame) -> pd.DataFrame:
    """One row per region with a naive error: champion against naive, coverage, observed days before the last cutoff."""
    rows = metrics[(metrics["level"] == "region") & (metrics["horizon"] == 0) & (metrics["source"] == "backtest")]
    wide = rows.pivot(index="region", columns=["model", "metric"], values="value")
    errors = pd.DataFrame({"champion": wide[CHAMPION]["mae"], "naive": wide[NAIVE]["mae"]})
    errors["against naive"] = errors["champion"] / errors["naive"].where(errors["naive"] > 0) - 1
    errors["coverage_80"], errors["coverage_95"] = wide[CHAMPION]["coverage_80"], wide[CHAMPION]["coverage_95"]
    observed = days[days["status"] == "observed"].groupby("region")["date"].count()
    return errors.assign(days=observed).sort_values("against naive", ascending=False)


def markdown(frame: pd.DataFrame, title: str) -> str:
    """A Markdown table with an index column called `title`."""

    def shown(column: str, value: float) -> str:
        if pd.isna(value):
            return "–"
        if column in ("days",):
            return f"{value:,.0f}"
        if column.startswith(("against", "coverage", "raw", "bias")):
            return f"{value:+.1%}" if column.startswith(("against", "bias")) else f"{value:.1%}"
        return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.1f}"

    lines = [f"| {title} | " + " | ".join(frame.columns) + " |", "|---" * (len(frame.columns) + 1) + "|"]
    for name, row in frame.iterrows():
        lines.append(f"| {name} | " + " | ".join(shown(c, row[c]) for c in frame.columns) + " |")
    return "\n".join(lines)


def main(home: Path) -> None:
    """Print the tables of the newest run."""
    run = newest_run(home)
    metrics = table(home, "metrics", run["run_id"])
    regions = by_region(metrics, table(home, "region_day"))
    tested = table(home, "backtests", run["run_id"])
    judged = tested.loc[~tested["warm_up"].astype(bool), "cutoff"]
    worse = regions[(regions["against naive"] > 0.05) & (regions["days"] >= 200)]
    parts = [
        f"Run {run['run_id']}, {judged.nunique()} windows, cutoffs {judged.min()} to {judged.max()}.",
        markdown(by_model(metrics), "model"),
        f"Regions with 200 or more observed days that are worse than the naive by over 5%: {len(worse)} of "
        f"{len(regions)}. The worst against the naive, then those whose 80% interval held least:",
        markdown(regions.head(WORST), "region"),
        markdown(regions.sort_values("coverage_80").head(WORST), "region"),
    ]
    sys.stdout.write("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path, metavar="WAREHOUSE/DATASET")
    home: Path = parser.parse_args().home
    if not DeltaTable.is_deltatable(str(home / "metrics")):
        sys.exit(f"{home}: has no table metrics; run jobs/pipeline.py first")
    main(home)
