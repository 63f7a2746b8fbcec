"""Boosted trees of a panel that is too large for one process: executors make the rows, and train together.

The rows are made from the snapshot's files where they are needed and never pass the driver; `xgboost.spark` then
grows each tree over all executors (Chen & Guestrin 2016, section 4: histograms are summed). The result is the same
parameters as `BoostedTrees.fit` leaves, so scoring does not know how they came to be.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from xgboost.spark import SparkXGBRegressor

from stspark.errors import EnvironmentMistake
from stspark.models.base import Parameters
from stspark.models.panel.boosted.model import BoostedTrees, learning_design, levels
from stspark.models.panel.boosted.sample import origins, seen_from
from stspark.panel_models import PanelTask
from stspark.settings import Model
from stspark.snapshot import load_snapshot, write_atomically
from stspark.training.launch import SLOT_SECONDS, count_slots, is_local

log = logging.getLogger("stspark")

ORIGINS_PER_TASK = 8
ROWS = "features array<float>, label double, weight double, origin long, number long"


def fitted_before(spark: SparkSession, task: PanelTask, workers: int) -> PanelTask:
    """Train the task's boosted trees that are `distributed` at every cutoff, and tell the models where that lies.

    A cutoff at which the training fails is logged and left out, so that the model's own fit fails there and says so.
    Raises EnvironmentMistake where the cluster has too few slots for `workers` tasks at once.
    """
    models = list(task.models)
    for position, given in enumerate(models):
        model = task.build(position)
        if not isinstance(model, BoostedTrees) or not model.distributed:
            continue
        need_slots(spark, workers)
        folder = task.stored(position, task.cutoffs[0]).parent.parent / "fitted"
        for cutoff in task.cutoffs:
            file = folder / f"{cutoff}.json"
            file.unlink(missing_ok=True)
            try:
                parameters = fit_distributed(spark, task.snapshot, cutoff, model, workers)
            except Exception as error:  # noqa: BLE001  a model that fails costs only itself; its row says so
                log.warning("%s: distributed training failed at cutoff %s: %r", given.name, cutoff, error)
            else:
                write_atomically(file, json.dumps(parameters).encode())
        models[position] = Model(name=given.name, **(given.options | {"fitted": str(folder)}))
    return replace(task, models=tuple(models))


def need_slots(spark: SparkSession, workers: int) -> None:
    """Raise EnvironmentMistake where `workers` tasks can never run at once; executors get time to come up."""
    found = count_slots(spark, workers, 0.0 if is_local(spark) else SLOT_SECONDS)
    if found < workers:
        fix = "give the master more slots, set training.processes lower, or switch boosted_trees' distributed off"
        raise EnvironmentMistake("training.processes", f"is {workers}, but there are {found} slots", fix)


def fit_distributed(spark: SparkSession, snapshot: str, cutoff: date, model: BoostedTrees, workers: int) -> Parameters:
    """Fit on `workers` tasks at once from the snapshot's folder; raise ValueError where there is nothing to learn.

    xgboost's barrier stage waits for that many slots: see `need_slots`.
    """
    known = load_snapshot(snapshot).known_on(cutoff)
    design = learning_design(known)
    boosters = []
    for seed in model.seeds(known.manifest.seed):
        rows = shared_out(training_rows(spark, snapshot, cutoff, model, seed), workers).cache()
        try:
            if (count := rows.count()) < workers:
                raise ValueError(f"{len(known.y)} days of history give {count} examples for {workers} workers")
            options = model.training_options(levels(known), seed)
            regressor = SparkXGBRegressor(
                features_col="features",
                label_col="label",
                weight_col="weight",
                num_workers=workers,
                n_estimators=model.rounds,
                random_state=options.pop("seed"),
                **options,
            )
            boosters.append(regressor.fit(rows).get_booster())
        finally:
            rows.unpersist()
    return model.parameters(design, boosters)


def shared_out(rows: DataFrame, workers: int) -> DataFrame:
    """Each worker's rows as one partition, equal to a few rows, in a fixed order: a worker without any would fail."""
    worker = F.pmod(F.col("origin") + F.col("number"), F.lit(workers)).cast("int")
    return rows.repartitionById(workers, worker).sortWithinPartitions("origin", "number")


def training_rows(spark: SparkSession, snapshot: str, cutoff: date, model: BoostedTrees, seed: int) -> DataFrame:
    """The rows that `sample.draw` would make, one task per few origins; (origin, number) is a row's place among them.

    The trees leave rows out by their place, so that it must not depend on the order in which a shuffle's blocks arrive.
    """
    known = load_snapshot(snapshot).known_on(cutoff)
    days, regions = known.y.shape
    chosen = origins(days)
    tasks = max(1, len(chosen) // ORIGINS_PER_TASK)
    share = min(1.0, model.rows / max(1, len(chosen) * regions * known.manifest.horizon))
    half_life = model.half_life

    def make(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        design = learning_design(load_snapshot(snapshot).known_on(cutoff))
        for batch in batches:
            for position in batch["id"]:
                part = seen_from(design, chosen[position], share, half_life, seed)
                columns = {"features": list(part.x.astype("float32")), "label": part.z, "weight": part.weight}
                yield pd.DataFrame(columns | {"origin": position, "number": range(len(part.z))})

    return spark.range(0, len(chosen), 1, tasks).mapInPandas(make, ROWS)
