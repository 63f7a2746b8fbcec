"""A run: what config, data and as-of day define, and its row in the table `runs`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark import __version__
from stspark.errors import InputError
from stspark.ingest.files import data_version
from stspark.names import OBSERVED
from stspark.settings import Settings
from stspark.store import Store
from stspark.tables import RUNS

if TYPE_CHECKING:
    from stspark.job import Job

STEPS = ("ingest", "features", "train", "forecast", "reconcile", "explain", "evaluate")
KEPT = ("finished", "tables_read", "tables_written", "mlflow_run", "report", *(f"seconds_{s}" for s in STEPS))
"""Columns that a later job of the same run leaves as they are."""
RECORDED = (*STEPS, "pipeline")
"""Jobs that make a run and are written down in its row."""


@dataclass(frozen=True)
class Run:
    """A run's identity: equal config, data and as-of give an equal run_id, and equal tables."""

    run_id: str
    as_of: date
    config_hash: str
    data_version: str


def resolve_as_of(store: Store, asked: date | None, settings: Settings) -> date:
    """The asked as-of day, or the last day with data; InputError where it lies outside of the data."""
    days = store.read("region_day").where(F.col("status") == OBSERVED)
    row = days.agg(F.min("date"), F.max("date")).first()
    if row is None or row[0] is None:
        raise InputError(
            f"table region_day in {settings.home}", "has no observed day", "look into events_rejected for the reasons"
        )
    first, last = row
    horizon = settings.time.horizon
    if asked is None:
        return date.fromordinal(last.toordinal())
    if asked < first:
        raise InputError(
            f"--as-of {asked}", f"lies before the data begin ({first})", f"choose a day from {first} to {last}"
        )
    if asked > last + timedelta(days=horizon):
        raise InputError(
            f"--as-of {asked}",
            f"lies more than the horizon of {horizon} days after the data end ({last})",
            f"choose a day from {first} to {last}",
        )
    return asked


def identify(store: Store, settings: Settings, as_of: date) -> Run:
    """The run for these settings and the data in the tables."""
    hashes = [row[0] for row in store.read("ingested_files").select("content_hash").distinct().collect()]
    files = [*(path for _, path in sorted(settings.input_files().items())), *settings.pretrained]
    side_files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    forgotten = [row[0] for row in store.read("forgotten").collect()] if store.exists("forgotten") else []
    version = data_version([*hashes, *side_files, *forgotten])
    fingerprint = settings.fingerprint()
    text = f"{settings.dataset} {fingerprint} {as_of} {version} {__version__}"
    return Run(f"{as_of:%Y%m%d}-{hashlib.sha256(text.encode()).hexdigest()[:8]}", as_of, fingerprint, version)


def row(job: Job, run: Run, status: str) -> DataFrame:
    """The run's row as it stands now; tables of a run whose steps run one by one are those of all its steps."""
    store, ended = job.store, status != "running"
    before = _tables_before(store, run) if ended and job.name != "pipeline" else ("", "")
    values = {
        "run_id": run.run_id,
        "as_of": run.as_of,
        "config": json.dumps(job.settings.model_dump(mode="json"), sort_keys=True),
        "config_hash": run.config_hash,
        "code_version": __version__,
        "data_version": run.data_version,
        "tables_read": _versions(before[0], store.versions_read) if ended else None,
        "tables_written": _versions(before[1], store.versions_written) if ended else None,
        "status": status,
        "started": job.started,
        "finished": datetime.now(UTC) if status == "ok" else None,
        **{f"seconds_{step}": job.seconds.get(step) for step in STEPS},
        "mlflow_run": job.mlflow_run,
        "report": str(Path(job.report).absolute()) if job.report else None,
    }
    return job.spark.createDataFrame([tuple(values[c.name] for c in RUNS.columns)], RUNS.schema())


def _tables_before(store: Store, run: Run) -> tuple[str, str]:
    """What the run's row says so far of the tables that were read and written."""
    known = store.at("runs", store.version("runs")).where(F.col("run_id") == run.run_id).first()
    return ("", "") if known is None else (known["tables_read"] or "", known["tables_written"] or "")


def _versions(before: str, now: Mapping[str, int]) -> str:
    """table@version of these tables, and of those of an earlier text that are not among them."""
    earlier = dict(part.split("@") for part in before.split(", ") if part)
    all_of_them = earlier | {table: str(version) for table, version in now.items()}
    return ", ".join(f"{table}@{version}" for table, version in sorted(all_of_them.items()))
