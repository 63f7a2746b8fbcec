"""A back-test's windows: from which cutoffs, what every model says there, and what becomes of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.ensemble import spread as ensemble
from stspark.features import learning
from stspark.fleet import earlier, results, spread
from stspark.fleet.retry import staged_fleet
from stspark.global_model import train_globals
from stspark.names import NAIVE
from stspark.staging import staged

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run


@dataclass(frozen=True)
class Schedule:
    """Cutoffs, oldest first: those that only teach, and those that are judged."""

    warm_up: tuple[date, ...]
    judged: tuple[date, ...]

    @property
    def cutoffs(self) -> list[date]:
        return [*self.warm_up, *self.judged]


@dataclass(frozen=True)
class Said:
    """What models say: rows of kind `forecast` by cutoff, and one row of kind `model` for each."""

    forecasts: DataFrame
    models: DataFrame


def schedule(job: Job, run: Run, region_day: DataFrame) -> Schedule:
    """The cutoffs of these settings; InputError where there is too little history before them."""
    backtest, time = job.settings.backtest, job.settings.time
    judged = learning.cutoffs(run.as_of, backtest, time.horizon)
    learning.require_enough(region_day, judged[0], time.season)
    return Schedule(tuple(learning.warm_up_cutoffs(region_day, judged[0], backtest, time.season)), tuple(judged))


def learning_frame(job: Job, run: Run, known: ensemble.Known) -> DataFrame:
    """What models learn from, computed once."""
    settings = job.settings
    opening = settings.regions.opening
    made = learning.learning_frame(known.region_day, known.calendar, run.as_of, settings.time.horizon, opening)
    return staged(job, "learning", made)


def fleet_says(
    job: Job, frame: DataFrame, names: Sequence[str], cutoffs: Sequence[date], only: Collection[str] | None = None
) -> Said:
    """The regional models from these cutoffs; names: the known-ahead columns of the learning frame.

    only: of the models these, and the naive.
    """
    settings, run = job.settings, job.open_run()
    task = spread.fleet_task(settings, names, cutoffs, run.as_of)
    if only is not None:
        task = replace(task, models=tuple(model for model in task.models if model[0] in {NAIVE, *only}))
    before = spread.Earlier(
        earlier.predicted_seconds(frame, [name for name, _ in task.models], job.store, run),
        earlier.earlier_models(job.store, settings, run),
    )
    fleet = staged_fleet(job, f"fleet-{cutoffs[-1]}", lambda packs: spread.run_fleet(frame, task, packs, before))
    return Said(fleet.where("kind = 'forecast'").drop("status"), fleet.where("kind = 'model'"))


def all_say(job: Job, run: Run, known: ensemble.Known, cutoffs: Sequence[date]) -> Said:
    """Every model, regional and global, from these cutoffs."""
    frame = learning_frame(job, run, known)
    said = fleet_says(job, frame, learning.known_ahead(known.calendar), cutoffs)
    rows, models, naive = said.forecasts, said.models, said.forecasts.where(f"model = '{NAIVE}'")
    for trained in train_globals(job, run, frame, naive):
        rows = rows.unionByName(trained.forecasts, allowMissingColumns=True)
        models = models.unionByName(trained.models, allowMissingColumns=True)
    return Said(staged(job, "said", rows), models)


def finished(job: Job, run: Run, known: ensemble.Known, rows: DataFrame) -> Said:
    """What models said from several cutoffs, combined and calibrated, and the combination's rows."""
    names = [model.name for model in job.settings.models]
    beside = staged(job, "beside", ensemble.prepare(rows, known, run.as_of))
    made = staged(job, "finished", ensemble.finish_regions(beside, job.settings, names))
    return Said(made.where("kind = 'forecast'"), made.where("kind = 'model'"))


def write_windows(job: Job, run: Run, rows: DataFrame, where: str = "true") -> None:
    """Replace the run's rows of `backtest_windows` that satisfy `where`."""
    past = rows.where(F.col("cutoff") < F.lit(run.as_of)).withColumn("run_id", F.lit(run.run_id))
    job.store.replace("backtest_windows", past, f"run_id = '{run.run_id}' and ({where})")


def write_backtests(job: Job, run: Run, forecasts: DataFrame, judged_from: date) -> None:
    """Replace the run's rows of `backtests`."""
    rows = results.to_backtests(forecasts, judged_from, run.as_of, run.run_id)
    job.store.replace("backtests", rows, f"run_id = '{run.run_id}'")
