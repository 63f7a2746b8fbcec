"""Trains and scores the global model over Spark: where the ranks run, what the log says, which error shows.

TorchDistributor (pyspark 4.2) starts one torchrun per barrier task. Four of its habits are dealt with here:
torchrun's child does not see --py-files; a barrier stage without enough slots waits for ever; a failing rank's
error is hidden; its return value is not to be trusted, so results are read from storage.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stspark
from stspark.errors import EnvironmentMistake, InputError
from stspark.models.deep.checkpoint import predict, read_facts
from stspark.names import quantile_column
from stspark.snapshot import load_manifest, load_snapshot, local_path
from stspark.training_loop import Launch, TrainingConfig, train_rank

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("stspark")

ATTEMPTS = 2
"""Launches in all, when ranks lose contact with each other; a rank's own error is not tried again."""
SLOT_SECONDS = 60.0
"""How long executors may take to come up before the slots are counted as missing."""
LOG_SECONDS = 2.0
ERROR_LINES = 12
LOST_CONTACT = ("gloo", "nccl", "connection", "distnetworkerror", "tcpstore", "timed out", "eaddrinuse")


class TrainingFailed(RuntimeError):
    """A rank failed or a checkpoint is missing after all attempts; the text holds the rank's traceback."""


@dataclass(frozen=True)
class Place:
    """Where the ranks run: in a barrier stage or under the driver; `spark_gpu` if Spark hands out the GPUs."""

    barrier: bool
    cuda: bool = False
    spark_gpu: bool = False


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


def train(
    spark: SparkSession, snapshot_path: str, out: str, config: TrainingConfig, cutoffs: Sequence[date]
) -> TrainingResult:
    """Train one network for every cutoff (in time order) and leave `out/checkpoints/<cutoff>.{pt,json}`.

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
        str(launch.checkpoints), place.barrier, "cuda" if place.cuda else "cpu", started - began,
        time.monotonic() - started, launch.cutoffs[reused:], launch.cutoffs[:reused],
        {cutoff: float(read_facts(launch.checkpoints, cutoff)["loss"]) for cutoff in launch.cutoffs},
    )


def _check_first_cutoff(launch: Launch, days: int, needed: int) -> None:
    if days < needed:
        raise InputError(
            f"first back-test cutoff {launch.cutoffs[0]}", f"has {days} days of history, stcnn needs {needed}",
            "use fewer back-test windows or a longer history",
        )


def choose_place(spark: SparkSession, config: TrainingConfig) -> Place:
    """Decide where the ranks run; raise EnvironmentMistake where GPU or slots are missing."""
    local = spark.sparkContext.master.startswith("local")
    gpu = config.gpu != "never" and (_driver_has_gpu() if local else _tasks_have_gpu(spark))
    if config.gpu == "always" and not gpu:
        lack = "this machine shows no CUDA device" if local else "spark.task.resource.gpu.amount is not 1"
        raise EnvironmentMistake("training.gpu", f"is 'always', but {lack}", "set it to auto or give tasks a GPU")
    if config.gpu == "auto" and not gpu:
        log.info("stcnn: no GPU found, training on CPU")
    if local and gpu:
        return Place(barrier=False, cuda=True)
    slots = _slots(spark, 0.0 if local else SLOT_SECONDS, config.processes)
    if slots < config.processes and not local:
        raise EnvironmentMistake(
            "training.processes", f"is {config.processes}, but the cluster offers {slots} slots",
            "start more executors (cores) or set it lower",
        )
    return Place(barrier=slots >= config.processes, cuda=gpu, spark_gpu=gpu)


def _driver_has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _tasks_have_gpu(spark: SparkSession) -> bool:
    return spark.conf.get("spark.task.resource.gpu.amount", "0") in ("1", "1.0")


def _slots(spark: SparkSession, patience: float, needed: int) -> int:
    """Tasks that can run at once, by Spark's own count for barrier stages, once executors had time to register."""
    if spark.conf.get("spark.dynamicAllocation.enabled", "false") == "true":
        raise EnvironmentMistake(
            "spark.dynamicAllocation.enabled", "is true, and Spark has no barrier stages then", "switch it off"
        )
    context: Any = spark.sparkContext._jsc.sc()  # type: ignore[attr-defined]
    profile = context.resourceProfileManager().defaultResourceProfile()
    end = time.monotonic() + patience
    while (slots := int(context.maxNumConcurrentTasks(profile))) < needed and time.monotonic() < end:
        log.info("stcnn: %d of %d slots are up, waiting", slots, needed)
        time.sleep(2.0)
    return slots


def _launch_until_done(launch: Launch, place: Place, watch: _Progress) -> None:
    """Run all ranks; again from the last checkpoint where they lost contact."""
    manifest = load_manifest(launch.snapshot_path)
    for attempt in range(1, ATTEMPTS + 1):
        launch = replace(launch, start=launch.finished(manifest))
        _clear(launch)
        try:
            with watch.logging():
                _run_ranks(launch, place)
            return
        except Exception as error:  # noqa: BLE001 - py4j, PySpark and torchrun each raise their own kind
            rank, text = _first_error(launch.errors)
            lost = rank is None or any(word in text.splitlines()[-1].lower() for word in LOST_CONTACT)
            if not lost or attempt == ATTEMPTS:
                raise TrainingFailed(_explain(launch, rank, text or str(error), lost)) from error
            log.warning("stcnn: ranks lost contact, starting again from cutoff %d: %s", launch.start + 1, error)


def _run_ranks(launch: Launch, place: Place) -> None:
    """One run of TorchDistributor. `_run` with a run function of one's own is what pyspark's DeepSpeed uses."""
    from pyspark.ml.torch.distributor import TorchDistributor

    log.info(
        "stcnn: starting %d processes %s for %d cutoffs", launch.config.processes,
        "in a barrier stage" if place.barrier else "under the driver", len(launch.cutoffs) - launch.start,
    )
    distributor = TorchDistributor(launch.config.processes, not place.barrier, place.spark_gpu)
    distributor._run(train_rank, _run_where_importable, launch)


def _run_where_importable(parameters: dict[str, Any], script: str, *args: Any, **kwargs: Any) -> None:
    """Start torchrun with PYTHONPATH naming the folder, zip or wheel that this process has stspark from.

    Runs in the barrier task (or driver). A package shipped by --py-files is on sys.path here by a relative
    name, and torchrun's children see neither.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    home = str(Path(stspark.__file__).parent.parent.absolute())
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([home, before] if before else [home])
    try:
        TorchDistributor._run_training_on_pytorch_file(parameters, script, *args, **kwargs)
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _clear(launch: Launch) -> None:
    launch.checkpoints.mkdir(parents=True, exist_ok=True)
    launch.progress.unlink(missing_ok=True)
    for file in launch.errors.glob("rank-*.txt"):
        file.unlink()


def _first_error(folder: Path) -> tuple[str | None, str]:
    """Return (rank, traceback) of the rank that failed first by its own fault, else of the first to fail."""
    found = []
    for file in folder.glob("rank-*.txt"):
        when, _, text = file.read_text().partition("\n")
        last = text.strip().splitlines()[-1].lower() if text.strip() else ""
        found.append((any(word in last for word in LOST_CONTACT), float(when), file.stem, text.strip()))
    if not found:
        return None, ""
    _, _, rank, text = min(found)
    return rank, text


def _explain(launch: Launch, rank: str | None, text: str, lost: bool) -> str:
    tail = "\n".join(text.strip().splitlines()[-ERROR_LINES:])
    where = f"{rank} failed (whole traceback in {launch.errors / str(rank)}.txt)" if rank else "a rank died in silence"
    hint = "\nwhere hosts have several networks, name one: spark.executorEnv.GLOO_SOCKET_IFNAME" if lost else ""
    return f"stcnn training: {where}:\n{tail}{hint}"


class _Progress:
    """Logs what rank 0 writes to the launch's progress file, at most every LOG_SECONDS and at each cutoff's end."""

    def __init__(self, launch: Launch) -> None:
        self.path, self.started = launch.progress, 0.0
        self._stop, self._logged = threading.Event(), 0.0

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
        now = time.monotonic()
        if "processes" in row:
            self.started = self.started or now
            log.info("stcnn: %(processes)d processes are training on %(device)s", row)
        elif row["epoch"] == row["epochs"] or now - self._logged > LOG_SECONDS:
            self._logged = now
            log.info(
                "stcnn: cutoff %(cutoff)s, epoch %(epoch)d/%(epochs)d, loss %(loss).4f, "
                "%(samples_per_second)d samples/s, %(seconds_left).0f s left", row,
            )


def score(
    spark: SparkSession, snapshot_path: str, checkpoints: str, cutoffs: Sequence[date], horizon: int
) -> DataFrame:
    """Forecast `horizon` days from every cutoff's checkpoint on the executors, one task a cutoff.

    Columns: cutoff, region, date, horizon (1..), y_hat (the median), one column per quantile (q10 …). A region
    that has not started by a cutoff has no row for it.
    """
    manifest = load_manifest(snapshot_path)
    quantiles = [quantile_column(q) for q in manifest.quantiles]
    paths = str(local_path(snapshot_path)), local_path(checkpoints)
    days = sorted(set(cutoffs))

    def forecast_cutoffs(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        snapshot = load_snapshot(paths[0])
        for batch in batches:
            for position in batch["id"]:
                values = predict(paths[1], snapshot, days[position])[:, :horizon]
                yield _to_rows(days[position], manifest.regions, values, ["y_hat", *quantiles])

    doubles = ", ".join(f"{name} double" for name in ["y_hat", *quantiles])
    schema = f"cutoff date, region string, date date, horizon int, {doubles}"
    return spark.range(0, len(days), 1, len(days)).mapInPandas(forecast_cutoffs, schema)


def _to_rows(cutoff: date, regions: Sequence[str], values: Any, columns: Sequence[str]) -> pd.DataFrame:
    """values: [R, H, 1 + Q] -> one row per region and day; regions whose values are NaN are left out."""
    import pandas as pd

    count, steps, _ = values.shape
    rows = pd.DataFrame(values.reshape(count * steps, -1), columns=list(columns))
    ahead = list(range(1, steps + 1)) * count
    rows.insert(0, "cutoff", cutoff)
    rows.insert(1, "region", [region for region in regions for _ in range(steps)])
    rows.insert(2, "date", [cutoff + timedelta(days=k) for k in ahead])
    rows.insert(3, "horizon", pd.array(ahead, dtype="int32"))
    return rows.dropna(subset=["y_hat"])
