"""The same table in Polars.

POLARS_MAX_THREADS=2 python bench/features_table/polars_side.py EVENTS OUT
"""

from __future__ import annotations

import json
import resource
import sys
import time

import polars as pl


def daily_totals(events: pl.LazyFrame) -> pl.LazyFrame:
    kind = pl.col("event_type")
    counted, bought = kind.is_in(["order", "return"]), kind == "order"
    return events.group_by("region", "date").agg(
        pl.col("order_id").filter(bought).n_unique().alias("orders"),
        pl.col("user_id").n_unique().alias("users"),
        (kind == "view").sum().alias("views"),
        pl.col("quantity").filter(counted).sum().round(6).alias("units"),
        pl.col("amount").filter(counted).sum().round(6).alias("target"),
        (pl.col("amount").filter(bought).sum() / pl.col("quantity").filter(bought).sum()).round(6).alias("price"),
    )


def complete(daily: pl.DataFrame) -> pl.DataFrame:
    last = daily["date"].max()
    spans = daily.group_by("region").agg(pl.col("date").min().alias("first"))
    grid = spans.select("region", pl.date_ranges("first", pl.lit(last)).alias("date")).explode("date")
    days = grid.join(daily, ["region", "date"], how="left").sort("region", "date")
    sunday = pl.col("date").dt.weekday() == 7
    target = pl.when(sunday).then(pl.col("target")).otherwise(pl.col("target").fill_null(0))
    days = days.with_columns(
        target, pl.when(sunday & pl.col("target").is_null()).then(pl.lit("closed")).otherwise(pl.lit("observed"))
        .alias("status"), *(pl.col(c).fill_null(0) for c in ("orders", "users", "views")),
    )  # fmt: skip
    earlier = pl.col("target").forward_fill().shift(1).over("region", pl.col("date").dt.weekday())
    return days.with_columns(pl.coalesce("target", earlier, 0.0).alias("target_clean"))


def features(days: pl.DataFrame) -> pl.DataFrame:
    def rolling(column: str, how: str, length: int) -> pl.Expr:
        past = pl.col(column).cast(float).shift(1)
        return getattr(past, f"rolling_{how}")(length, min_samples=2 if how == "std" else 1).over("region")

    days = days.with_columns(
        *(pl.col("target_clean").shift(k).over("region").alias(f"lag_{k}") for k in (1, 7, 14, 364)),
        rolling("target_clean", "mean", 7).alias("mean_7"),
        rolling("target_clean", "mean", 28).alias("mean_28"),
        rolling("target_clean", "std", 28).alias("sd_28"),
        rolling("target_clean", "min", 28).alias("min_28"),
        rolling("target_clean", "max", 28).alias("max_28"),
        rolling("users", "mean", 7).alias("users_mean_7"),
        (rolling("orders", "sum", 28) / rolling("views", "sum", 28)).alias("conversion_28"),
        (rolling("price", "mean", 7) / rolling("price", "mean", 91)).alias("price_index"),
    )
    names = sorted(days["region"].unique())
    number = {name: int(name[1:]) for name in names}
    pairs = [(a, b) for a in names for b in names if a != b and abs(number[a] - number[b]) <= 2]
    edges = pl.DataFrame(pairs, schema=["region", "neighbour"], orient="row")
    there = edges.join(days.select(pl.col("region").alias("neighbour"), "date", "lag_1", "mean_7"), "neighbour")
    spatial = there.group_by("region", "date").agg(
        pl.col("lag_1").mean().alias("spatial_lag_1"), pl.col("mean_7").mean().alias("spatial_mean_7")
    )
    return days.join(spatial, ["region", "date"], how="left")


def main(events: str, out: str) -> None:
    begun = time.monotonic()
    daily = daily_totals(pl.scan_parquet(f"{events}/*.parquet")).collect(engine="streaming")
    table = features(complete(daily))
    table.write_parquet(out)
    seconds = time.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "rows": table.height, "target": table["target"].sum(), "peak_mib": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
