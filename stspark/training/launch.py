"""Starts the ranks of the global model's training through Spark's TorchDistributor, and finds why they failed.

Traps of TorchDistributor (pyspark 4.2) dealt with here: torchrun's child does not see --py-files; a barrier
stage without enough slots waits for ever; a failing rank's error is hidden.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stspark
from stspark.errors import EnvironmentMistake
from stspark.session import THREADS
from stspark.training.loop import train_rank
from stspark.training.plan import Launch, TrainingConfig

if TYPE_CHECKING:
    import torch
    from pyspark.sql import SparkSession

log = logging.getLogger("stspark")

SLOT_SECONDS = 60.0
"""How long executors may take to come up before the slots are counted as missing."""
MOST_A_CORE = 4
"""Processes that may train on a core of this machine."""
ERROR_LINES = 12
LOST_CONTACT = ("gloo", "nccl", "connection", "distnetworkerror", "tcpstore", "timed out", "eaddrinuse")
"""Words in the last line of a traceback that speak of other ranks rather than of this one's own fault."""


@dataclass(frozen=True)
class Place:
    """Where the ranks run: in a barrier stage or under the driver; `spark_gpu` if Spark hands out the GPUs."""

    barrier: bool
    cuda: bool = False
    spark_gpu: bool = False


def choose_place(spark: SparkSession, config: TrainingConfig) -> Place:
    """Decide where the ranks run; raise EnvironmentMistake where GPU or slots are missing."""
    local = is_local(spark)
    gpu = finds_gpu(spark, config.gpu)
    if config.gpu == "auto" and not gpu:
        log.info("%s: no GPU found, training on CPU", config.name)
    if local and gpu:
        return Place(barrier=False, cuda=True)
    if not local and spark.conf.get("spark.dynamicAllocation.enabled", "false") == "true":
        raise EnvironmentMistake(
            "spark.dynamicAllocation.enabled", "is true, and Spark has no barrier stages then", "switch it off"
        )
    cores = os.cpu_count() or 1
    if local and config.processes > MOST_A_CORE * cores:
        lack = f"is {config.processes}, but this machine has {cores} cores; a process takes a GiB"
        raise EnvironmentMistake("training.processes", lack, f"set it to {MOST_A_CORE * cores} or less")
    slots = count_slots(spark, config.processes, 0.0 if local else SLOT_SECONDS)
    if slots < config.processes and not local:
        raise EnvironmentMistake(
            "training.processes",
            f"is {config.processes}, but the cluster offers {slots} slots",
            "start more executors (cores) or set it lower",
        )
    return Place(barrier=slots >= config.processes, cuda=gpu, spark_gpu=gpu)


def finds_gpu(spark: SparkSession, wanted: str) -> bool:
    """Tell whether tasks have a GPU: the driver's where they run in it, else one that Spark hands out to each.

    Raises EnvironmentMistake where there is none and `wanted` is always.
    """
    local = is_local(spark)
    found = wanted != "never" and (_driver_has_gpu() if local else _tasks_have_gpu(spark))
    if wanted == "always" and not found:
        lack = "this machine shows no CUDA device" if local else "spark.task.resource.gpu.amount is not 1"
        raise EnvironmentMistake("training.gpu", f"is 'always', but {lack}", "set it to auto or give tasks a GPU")
    return found


def device_of_task() -> torch.device:
    """Where a task of a session that finds GPUs computes: on the one that Spark gave it, on its CPU if none works.

    On a GPU in full precision and the same way each time, as `join` has it for ranks.
    """
    import torch
    from pyspark import TaskContext

    if not torch.cuda.is_available():
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False
    context = TaskContext.get()
    given = context.resources().get("gpu") if context else None
    return torch.device("cuda", int(given.addresses[0]) if given else 0)


def is_local(spark: SparkSession) -> bool:
    """A master of one process; local-cluster is a cluster."""
    return re.match(r"local(\[|$)", str(spark.sparkContext.master)) is not None


def _driver_has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _tasks_have_gpu(spark: SparkSession) -> bool:
    return spark.conf.get("spark.task.resource.gpu.amount", "0") in ("1", "1.0")


def count_slots(spark: SparkSession, needed: int, patience: float) -> int:
    """Count tasks that can run at once, as Spark does for barrier stages; wait for `needed` of them to come up."""
    context: Any = spark.sparkContext._jsc.sc()
    profile = context.resourceProfileManager().defaultResourceProfile()
    end = time.monotonic() + patience
    while (slots := int(context.maxNumConcurrentTasks(profile))) < needed and time.monotonic() < end:
        log.info("%d of %d slots are up, waiting", slots, needed)
        time.sleep(2.0)
    return slots


def run_ranks(launch: Launch, place: Place) -> None:
    """One run of TorchDistributor. `_run` with a run function of one's own is what pyspark's DeepSpeed uses."""
    from pyspark.ml.torch.distributor import TorchDistributor

    log.info(
        "%s: starting %d processes %s for %d cutoffs",
        launch.config.name,
        launch.config.processes,
        "in a barrier stage" if place.barrier else "under the driver",
        len(launch.cutoffs) - launch.start,
    )
    distributor = TorchDistributor(launch.config.processes, not place.barrier, place.spark_gpu)
    distributor._run(train_rank, _run_where_importable, launch)


def _run_where_importable(parameters: dict[str, Any], script: str, *args: Any, **kwargs: Any) -> None:
    """Start torchrun with PYTHONPATH naming the folder, zip or wheel that this process has stspark from.

    Runs in the barrier task (or driver). A package shipped by --py-files is on sys.path here by a relative
    name, and torchrun's children see neither.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    home, path = str(Path(stspark.__file__).parent.parent.absolute()), os.environ.get("PYTHONPATH")
    # Launchers that end a moment apart log errors with tracebacks, Python's and C++'s; a rank's own comes by its file.
    quiet = {"LOGLEVEL": "CRITICAL", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    with _environment(PYTHONPATH=os.pathsep.join([home, path] if path else [home]), **quiet, **THREADS):
        TorchDistributor._run_training_on_pytorch_file(parameters, script, *args, **kwargs)


@contextmanager
def _environment(**wanted: str) -> Iterator[None]:
    """Set environment variables for the block, and put back what was there."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class Failure:
    """Why a launch failed: the rank ("" if none left a word), its traceback, whether it only lost the others."""

    rank: str
    text: str
    lost_contact: bool

    @property
    def mistake(self) -> EnvironmentMistake | None:
        """What the rank found wrong with its surroundings, if it was that."""
        last = self.text.splitlines()[-1] if self.text else ""
        found = re.fullmatch(r"stspark\.errors\.EnvironmentMistake: (.+?): (.+); (.+)", last)
        return EnvironmentMistake(*found.groups()) if found else None

    def explain(self, folder: Path, otherwise: str) -> str:
        """Return the end of the traceback and where to find the rest; `otherwise` is used where there is none."""
        lines = [line for line in (self.text or otherwise).strip().splitlines() if not line.startswith("\tat ")]
        tail = "\n".join(lines[-ERROR_LINES:])
        silent = "a rank died without a traceback (see its output above, if any)"
        where = f"{self.rank} failed (whole traceback in {folder / self.rank}.txt)" if self.rank else silent
        hint = "\nwhere hosts have several networks, name one: spark.executorEnv.GLOO_SOCKET_IFNAME"
        return f"training: {where}:\n{tail}{hint if self.lost_contact and self.rank else ''}"


def find_failure(folder: Path) -> Failure:
    """Return the failure of the rank that failed first by its own fault, else of the first to fail at all."""
    found = []
    for file in folder.glob("rank-*.txt"):
        when, _, text = file.read_text().partition("\n")
        last = text.strip().splitlines()[-1].lower() if text.strip() else ""
        found.append((any(word in last for word in LOST_CONTACT), float(when), file.stem, text.strip()))
    if not found:
        return Failure("", "", lost_contact=True)
    lost, _, rank, text = min(found)
    return Failure(rank, text, lost)
