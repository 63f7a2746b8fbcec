"""The Delta tables of one data set: the only module that imports delta."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar

import deltalake
import pyarrow as pa
from delta.exceptions.captured import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    MetadataChangedException,
    ProtocolChangedException,
)
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from stspark.errors import InputError
from stspark.tables import Table

log = logging.getLogger("stspark")

CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteReadException,
    ConcurrentDeleteDeleteException,
    ConcurrentWriteException,
    ConcurrentTransactionException,
    MetadataChangedException,
    ProtocolChangedException,
)
UNFINISHED = "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION"
"""What Delta says of a folder into which another writer's first commit is still to come."""
PLAIN = 1
"""Reader version of tables that have neither deletion vectors nor column mapping nor anything else to be understood."""
TRIES = 5
T = TypeVar("T")


class Gone(Exception):
    """A version of a table whose files or log a purge has removed."""


class Store:
    """Reads and writes a data set's tables under `home`; remembers the Delta versions of both."""

    def __init__(self, spark: SparkSession, home: str, tables: dict[str, Table]) -> None:
        self.spark, self.home, self.tables = spark, home if "://" in home else str(Path(home).absolute()), tables
        self.versions_read: dict[str, int] = {}
        self.versions_written: dict[str, int] = {}

    def path(self, name: str) -> str:
        return f"{self.home}/{name}"

    def exists(self, name: str) -> bool:
        """Whether the table has a first commit; Spark's own question is content with the folder of one to come."""
        return deltalake.DeltaTable.is_deltatable(self.path(name))

    def version(self, name: str) -> int:
        """Newest Delta version of a table."""
        return int(deltalake.DeltaTable(self.path(name)).version())  # delta-rs: no Spark job

    def read(self, name: str) -> DataFrame:
        """The table as it is now, and stays for this frame whatever is written later; its declared columns only.

        Raises InputError where no job has made it yet. Without the pinned version Spark would compute a cached frame
        anew, from the changed table, after a write to a table that it was made from.
        """
        self._require(name)
        self.versions_read[name] = self.version(name)
        frame, declared = self.at(name, self.versions_read[name]), self.tables[name].column_names
        return frame.select(*(f"`{c}`" for c in frame.columns if c in declared))

    def at(self, name: str, version: int) -> DataFrame:
        """The table as it was at a Delta version."""
        return self.spark.read.format("delta").option("versionAsOf", version).load(self.path(name))

    def rows(
        self, name: str, columns: Sequence[str], since: date | None = None, version: int | None = None
    ) -> pa.Table:
        """Columns of a table that has few rows, or few from the date `since` on, on the driver: no Spark job.

        A column that is not there is left out. Raises InputError where no job has made the table yet, Gone where the
        version can no longer be read.
        """
        if version is None:
            self._require(name)
        try:
            table = deltalake.DeltaTable(self.path(name), version=version)
            there = [c for c in columns if c in {field.name for field in table.schema().fields}]
            if table.protocol().min_reader_version > PLAIN:
                frame = self.at(name, table.version()).select(*there)
                return (frame if since is None else frame.where(F.col("date") >= F.lit(since))).toArrow()
            query = f"select {', '.join(there)} from asked" + (f" where date >= date '{since}'" if since else "")
            return pa.table(deltalake.QueryBuilder().register("asked", table).execute(query))
        except (OSError, pa.ArrowException, deltalake.exceptions.DeltaError) as error:
            if version is None:
                raise
            raise Gone(f"{name}, version {version}: {error}") from error

    def _require(self, name: str) -> None:
        if not self.exists(name):
            raise InputError(
                f"table {name} in {self.home}",
                "does not exist",
                f"run jobs/{MAKERS[name]}.py or jobs/pipeline.py first",
            )

    def notes(self, name: str) -> Iterator[str]:
        """What writers noted in the table's commits, newest first."""
        if self.exists(name):
            for commit in deltalake.DeltaTable(self.path(name)).history():
                if note := commit.get("userMetadata"):
                    yield note

    def create(self, name: str) -> None:
        """Create the table if it is not there; where its declared columns have changed, widen it or make it anew.

        Made anew are tables that one build fills. Those that hold rows of other runs or files get the columns that they
        lack, and keep those that are no longer declared: null in new rows.
        """
        if name in self.versions_written:
            return
        table = self.tables[name]
        make = DeltaTable.createIfNotExists
        if self.exists(name):
            have, wanted = self._present(name), table.schema()
            types = {f.name: f.dataType for f in have}
            if [(f.name, f.dataType) for f in have] == [(f.name, f.dataType) for f in wanted]:
                return
            if table.lasting and all(types.get(f.name, f.dataType) == f.dataType for f in wanted):
                self._widen(table, types)
                return
            log.info("table %s: columns have changed, the table is made anew (old versions remain)", name)
            make = DeltaTable.replace  # createOrReplace refuses another schema at a path
        builder = make(self.spark).location(self.path(name)).comment(table.comment)
        for column in table.columns:
            builder = builder.addColumn(
                column.name, column.type, nullable=column.name not in table.keys, comment=column.comment
            )
        if table.clustered:
            builder = builder.clusterBy(*table.clustered)
        if table.without_statistics:
            indexed = ",".join(c for c in table.column_names if c not in table.without_statistics)
            builder = builder.property("delta.dataSkippingStatsColumns", indexed)
        try:
            _retrying(builder.execute, name)  # a twin may make it at the same time
        except AnalysisException as error:
            if error.getCondition() != UNFINISHED:
                raise
            fix = "wait for the job that writes there and run again, or remove the folder"
            raise InputError(self.path(name), "holds files but is no table yet", fix) from error

    def _present(self, name: str) -> StructType:
        return self.spark.read.format("delta").load(self.path(name)).schema

    def _widen(self, table: Table, have: Collection[str]) -> None:
        """Add the declared columns that the table lacks, at its end, with their comments."""
        missing = [c for c in table.columns if c.name not in have]
        if not missing:
            return
        log.info("table %s: has new columns (%s)", table.name, ", ".join(c.name for c in missing))
        new = (F.lit(None).cast(c.type).alias(c.name, metadata={"comment": c.comment}) for c in missing)
        none = self.spark.read.format("delta").load(self.path(table.name)).limit(0).select("*", *new)
        writer = none.write.format("delta").mode("append").option("mergeSchema", "true")
        _retrying(lambda: writer.save(self.path(table.name)), table.name)

    def _as_declared(self, name: str, frame: DataFrame) -> DataFrame:
        """The frame in the table's declared columns, and null in those that an older declaration left there."""
        rows = self.tables[name].select(frame)
        if not self.tables[name].lasting:
            return rows
        left = [f for f in self._present(name) if f.name not in rows.columns]
        return rows.withColumns({f.name: F.lit(None).cast(f.dataType) for f in left})

    def replace(self, name: str, frame: DataFrame, where: str | None = None, note: str | None = None) -> None:
        """Replace the table's rows, or those that satisfy `where`, in one commit: twice is once. It carries `note`."""
        self.create(name)
        rows = self._as_declared(name, frame)

        def write() -> None:
            writer = rows.write.format("delta").mode("overwrite")
            if note is not None:
                writer = writer.option("userMetadata", note)
            (writer.option("replaceWhere", where) if where else writer).save(self.path(name))

        _retrying(write, name)
        self._written(name)

    def delete(self, name: str, condition: Column) -> None:
        """Delete the rows that satisfy `condition`."""
        _retrying(lambda: DeltaTable.forPath(self.spark, self.path(name)).delete(condition), name)
        self._written(name)

    def delete_matches(self, name: str, rows: DataFrame, match: str) -> None:
        """Delete rows (`old`) that match one of `rows` (`new`): unlike a condition, this logs none of their values."""

        def write() -> None:
            target = DeltaTable.forPath(self.spark, self.path(name)).alias("old")
            target.merge(rows.alias("new"), match).whenMatchedDelete().execute()

        _retrying(write, name)
        self._written(name)

    def merge(self, name: str, frame: DataFrame, keep: tuple[str, ...] = ()) -> None:
        """Insert or update by the table's keys; columns in `keep` hold their old value where the new is null."""
        self.create(name)
        table = self.tables[name]
        rows = self._as_declared(name, frame)
        match = " and ".join(f"old.`{k}` = new.`{k}`" for k in table.keys)
        updates: dict[str, str | Column] = {
            c: f"coalesce(new.`{c}`, old.`{c}`)" if c in keep else f"new.`{c}`" for c in table.column_names
        }

        def write() -> None:
            target = DeltaTable.forPath(self.spark, self.path(name)).alias("old")
            target.merge(rows.alias("new"), match).whenMatchedUpdate(set=updates).whenNotMatchedInsertAll().execute()

        _retrying(write, name)
        self._written(name)

    def purge(self) -> None:
        """Remove every file that the present versions do not need: old versions can no longer be read.

        Nobody may write meanwhile: files of a commit that is still to come would be removed too.
        """
        check = "spark.databricks.delta.retentionDurationCheck.enabled"
        before = self.spark.conf.get(check, "true")
        self.spark.conf.set(check, "false")
        try:
            for name in self.tables:
                if self.exists(name):
                    DeltaTable.forPath(self.spark, self.path(name)).vacuum(0)
        finally:
            self.spark.conf.set(check, before or "true")

    def _written(self, name: str) -> None:
        self.versions_written[name] = self.version(name)

    def register(self) -> list[str]:
        """Make `<dataset>.<table>` and the views of `<dataset>` known to this session's SQL; return the names."""
        database = self.home.rsplit("/", 1)[-1]
        self.spark.sql(f"create database if not exists `{database}`")
        there = [name for name in self.tables if self.exists(name)]
        for name in there:
            self._register_table(f"`{database}`.`{name}`", self.path(name))
        if {"forecasts", "runs"} <= set(there):
            views = latest_queries(database, there)
            for view, query in views.items():
                self.spark.sql(f"create or replace view `{database}`.{view} as {query}")
            there += views
        if "models" in there:
            self.spark.sql(f"create or replace view `{database}`.model_parameters as {parameters_query(database)}")
            there.append("model_parameters")
        return there

    def _register_table(self, table: str, path: str) -> None:
        """Point a name of SQL at the folder; one that points elsewhere is of another warehouse and taken over."""
        if self.spark.catalog.tableExists(table) and not self._lies_at(table, path):
            self.spark.sql(f"drop table {table}")  # an external table: its files stay
        location = path.replace("\\", "\\\\").replace("'", "\\'")
        self.spark.sql(f"create table if not exists {table} using delta location '{location}'")

    def _lies_at(self, table: str, path: str) -> bool:
        try:
            lies_at = self.spark.sql(f"describe detail {table}").first()
        except AnalysisException:  # its folder is gone
            return False
        jvm = self.spark._jvm
        assert lies_at is not None
        assert jvm is not None
        place = jvm.org.apache.hadoop.fs.Path
        return bool(place(lies_at["location"]).toUri().getPath() == place(path).toUri().getPath())


MAKERS = {
    "ingested_files": "ingest",
    "forgotten": "forget",
    "events": "ingest",
    "events_rejected": "ingest",
    "panel": "ingest",
    "regions": "features",
    "region_edges": "features",
    "calendar": "features",
    "region_day": "features",
    "diagnostics": "analyse",
    "attributions": "attribute",
    "region_groups": "group",
    "backtest_windows": "train",
    "backtests": "train",
    "models": "train",
    "forecasts": "forecast",
    "forecast_levels": "reconcile",
    "backtest_levels": "reconcile",
    "explanations": "explain",
    "monitoring": "evaluate",
    "metrics": "evaluate",
    "runs": "pipeline",
}
"""Which job makes a table."""


OF_RUN = ("forecast_levels", "models", "monitoring", "explanations", "metrics")
"""Tables of which a view holds the rows of the newest run alone."""


def latest_queries(database: str, there: Collection[str]) -> dict[str, str]:
    """View -> its query: champions' forecasts of the newest run that has ended well, and its rows of OF_RUN.

    Newest is the latest as-of, then the latest start. A run that runs again, or fails at that, has ended well before;
    rows older than `finished` say so by their status.
    """
    newest = (
        f"select max_by(run_id, struct(as_of, started)) from `{database}`.runs "
        f"where (finished is not null or status = 'ok') and run_id in (select run_id from `{database}`.forecasts)"
    )
    champions = f"select * from `{database}`.forecasts where is_champion and run_id = ({newest})"
    rest = {f"{t}_latest": f"select * from `{database}`.{t} where run_id = ({newest})" for t in OF_RUN if t in there}
    return {"forecast_latest": champions} | rest


def parameters_query(database: str) -> str:
    """One row per run, region, model and parameter of `models`: as a number where it is one, and as text."""
    return (
        "select run_id, region, model, parameter, try_cast(text as double) as value, text "
        f"from `{database}`.models lateral view explode(from_json(parameters, 'map<string,string>')) as parameter, text"
    )


def _retrying(write: Callable[[], T], name: str) -> T:
    """Run `write`, again after a conflict with another writer, at most TRIES times with growing pauses."""
    for attempt in range(1, TRIES):
        try:
            return write()
        except (*CONFLICTS, AnalysisException) as conflict:
            if isinstance(conflict, AnalysisException) and conflict.getCondition() != UNFINISHED:
                raise
            log.info("table %s: another writer was first (%s), trying again", name, type(conflict).__name__)
            time.sleep(0.5 * 2**attempt)
    return write()
