"""From the tables of a run to its page on disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pandas as pd
from pyspark.sql import functions as F

from stspark import __version__
from stspark.at_once import at_once
from stspark.report import after, networks, read
from stspark.report.comparison import NETWORKS_PAGE, UNHIDE
from stspark.report.data import PLACED, SHOWN, ReportData, Rows, RunFacts, Totals, rows_of
from stspark.report.page import render
from stspark.report.raw_rows import example
from stspark.report.shell import write
from stspark.settings import Settings, Target
from stspark.tracking import tracking_uri
from stspark.watch.reuse import has_trained, last_trained

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run

log = logging.getLogger("stspark")

ATTRIBUTED = 200
"""Regions on the page of the networks: the largest."""
MEASURES = {
    "amount": "quantity × price of a day's {types} events",
    "units": "pieces of a day's {types} events",
    "orders": "distinct orders of a day",
    "users": "distinct known users of a day",
    "events": "number of a day's {types} events",
}


def write_report(job: Job, run: Run) -> str:
    """Write the run's page to <reports>/<dataset>/<run_id>/index.html, all at once, and return its path."""
    path = _folder(job, run) / "index.html"
    page = render(read_data(job, run))
    write(page, path)
    log.info("report: %s, %.1f MB", path, len(page.encode()) / 1e6)
    return str(path)


def write_networks(job: Job, run: Run) -> str:
    """Write the page of the run's attributions beside its report, which leads there from now on; return its path."""
    store, settings = job.store, job.settings
    made = store.read("attributions").where(F.col("run_id") == run.run_id)
    volume = store.read("region_day").groupBy("region").agg(F.sum(F.abs("target")).alias("volume"))
    known = store.read("regions").join(made.select("region").distinct(), "region", "leftsemi").join(volume, "region")
    largest = known.orderBy(F.desc("volume"), "region").limit(ATTRIBUTED)
    first = largest.select("region", "name", "position").toPandas().sort_values("position")
    rows = made.join(F.broadcast(job.spark.createDataFrame(first[["region"]])), "region", "leftsemi")
    means = made.where("kind = 'share'").groupBy("model", "source").agg(F.avg("value").alias("value"))
    data = networks.Attributions(
        title=settings.title or settings.dataset,
        dataset=settings.dataset,
        run_id=run.run_id,
        as_of=run.as_of,
        rows=read.collect(rows.drop("run_id")),
        means=read.collect(means),
        names=dict(zip(first["region"], first["name"].fillna(first["region"]), strict=True)),
        regions=made.select("region").distinct().count(),
    )
    path = _folder(job, run) / NETWORKS_PAGE
    write(networks.render(data), path)
    report = path.with_name("index.html")
    if report.exists():
        write(report.read_text(encoding="utf-8").replace(*UNHIDE), report)
    return str(path)


def _folder(job: Job, run: Run) -> Path:
    return Path(job.settings.reports) / job.settings.dataset / run.run_id


def read_data(job: Job, run: Run) -> ReportData:
    """All that the page shows: eight reads, each bounded by the number of regions, models or days shown."""
    settings, store = job.settings, job.store
    scope = read.Scope(run.run_id, run.as_of, settings.time.horizon)
    regions, fits, account, metrics = at_once(
        job.spark,
        lambda: read.collect(read.region_summary(store, scope).orderBy(F.desc("volume"), "region").limit(PLACED)),
        lambda: read.collect(read.fits(store, scope)),
        lambda: read.collect(read.account(store)),
        lambda: read.collect(read.metrics(store, scope)),
    )
    names = [str(name) for name in regions["region"]]
    shown = names[:SHOWN]
    edges, days, forecasts, backtests, later = at_once(
        job.spark,
        lambda: read.collect(read.edges(store, names)),
        lambda: read.collect(read.days(store, scope, shown)),
        lambda: read.collect(read.forecasts(store, scope, shown, list(settings.quantile_columns))),
        lambda: read.collect(read.backtests(store, scope, shown)),
        lambda: after.read_after(store, scope, shown),
    )
    data = {
        "edges": edges,
        "days": days,
        "forecasts": forecasts,
        "backtests": backtests,
        "metrics": metrics,
        **later,
    }
    return ReportData(
        facts=_facts(job, run),
        totals=_totals(regions),
        rows=_rows(account),
        regions=_with_change(regions),
        models=fits[fits["kind"] == "count"],
        failures=fits[fits["kind"] == "failure"],
        rejected=_rejected(account[account["kind"] == "reason"], settings.source.columns),
        networks_page=(_folder(job, run) / NETWORKS_PAGE).exists(),
        **data,
    )


def _facts(job: Job, run: Run) -> RunFacts:
    settings, store = job.settings, job.store
    return RunFacts(
        dataset=settings.dataset,
        title=settings.title or settings.dataset,
        target=settings.target.name,
        measure=_measure(settings),
        run_id=run.run_id,
        as_of=pd.Timestamp(run.as_of),
        horizon=settings.time.horizon,
        quantiles=settings.quantiles,
        windows=settings.backtest.windows,
        step=settings.backtest.step,
        trained=_trained(job, run),
        home=store.home,
        identity={"code": f"stspark {__version__}", "config": run.config_hash, "data": run.data_version},
        versions={**store.versions_read, **store.versions_written},
        seconds=dict(job.seconds),
        config=job.config,
        tracking=without_credentials(tracking_uri(settings.tracking_uri, settings.warehouse)),
    )


def _trained(job: Job, run: Run) -> pd.Timestamp | None:
    """See RunFacts.trained: a night without training notes no time of it."""
    if "train" in job.seconds or has_trained(job, run):
        return None
    before = last_trained(job, run)
    return None if before is None else pd.Timestamp(before["as_of"])


def _measure(settings: Settings) -> str:
    """How the target is made, in words."""
    target: Target = settings.target
    if settings.source.kind == "panel":
        return "as the source gives it"
    return MEASURES[target.measure].format(types=" and ".join(target.event_types))


def without_credentials(uri: str) -> str:
    """The URI without user and password.

    >>> without_credentials("https://me:secret@tracking.example/x")
    'https://tracking.example/x'
    """
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def _totals(regions: pd.DataFrame) -> Totals:
    """The `all_…` columns, which are the same on every row."""
    row: dict[Any, Any] = regions.iloc[0].to_dict()
    before = row["all_before"]
    return Totals(
        **{name: int(row[f"all_{name}"] or 0) for name in ("regions", "measured", "better", "worse")},
        volume=float(row["all_volume"]),
        next_total=float(row["all_next_total"]),
        change=float(row["all_comparable"] / before - 1) if before and before > 0 else float("nan"),
        first_day=row["all_first_day"],
        last_day=row["all_last_day"],
        statuses={status: int(row[f"all_n_{status}"] or 0) for status in read.STATUSES},
    )


def _with_change(regions: pd.DataFrame) -> pd.DataFrame:
    """Add the change of the forecast on the same days before, where those came to more than nothing."""
    before = regions["before"].astype(float)
    change = regions["comparable"].astype(float) / before.where(before > 0) - 1
    return regions.assign(change=change, name=regions["name"].fillna(regions["region"]))


def _rows(account: pd.DataFrame) -> Rows:
    row = account[account["kind"] == "files"].iloc[0]
    return Rows(*(int(row[c]) for c in ("n", "rows_read", "rows_kept", "rows_rejected", "rows_duplicate")))


def _rejected(reasons: pd.DataFrame, mapping: Mapping[str, str]) -> pd.DataFrame:
    examples = [example(row.example, row.column, mapping) for row in rows_of(reasons)]
    return reasons.assign(example=pd.Series(examples, index=reasons.index, dtype=object))
