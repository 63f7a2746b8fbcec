"""New files of a folder as a stream: Spark tells which came, the ledger says what is to be done about them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession

from stspark.errors import InputError
from stspark.settings import Source

log = logging.getLogger("stspark")

SCHEMA = "path string, modificationTime timestamp, length bigint, content binary"


def checkpoint(home: str, source: Source) -> str:
    """Where the stream of this folder keeps what it has seen; another folder has another place."""
    return f"{home}/_checkpoints/ingest-{hashlib.sha256(source.path.encode()).hexdigest()[:12]}"


def on_new_files(
    spark: SparkSession, source: Source, place: str, take_in: Callable[[], None], seconds: int | None = None
) -> bool:
    """Call `take_in` when files have come since the checkpoint `place`; return whether it was called.

    Without `seconds` once for all that is there (Trigger.AvailableNow), else again and again until the query is
    stopped. The stream reads names only, and files' contents are not compared: a file that was replaced is not new to
    it. What `take_in` raises is raised here; its files are then no longer new, but the ledger does not know them.
    While a twin uses the checkpoint it is not called; with `seconds`, that is an InputError.
    """
    called: list[int] = []
    raised: list[Exception] = []

    def batch(frame: DataFrame, number: int) -> None:
        if raised:  # the query is about to be stopped: a batch in between takes nothing in
            return
        called.append(number)
        try:
            take_in()
        except Exception as error:  # noqa: BLE001 (raised below, as it is: Spark would bury it)
            raised.append(error)

    names = spark.readStream.schema(SCHEMA).format("binaryFile").options(recursiveFileLookup=True)
    writer = names.load(source.path).select("path").writeStream.foreachBatch(batch).option("checkpointLocation", place)
    trigger = (
        writer.trigger(availableNow=True) if seconds is None else writer.trigger(processingTime=f"{seconds} seconds")
    )
    try:
        query = trigger.start()
    except Exception as error:
        if "SparkConcurrentModificationException" not in str(error):
            raise
        if seconds is not None:
            fix = "one is enough; stop the other, or go without --follow"
            raise InputError(source.path, "is followed by another ingest already", fix) from error
        log.info("ingest: another ingest reads the same folder now; this one goes by the ledger alone")
        return False
    try:
        while not query.awaitTermination(1) and not raised:
            continue
    finally:
        query.stop()
    if raised:
        raise raised[0]
    return bool(called)
