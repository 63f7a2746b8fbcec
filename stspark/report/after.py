"""What a run made after its forecasts, where it did: each read bounded by what is shown."""

from __future__ import annotations

import pandas as pd
from pyspark.sql import functions as F

from stspark.report.read import Scope, collect
from stspark.store import Store

NODES = 1000
"""Nodes above the regions that are read, largest first."""
ALARMS = 500
"""Checks that stand out which are read, the surest first."""


def read_after(store: Store, scope: Scope, shown: list[str]) -> dict[str, pd.DataFrame]:
    """Frames of ReportData by name; a table that is not there is left out."""
    made: dict[str, pd.DataFrame] = {}
    if store.exists("forecast_levels"):
        rows = scope.of_run(store.read("forecast_levels")).where(
            "level <> 'region' and (horizon = 0 or level = 'total')"
        )
        made["levels"] = collect(rows.drop("run_id", "as_of", "parent").orderBy(F.desc("y_hat")).limit(NODES))
    if store.exists("backtest_levels"):
        tested = scope.of_run(store.read("backtest_levels")).where("horizon > 0 and y is not null")
        wape = F.try_divide(F.sum(F.abs(F.col("y") - F.col("y_hat"))), F.sum(F.abs("y")))
        made["level_errors"] = collect(tested.groupBy("level", "model").agg(wape.alias("wape")))
    if store.exists("monitoring"):
        rows = scope.of_run(store.read("monitoring")).where("level = 'total' or verdict <> 'ok'")
        made["monitoring"] = collect(rows.orderBy(F.col("level") != "total", "p_value").limit(ALARMS))
    if store.exists("explanations"):
        rows = scope.of_run(store.read("explanations")).where(F.col("region").isin(shown))
        made["explained"] = collect(rows.select("region", "date", "member", "component", "value", "weight"))
    return {name: frame for name, frame in made.items() if len(frame)}
