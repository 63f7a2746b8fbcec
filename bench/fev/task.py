"""A task in fev-bench's protocol: one YAML file, typed, and checked when it is read."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stspark.errors import ConfigError


class Published(BaseModel):
    """A figure that others published for the task."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    sql: float
    mase: float
    wape: float
    note: str = ""


class Task(BaseModel):
    """Where the rows are, which windows are scored, what others reached."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    path: str
    """A CSV with one row per region and day, from the directory in which the command is started."""
    region: str
    date: str
    target: str
    known_future: tuple[str, ...] = ()
    """Columns that may be used for coming days."""
    first_cutoff: date
    windows: int = Field(ge=1)
    step: int = Field(ge=1)
    horizon: int = Field(ge=1)
    season: int = Field(default=7, ge=1)
    quantiles: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    seed: int = 1
    models: dict[str, dict[str, Any]] = {}
    """Panel models to run beside the naive: label, its options and `name`. The line at the end is the first one's."""
    published: tuple[Published, ...] = ()

    @property
    def cutoffs(self) -> list[date]:
        """Last known day of each window."""
        return [self.first_cutoff + timedelta(days=k * self.step) for k in range(self.windows)]


def read_task(path: str) -> Task:
    """Read a task's file; raise ConfigError naming file, key and remedy."""
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(path, "no such file", "name a file of bench/fev") from error
    try:
        return Task.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{path}: {key}", str(first["msg"]), "compare with bench/fev/rohlik_orders_1D.yaml"
        ) from error
