"""Pretrains the transformer over Spark: every data set's series are written once, one task on an executor learns."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stspark import recipe, runs, staging
from stspark.config_file import load_settings
from stspark.errors import EnvironmentMistake, InputError
from stspark.models.deep.pretrained import read_manifest
from stspark.models.deep.pretraining import FEWEST_DAYS, PretrainConfig
from stspark.options import typed
from stspark.pretraining.data import write_corpus
from stspark.pretraining.fit import Say, finished
from stspark.settings import Settings
from stspark.snapshot import local_path
from stspark.store import Store
from stspark.tables import for_settings
from stspark.training.launch import device_of_task, finds_gpu

if TYPE_CHECKING:
    import pandas as pd

    from stspark.job import Job

log = logging.getLogger("stspark")

FAMILY_DAYS = 1100
NO_GPU, NO_SERIES = "no gpu", "no series"
LOG_SECONDS = 10.0


@dataclass(frozen=True)
class Sources:
    """The data sets that take part: names, and versions of their data, in the config's order."""

    settings: tuple[Settings, ...]
    stores: tuple[Store, ...]
    versions: tuple[str, ...]


def pretrain_config(settings: Settings) -> PretrainConfig:
    """The config's section `pretrain`; ConfigError for an unknown or unusable option, InputError for a missing file."""
    config = typed(PretrainConfig, settings.pretrain, "pretrain")
    for other in config.also:
        if not Path(other).is_file():
            raise InputError(f"pretrain.also: {other}", "config file does not exist", "name another data set's config")
    return config


def pretrain_over_spark(job: Job) -> tuple[Path, dict[str, Any], bool]:
    """Leave the checkpoint under the warehouse; return its path, its manifest, and whether it was there already."""
    config, as_of = pretrain_config(job.settings), runs.resolve_as_of(job.store, job.asked_as_of, job.settings)
    sources = _sources(job, config, as_of)
    key = _key(job.settings, config, as_of, sources)
    path = local_path(f"{job.store.home}/_pretrained/{config.size}-{as_of}.safetensors")
    if finished(path, key):
        return path, read_manifest(str(path)), True
    folders = []
    for settings, store, version in zip(sources.settings, sources.stores, sources.versions, strict=True):
        folder = f"{staging.folder(job)}/corpus-{settings.dataset}"
        manifest = write_corpus(store, settings, as_of, config, (folder, version))
        series, days = len(manifest.regions), manifest.n_history
        log.info("pretrain: %s offers %d series of %d days", settings.dataset, series, days)
        folders.append((settings.dataset, str(local_path(folder))))
    _learn(job, config, as_of, (key, path, folders))
    return path, read_manifest(str(path)), False


def _sources(job: Job, config: PretrainConfig, as_of: date) -> Sources:
    settings, stores = [job.settings], [job.store]
    for other in config.also:
        found = load_settings(other)
        found = found.model_copy(update={"warehouse": job.settings.warehouse})
        if found.dataset in {s.dataset for s in settings}:
            raise InputError(f"pretrain.also: {other}", f"names data set '{found.dataset}' twice", "name it once")
        settings.append(found)
        stores.append(Store(job.spark, found.home, for_settings(found)))
    versions = [runs.identify(store, s, as_of).data_version for store, s in zip(stores, settings, strict=True)]
    return Sources(tuple(settings), tuple(stores), tuple(versions))


def _key(settings: Settings, config: PretrainConfig, as_of: date, sources: Sources) -> str:
    """Hash of all that decides the weights."""
    pairs = zip(sources.settings, sources.versions, strict=True)
    made = [(s.dataset, version, recipe.features(s)) for s, version in pairs]
    text = json.dumps([recipe.networks(), asdict(config), settings.seed, as_of.isoformat(), made], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _learn(job: Job, config: PretrainConfig, as_of: date, work: tuple[str, Path, list[tuple[str, str]]]) -> None:
    """One task on an executor; how far it is, it writes to a file, since its own log is not seen here."""
    key, path, folders = work
    seed, wanted = job.settings.seed, job.settings.training.gpu
    gpu = wanted if finds_gpu(job.spark, wanted) else "never"

    def learn(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import pandas as pd

        for _ in batches:
            loss, device = learn_from(folders, (config, seed, as_of, key), path, gpu)
            yield pd.DataFrame({"loss": [loss], "device": [device]})

    began = time.monotonic()
    with _followed(progress_file(path), config.epochs):
        rows = job.spark.range(1).coalesce(1).mapInPandas(learn, "loss double, device string").collect()
    progress_file(path).unlink(missing_ok=True)
    outcome = rows[0]["device"]
    if outcome == NO_GPU:
        lack = "is 'always', but the executor shows no CUDA device"
        raise EnvironmentMistake("training.gpu", lack, "set it to auto or give tasks a GPU")
    if outcome == NO_SERIES:
        few = f"no series has {FEWEST_DAYS} observed days up to {as_of}, and pretrain.families is 0"
        raise InputError("table region_day", few, "choose a later --as-of or add families")
    log.info("pretrain: learnt on %s in %.0f s", outcome, time.monotonic() - began)


def learn_from(
    folders: list[tuple[str, str]], what: tuple[PretrainConfig, int, date, str], path: Path, gpu: str
) -> tuple[float, str]:
    """Load the snapshots, add the families, pretrain; return the masked loss after it and the device, or NO_GPU or
    NO_SERIES. what: config, seed, as-of day, key."""
    import torch

    from stspark.models.deep.families import simulated_families
    from stspark.models.deep.pretraining import make_corpus
    from stspark.pretraining.fit import Pretraining, pretrain
    from stspark.snapshot import load_snapshot

    config, seed, as_of, key = what
    device = device_of_task() if gpu != "never" else torch.device("cpu")
    if gpu == "always" and device.type == "cpu":
        return float("nan"), NO_GPU
    made = [make_corpus(name, load_snapshot(folder)) for name, folder in folders]
    if config.families:
        made.append(make_corpus("families", simulated_families(config.families, FAMILY_DAYS, as_of, seed)))
    corpora = [corpus for corpus in made if corpus is not None]
    if not corpora:
        return float("nan"), NO_SERIES
    manifest = pretrain(Pretraining(corpora, config, seed, as_of, key), path, device, _progress(path))
    return float(manifest["masked_loss"]["after"]), device.type


def progress_file(path: Path) -> Path:
    """File beside a checkpoint to which the task adds a line of JSON after every epoch."""
    return path.with_suffix(".progress.jsonl")


def _progress(path: Path) -> Say:
    def say(epoch: int, loss: float) -> None:
        with progress_file(path).open("a") as out:
            out.write(json.dumps({"epoch": epoch, "loss": loss}) + "\n")

    return say


@contextmanager
def _followed(file: Path, epochs: int) -> Iterator[None]:
    """Log the last line of the task's file now and then during the block."""
    ended = threading.Event()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)

    def follow() -> None:
        while not ended.wait(LOG_SECONDS):
            if file.exists() and (lines := file.read_text().splitlines(keepends=True)) and lines[-1].endswith("\n"):
                row = json.loads(lines[-1])
                log.info("pretrain: epoch %d/%d, masked loss %.4f", row["epoch"], epochs, row["loss"])

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
