"""What decides a table's rows besides the raw files: settings, side files and code, as one hash each."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from stspark.settings import Settings


def cleaning(settings: Settings, user_key: str) -> str:
    """Hash of what decides how a file's rows are cleaned; files cleaned under another one are cleaned anew."""
    elsewhere = {"path", "pattern", "published", "max_rejected_share"}
    own = [(c.name, c.column, c.file is None) for c in settings.covariates] if settings.source.kind == "panel" else []
    told = {
        "source": settings.source.model_dump(mode="json", exclude={*elsewhere, "lookups"}),
        "lookups": [lookup.model_dump(mode="json", exclude={"path"}) for lookup in settings.source.lookups],
        "regions": settings.regions.model_dump(mode="json", exclude={"file", "neighbours", "country", "opening"}),
        "covariates": own,
    }
    files = [settings.regions.file, *(lookup.path for lookup in settings.source.lookups)]
    return _hash(told, [f for f in files if f is not None], ["stspark.ingest"], user_key)


def features(settings: Settings) -> str:
    """Hash of what decides the region-by-day tables, raw rows apart; another one makes them anew from the start."""
    later = {
        "models",
        "fleet",
        "training",
        "backtest",
        "quantiles",
        "warehouse",
        "reports",
        "tracking_uri",
        "title",
        "pretrain",
    }
    told = settings.model_dump(mode="json", exclude=later | {"source"}) | {"kind": settings.source.kind}
    files = sorted(str(path) for path in settings.input_files().values())
    return _hash(told, files, ["stspark.features", "stspark"], "")


@functools.cache
def networks() -> str:
    """Hash of the code that decides a network's weights: those of other code are not taken for its own."""
    seasons = ["stspark.models.panel.seasons", "stspark.models.panel.boosted"]
    return _hash({}, [], ["stspark.models.deep", *seasons, "stspark.training", "stspark.pretraining"], "")


def _hash(told: dict[str, Any], files: Sequence[str], packages: Sequence[str], secret: str) -> str:
    """Settings, contents of files and source code of packages (their own modules only) in twelve digits."""
    total = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for file in files:
        total.update(hashlib.sha256(Path(file).read_bytes()).digest())
    for package in packages:
        for module in sorted(resources.files(package).iterdir(), key=lambda m: m.name):
            if module.name in CODE.get(package, ()) or (package not in CODE and module.name.endswith(".py")):
                total.update(module.read_bytes())
    total.update(hashlib.sha256(f"stspark {secret}".encode()).digest())
    return total.hexdigest()[:12]


CODE = {
    "stspark": ("calendar.py", "cells.py", "edges.py", "space.py", "tables.py", "names.py"),
    "stspark.models.panel.boosted": ("transform.py",),
    "stspark.training": ("fit.py", "loop.py", "parts.py", "plan.py", "state.py"),
}
"""Of a package that holds more, the modules that decide."""
