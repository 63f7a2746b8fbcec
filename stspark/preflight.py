"""What is checked before Spark starts: options, files, folders. Writes the simulated files where they are asked for."""

from __future__ import annotations

import os
from pathlib import Path

from stspark.config_file import check_files
from stspark.errors import ConfigError, InputError
from stspark.models.panel.registry import build as build_panel
from stspark.models.regional.registry import build, known
from stspark.options import typed
from stspark.settings import Settings
from stspark.simulate import Shop, simulate
from stspark.space import read_regions, require_announced


def prepare(settings: Settings) -> None:
    """Raise ConfigError or InputError for the first mistake found; then all files are there."""
    for model in settings.regional_models:
        build(model.name, model.options)
    for model in settings.panel_models:
        build_panel(model.name, model.options)
    if settings.networks:
        from stspark.global_model import training_config  # imports torch, which other data sets need not wait for

        for model in settings.networks:
            training_config(settings, model)
    if settings.pretrain:
        from stspark.pretraining.pretrain import pretrain_config

        pretrain_config(settings)
    _check_levels(settings.hierarchy.models)
    if settings.simulate:
        options = settings.simulate if isinstance(settings.simulate, dict) else {}
        _simulate(Path(settings.source.path).parent, settings.seed, typed(Shop, options, "simulate"))
    check_files(settings)
    if settings.regions.opening:
        require_announced(read_regions(settings.regions), settings.regions)
    for folder in (settings.warehouse, settings.reports):
        _must_be_writable(folder)


def _check_levels(names: tuple[str, ...]) -> None:
    """Models of the nodes above the regions are regional ones."""
    if unknown := [name for name in names if name not in known() and ":" not in name]:
        fix = f"choose from {', '.join(known())}"
        raise ConfigError(f"hierarchy.models: '{unknown[0]}'", "is no regional model", fix)


def _simulate(folder: Path, seed: int, shop: Shop) -> None:
    try:
        simulate(folder, seed, shop)
    except OSError as error:
        raise InputError(
            f"source.path: {error.filename or folder}", f"cannot be written ({error.strerror})", "choose another folder"
        ) from error


def _must_be_writable(folder: str) -> None:
    if "://" in folder:
        return
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            folder,
            f"cannot be written ({error.strerror})",
            "change warehouse or reports in the config, or its permissions",
        ) from error
