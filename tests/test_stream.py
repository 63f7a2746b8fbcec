"""The stream that tells of new files: once for all that is there, or again and again."""

from __future__ import annotations

import pytest
from conftest import ROOT

from stspark.errors import InputError
from stspark.ingest.stream import checkpoint, on_new_files
from stspark.settings import Source


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.csv").write_text("a\n1\n")
    return Source(kind="events", path=str(tmp_path / "in"), columns={"event_time": "t", "region": "r"})


def test_a_file_is_new_once(spark, tmp_path, source):
    calls: list[int] = []

    def came() -> bool:
        return on_new_files(spark, source, str(tmp_path / "seen"), lambda: calls.append(1))

    assert [came(), came()] == [True, False]
    (tmp_path / "in" / "deep").mkdir()
    (tmp_path / "in" / "deep" / "2.csv").write_text("a\n1\n")
    (tmp_path / "in" / "3.csv").write_text("a\n1\n")
    assert [came(), came()] == [True, False]
    assert len(calls) == 2


def test_a_mistake_comes_out_as_it_is(spark, tmp_path, source):
    def fail() -> None:
        raise InputError("1.csv", "is empty", "send it again")

    with pytest.raises(InputError, match="is empty; send it again"):
        on_new_files(spark, source, str(tmp_path / "seen"), fail)


def test_the_same_query_runs_without_end(spark, tmp_path, source):
    class Enough(Exception):
        pass

    calls: list[int] = []

    def take_in() -> None:
        calls.append(1)
        (tmp_path / "in" / f"{1 + len(calls)}.csv").write_text("a\n1\n")
        if len(calls) == 3:
            raise Enough

    with pytest.raises(Enough):
        on_new_files(spark, source, str(tmp_path / "seen"), take_in, seconds=1)
    assert len(calls) == 3
    assert spark.streams.active == []


def test_another_folder_is_another_stream(source):
    other = source.model_copy(update={"path": "elsewhere"})
    assert checkpoint("home", source) == checkpoint("home", source) != checkpoint("home", other)


def test_nothing_is_read_in_a_way_that_spark_never_lets_go():
    """After toLocalIterator Spark keeps the plan and what it broadcast: 25 MB a batch of a stream, until it dies."""
    code = [path for folder in ("stspark", "jobs") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in code if "toLocalIterator" in path.read_text(encoding="utf-8")] == []
