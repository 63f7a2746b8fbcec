"""Where the processes of the cluster had stspark from: judged by what import_witness.py noted."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Imports:
    """Processes by their part; `foreign`: imports from anything but the shipped archive."""

    driver: int
    workers: dict[str, int]
    """Executor: number of its Python workers."""
    ranks: dict[int, str]
    """Rank of the training: the executor it ran on."""
    world: int
    foreign: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """The wheel only, on the driver, both executors and all ranks of the training."""
        return bool(self.driver) and self.spread and not self.foreign

    @property
    def spread(self) -> bool:
        """Both executors worked, and the ranks of the training are all there and on both."""
        trained_on = set(self.ranks.values())
        return len(self.workers) > 1 and len(self.ranks) == self.world and len(trained_on) == min(self.world, 2)


def read_imports(file: Path, wheel: Path) -> Imports:
    """Read the witness's file; an archive counts as shipped if it holds the wheel's very bytes."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    shipped = {origin: _is_shipped(Path(origin), _digest(wheel)) for origin in {row["origin"] for row in rows}}
    ranks = {int(row["rank"]): str(row["executor"]) for row in rows if row["rank"] is not None}
    workers = Counter(row["executor"] for row in rows if row["executor"] is not None and row["rank"] is None)
    return Imports(
        driver=sum(row["executor"] is None for row in rows),
        workers=dict(sorted(workers.items())),
        ranks=dict(sorted(ranks.items())),
        world=max((int(row["world"]) for row in rows if row["rank"] is not None), default=0),
        foreign=tuple(_describe(row) for row in rows if not shipped[row["origin"]]),
    )


def _is_shipped(origin: Path, digest: str) -> bool:
    archives: Iterable[Path] = (path for path in origin.parents if path.is_file())
    return any(_digest(archive) == digest for archive in archives)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _describe(row: dict[str, Any]) -> str:
    part = f"rank {row['rank']}" if row["rank"] is not None else "a Python worker"
    where = f"{part} on executor {row['executor']}" if row["executor"] is not None else "the driver"
    return f"{where} (process {row['pid']}) imported stspark from {row['origin'] or 'nowhere'}"
