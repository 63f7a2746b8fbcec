"""Training only when the watch asks for it: else the last trained run's models serve the next run."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pyspark.sql import Row
from pyspark.sql import functions as F

from stspark import __version__, backtest
from stspark.ensemble.spread import Known
from stspark.features import learning
from stspark.fleet import results
from stspark.global_model import carry_globals
from stspark.models.panel.borrowed.donors import WINDOW
from stspark.models.panel.registry import partial_models
from stspark.models.regional.registry import build
from stspark.names import COMBINATION
from stspark.settings import Model
from stspark.watch.rules import RETRAIN
from stspark.watch.spread import monitor

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run

log = logging.getLogger("stspark")


def carry_over(job: Job, run: Run) -> bool:
    """Give the last trained run's models and back-tests to this run, where `watch.retrain` is auto and nothing speaks
    against it; say so in the summary. False: train.

    Back-tests are taken whole, with their cutoffs. Regional models that carry forward keep their parameters, networks
    their weights; all others are fitted once, on the as-of day.
    """
    if job.settings.watch.retrain != "auto":
        return False
    if has_trained(job, run):
        job.summary["training"] = "not needed: this run has trained"
        return True
    before = last_trained(job, run)
    why = reason_to_train(job, run, before)
    if why is None and before is not None:
        with job.step("reuse"):
            why = _serve(job, run, before)
    job.summary["training"] = why or f"not needed: models and back-tests of run {before['run_id'] if before else '-'}"
    log.info("training: %s", job.summary["training"])
    return why is None


def _serve(job: Job, run: Run, before: Row) -> str | None:
    """Write this run's models and back-tests; the reason where the earlier run's cannot serve after all."""
    store, settings = job.store, job.settings
    old, mine = F.col("run_id") == before["run_id"], f"run_id = '{run.run_id}'"
    trained = store.read("models").where(old).withColumns({"fit_seconds": F.lit(0.0), "n_fits": F.lit(0)})
    kept = [model.name for model in settings.regional_models if _carried(model)]
    anew = [model.name for model in settings.regional_models if model.name not in kept]
    rows = trained.where(F.col("model").isin(*kept, COMBINATION))
    if settings.global_models or anew:
        known = Known(store.read("region_day"), store.read("calendar"))
        frame = backtest.learning_frame(job, run, known)
    if settings.global_models:
        earlier = replace(run, run_id=before["run_id"], as_of=before["as_of"])
        made = carry_globals(job, run, frame, earlier, trained)
        if isinstance(made, str):
            return made
        rows = rows.unionByName(made, allowMissingColumns=True)
    if anew:
        said = backtest.fleet_says(job, frame, learning.known_ahead(known.calendar), [run.as_of], anew)
        rows = rows.unionByName(said.models.where(F.col("model").isin(anew)), allowMissingColumns=True)
    store.replace("models", results.of_run(rows, run.run_id), mine)
    for table in ("backtest_windows", "backtests"):
        store.replace(table, results.of_run(store.read(table).where(old), run.run_id), mine)
    job.summary["models"] = results.describe_models(store.read("models"), run.run_id)
    return None


def has_trained(job: Job, run: Run) -> bool:
    """Whether this very run has trained before: the same config, data and as-of give the same models."""
    mine = job.store.read("runs").where((F.col("run_id") == run.run_id) & F.col("seconds_train").isNotNull())
    return not mine.isEmpty()


def last_trained(job: Job, run: Run) -> Row | None:
    """The newest successful run of the same config and code that trained before this as-of day."""
    runs = job.store.read("runs").where((F.col("status") == "ok") & F.col("seconds_train").isNotNull())
    same = runs.where((F.col("config_hash") == run.config_hash) & (F.col("code_version") == __version__))
    same = same.where(F.col("as_of") < F.lit(run.as_of))
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


def _carried(model: Model) -> bool:
    """Whether a regional model can be scored with a longer history than it was fitted on."""
    return build(model.name, model.options).carries_forward
