"""Trains the global model over Spark, logs how far it is, and scores it on the executors.

What the ranks leave is read from storage: TorchDistributor's return value may be any rank's.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from stspark.errors import InputError
from stspark.fleet.panel import sound, to_rows
from stspark.models.deep.checkpoint import predict, read_facts, trained_parts
from stspark.names import quantile_column
from stspark.snapshot import load_manifest, load_snapshot, local_path
from stspark.training.launch import Place, choose_place, device_of_task, find_failure, finds_gpu, is_local, run_ranks
from stspark.training.plan import Launch, TrainingConfig

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("stspark")

ATTEMPTS = 2
"""Launches in all, when ranks lose contact with each other; a rank's own error is not tried again."""
LOG_SECONDS = 2.0


class TrainingFailed(RuntimeError):
    """A rank failed or a checkpoint is missing after all attempts; the text holds the rank's traceback."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training left: the folder of checkpoints, and for the log where and how long it ran.

    losses: mean pinball loss of each cutoff's last epoch, in spreads of a region.
    """

    checkpoints: str
    barrier: bool
    device: str
    start_up_seconds: float
    train_seconds: float
    trained: tuple[date, ...]
    reused: tuple[date, ...]
    losses: dict[date, float]

    def to_json(self) -> str:
        """Return all of it as JSON text, dates in ISO form."""
        losses = {day.isoformat(): loss if math.isfinite(loss) else None for day, loss in self.losses.items()}
        return json.dumps(vars(self) | {"losses": losses}, default=str)


def train(
    spark: SparkSession, snapshot_path: str, out: str, config: TrainingConfig, cutoffs: Sequence[date]
) -> TrainingResult:
    """Train one network for every cutoff (in time order) and leave `out/checkpoints/<cutoff>.{safetensors,json}`.

    Cutoffs that have a checkpoint of the same data, config and history are kept. `snapshot_path` and `out` must
    be folders that driver and executors share. Raises EnvironmentMistake (slots, GPU), InputError (cutoffs),
    TrainingFailed.
    """
    manifest = load_manifest(snapshot_path)
    folders = str(local_path(snapshot_path)), str(local_path(out))
    launch = Launch(*folders, config, tuple(sorted(set(cutoffs))))
    _check_first_cutoff(launch, manifest.days_until(launch.cutoffs[0]), manifest.horizon + 2 * manifest.season)
    reused = launch.finished(manifest)
    began, watch, place = time.monotonic(), _Progress(launch), Place(barrier=False)
    if reused < len(launch.cutoffs):
        place = choose_place(spark, config)
        launch = replace(launch, cuda=place.cuda)
        _launch_until_done(launch, place, watch)
    if launch.finished(manifest) < len(launch.cutoffs):
        missing = launch.cutoffs[launch.finished(manifest)]
        raise TrainingFailed(f"the training ended without an error but left no checkpoint for {missing} in {out}")
    started = watch.started or began
    return TrainingResult(
        str(launch.checkpoints),
        place.barrier,
        watch.device,
        started - began,
        time.monotonic() - started,
        launch.cutoffs[reused:],
        launch.cutoffs[:reused],
        {cutoff: float(read_facts(launch.checkpoints, cutoff)["loss"]) for cutoff in launch.cutoffs},
    )


def _check_first_cutoff(launch: Launch, days: int, needed: int) -> None:
    if days < needed:
        raise InputError(
            f"first back-test cutoff {launch.cutoffs[0]}",
            f"has {days} days of history, {launch.config.name} needs {needed}",
            "use fewer back-test windows or a longer history",
        )


def _launch_until_done(launch: Launch, place: Place, watch: _Progress) -> None:
    """Run all ranks; again from the last checkpoint where they lost contact."""
    manifest = load_manifest(launch.snapshot_path)
    for attempt in range(1, ATTEMPTS + 1):
        launch = replace(launch, start=launch.finished(manifest))
        _clear(launch)
        try:
            with watch.logging():
                run_ranks(launch, place)
            return
        except Exception as error:  # py4j, PySpark and torchrun each raise their own kind
            failure = find_failure(launch.errors)
            if failure.mistake:
                raise failure.mistake from error
            if not failure.lost_contact or attempt == ATTEMPTS:
                raise TrainingFailed(failure.explain(launch.errors, str(error))) from error
            why = (failure.text or "a rank died without a word").splitlines()[-1]
            log.warning("%s: ranks lost contact, going on from the last state: %s", launch.config.name, why)


def _clear(launch: Launch) -> None:
    launch.checkpoints.mkdir(parents=True, exist_ok=True)
    launch.progress.unlink(missing_ok=True)
    for file in launch.errors.glob("rank-*.txt"):
        file.unlink()


class _Progress:
    """Logs what rank 0 writes to the launch's progress file, at most every LOG_SECONDS and at each cutoff's end."""

    def __init__(self, launch: Launch) -> None:
        self.path, self.name, self.started = launch.progress, launch.config.name, 0.0
        self.device, self._stop, self._logged = "cpu", threading.Event(), 0.0

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Follow the file during the block."""
        self._stop.clear()
        thread = threading.Thread(target=self._follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _follow(self) -> None:
        position, ended = 0, False
        while not ended:
            ended = self._stop.wait(0.5)
            if self.path.exists():
                text = self.path.read_bytes()[position:]
                whole = text[: text.rfind(b"\n") + 1]
                position += len(whole)
                for line in whole.splitlines():
                    self._say(json.loads(line))

    def _say(self, row: dict[str, Any]) -> None:
        now, row = time.monotonic(), row | {"name": self.name}
        if "processes" in row:
            self.started = self.started or now
            self.device = row["device"]
            log.info("%(name)s: %(processes)d processes are training on %(device)s", row)
            if row["gpu_missing"]:
                log.warning("%(name)s: Spark gave out GPUs, but a rank sees no CUDA device: all train on CPU", row)
        elif row["epoch"] == row["epochs"] or now - self._logged > LOG_SECONDS:
            self._logged = now
            log.info(
                "%(name)s: cutoff %(cutoff)s, epoch %(epoch)d/%(epochs)d, loss %(loss).4f, "
                "%(samples_per_second)d samples/s, %(seconds_left).0f s left",
                row,
            )


def score(
    spark: SparkSession, snapshot_path: str, checkpoints: str, cutoffs: Sequence[date], gpu: str = "never"
) -> DataFrame:
    """Forecast from every cutoff's checkpoint on the executors, one task a cutoff and part of the regions.

    gpu: as for the training; under auto and always a task computes on its GPU, where it has one. Columns: cutoff,
    region, date, horizon (1..), y_hat (the median), one column per quantile (q10 …). A region that has not started by a
    cutoff has no row, nor has one whose forecast is not finite or explodes.
    """
    manifest = load_manifest(snapshot_path)
    quantiles = [quantile_column(q) for q in manifest.quantiles]
    panel, folder = str(local_path(snapshot_path)), local_path(checkpoints)
    days, cuda = sorted(set(cutoffs)), finds_gpu(spark, gpu)
    wanted = [(day, part) for day in days for part in trained_parts(folder, day)]

    def forecast_cutoffs(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import torch

        torch.set_num_threads(1)  # the same sums in the same order on every CPU
        device = device_of_task() if cuda else torch.device("cpu")
        for batch in batches:
            for position in batch["id"]:
                day, part = wanted[position]
                snapshot = load_snapshot(panel, part)
                values = sound(predict(folder, snapshot, day, device), snapshot.known_on(day))
                yield to_rows(day, snapshot.manifest.regions, values, ["y_hat", *quantiles])

    doubles = ", ".join(f"{name} double" for name in ["y_hat", *quantiles])
    schema = f"cutoff date, region string, date date, horizon int, {doubles}"
    tasks = 1 if cuda and is_local(spark) else len(wanted)  # of one GPU's memory a task takes its share
    return spark.range(0, len(wanted), 1, tasks).mapInPandas(forecast_cutoffs, schema)
