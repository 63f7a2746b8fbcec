"""Frames that are computed once and used several times, in memory (or on disk) only as long as they are needed."""

from __future__ import annotations

from types import TracebackType

from pyspark.sql import DataFrame


class Kept:
    """`with Kept() as keep:` keep(frame) persists it; all are released at the end of the block."""

    def __init__(self) -> None:
        self._frames: list[DataFrame] = []

    def __call__(self, frame: DataFrame) -> DataFrame:
        self._frames.append(frame.persist())
        return self._frames[-1]

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for frame in self._frames:
            frame.unpersist()
