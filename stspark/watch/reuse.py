"""Training only when the watch asks for it: else the last trained run's models serve the next run."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from stspark.models.panel.borrowed.donors import WINDOW
from stspark.models.panel.registry import partial_models
from stspark.models.regional.registry import build
from stspark.names import ALL_REGIONS, COMBINATION, NAIVE
from stspark.settings import Settings
from stspark.watch.rules import RETRAIN
from stspark.watch.spread import monitor

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run

log = logging.getLogger("stspark")


def carry_over(job: Job, run: Run) -> bool:
    """Give the last trained run's models and back-tests to this run, where `watch.retrain` is auto and nothing speaks
    against it; say so in the summary. False: train.

    Back-tests are taken whole, with their cutoffs. Only models that carry forward are: what must be fitted anew for
    each day, and global models, count as skipped and have no part in the combination until the next training.
    """
    if job.settings.watch.retrain != "auto":
        return False
    before = last_trained(job, run)
    why = reason_to_train(job, run, before)
    job.summary["training"] = why or f"not needed: models of run {before['run_id'] if before else '-'}"
    log.info("training: %s", job.summary["training"])
    if why is not None or before is None:
        return False
    store, names, mine = job.store, [*carried(job.settings), COMBINATION], f"run_id = '{run.run_id}'"
    old = F.col("run_id") == before["run_id"]
    for table in ("backtest_windows", "backtests"):
        store.replace(table, store.read(table).where(old).withColumn("run_id", F.lit(run.run_id)), mine)
    store.replace("models", models_of(store.read("models").where(old), names, run), mine)
    return True


def last_trained(job: Job, run: Run) -> Row | None:
    """The newest successful run of the same config that trained before this as-of day."""
    runs = job.store.read("runs").where((F.col("status") == "ok") & F.col("seconds_train").isNotNull())
    same = runs.where((F.col("config_hash") == run.config_hash) & (F.col("as_of") < F.lit(run.as_of)))
    return same.orderBy(F.desc("as_of"), F.desc("started")).first()


def reason_to_train(job: Job, run: Run, before: Row | None) -> str | None:
    """Why this run must train, or None."""
    if before is None:
        return "needed: no earlier run of this config has trained"
    most = job.settings.watch.max_age
    if before["as_of"] + timedelta(days=most) < run.as_of:
        return f"needed: the models of {before['as_of']} are older than watch.max_age ({most} days)"
    if young := _young(job, run):
        return f"needed: '{young}' has little history or none, and borrows"
    verdict = monitor(job, run, until=run.as_of).where("level = 'total'").first()
    if verdict is None or verdict["basis"] != "forecasts":
        return "needed: no forecast's day has come that could be judged"
    return f"needed: {verdict['reason']}" if verdict["verdict"] == RETRAIN else None


def _young(job: Job, run: Run) -> str | None:
    """A region that a model for regions with little history must forecast anew each day; None without."""
    if not partial_models(job.settings.panel_models):
        return None
    spans = job.store.read("region_day").where(F.col("date") <= F.lit(run.as_of)).groupBy("region").count()
    there = job.store.read("regions").join(spans, "region", "left").where(F.coalesce("count", F.lit(0)) < WINDOW)
    announced = F.col("count").isNotNull() | F.col("region").isin(list(job.settings.regions.opening))
    first = there.where(announced).orderBy("region").first()
    return None if first is None else str(first["region"])


def carried(settings: Settings) -> list[str]:
    """Regional models that can be scored with a longer history than they were fitted on."""
    return [m.name for m in settings.regional_models if build(m.name, m.options).carries_forward]


def models_of(models: DataFrame, names: list[str], run: Run) -> DataFrame:
    """The carried models' rows under the new run; of the others a row that says that they were skipped."""
    kept = F.col("model").isin(names)
    none = F.lit(None).cast("string")
    return models.withColumns(
        {
            "run_id": F.lit(run.run_id),
            "status": F.when(kept, F.col("status")).otherwise("skipped"),
            "error": F.when(kept, F.col("error")).otherwise("not carried over from the last training"),
            "artefact": F.when(kept, F.col("artefact")).otherwise(none),
            "fallback_used": F.when(kept | (F.col("region") == ALL_REGIONS), F.col("fallback_used")).otherwise(NAIVE),
            "fit_seconds": F.lit(0.0),
            "n_fits": F.lit(0),
        }
    )
