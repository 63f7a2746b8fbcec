"""Sources of every format give the same rows; panels may be wide."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from test_ingest import COLUMNS, GOOD, HEADER, event, lines, make_folder, settings

from stspark.errors import InputError
from stspark.ingest.build import classify
from stspark.ingest.clean import AT_FAULT, REASON
from stspark.ingest.files import list_files
from stspark.ingest.formats import format_of
from stspark.settings import Settings

TEXTS = ["1," + GOOD, "2," + event(price="-"), "3," + event(item="Küche, “blau”"), "3," + event(item="Küche, “blau”"),
         "4," + event("2024-07-01T00:30:00+02:00"), "5," + event(price="", pieces="")]  # fmt: skip


def rows() -> list[dict[str, str | None]]:
    """TEXTS as dictionaries, an empty text as null."""
    import csv

    return [{k: v or None for k, v in row.items()} for row in csv.DictReader([HEADER, *TEXTS])]


def write_csv(folder: Path) -> None:
    (folder / "a.csv").write_text(
        lines(
            "1," + GOOD,
            TEXTS[1],
            "3," + event(item='"Küche, “blau”"'),
            "3," + event(item='"Küche, “blau”"'),
            *TEXTS[4:],
        ),
        encoding="utf-8",
    )


def write_jsonl(folder: Path) -> None:
    some = [{k: v for k, v in row.items() if v is not None} for row in rows()]  # keys that are not there are null
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))


def write_gzip(folder: Path) -> None:
    (folder / "a.json.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows())).encode()))


def write_parquet(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows()), folder / "a.parquet")


WRITERS = {"csv": write_csv, "jsonl": write_jsonl, "gzip'd jsonl": write_gzip, "parquet": write_parquet}


@pytest.fixture
def given(monkeypatch):
    """The quoted commas of TEXTS, as dictionaries see them."""
    monkeypatch.setattr("test_formats.TEXTS", [t.replace("Küche, “blau”", '"Küche, “blau”"') for t in TEXTS])


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_rows(spark, tmp_path, given, kind):
    folder = make_folder(tmp_path, {})
    WRITERS[kind](folder / "events")
    chosen = settings(folder)
    ingest = classify(spark, list_files(chosen.source), chosen)
    assert vars(ingest.account) == {"read": 6, "kept": 4, "rejected": 1, "duplicate": 1}
    kept = ingest.classified.where(f"{REASON} is null and not _duplicate")
    found = {row["event_id"]: (row["item"], row["price"], row["quantity"]) for row in kept.collect()}
    assert found == {
        "1": ("mug", 3.5, 2.0), "3": ("Küche, “blau”", 3.5, 2.0), "4": ("mug", 3.5, 2.0), "5": ("mug", None, None)
    }  # fmt: skip
    bad = ingest.classified.where(f"{REASON} is not null").select(REASON, AT_FAULT).collect()
    assert list(map(tuple, bad)) == [("bad_number", "price")]


def test_typed_columns_keep_what_they_say(spark, tmp_path):
    """An instant keeps its offset and a local time its want of one: the source's zone is London, in summer time."""
    row = dict(zip(HEADER.split(","), ["1", *GOOD.split(",")], strict=True))
    summer = datetime(2024, 7, 1, 10)
    typed = {"price": [3.5], "pieces": [2], "time": pa.array([summer.replace(tzinfo=UTC)], pa.timestamp("us", "UTC"))}
    folder = make_folder(tmp_path, {})
    times = {"instant": typed["time"], "local": [summer], "day": [date(2024, 7, 1)]}
    for name, columns in ((name, typed | {"time": time}) for name, time in times.items()):
        table = pa.table({k: [v] for k, v in (row | {"id": name}).items()} | columns)
        pq.write_table(table, folder / "events" / f"{name}.parquet")
    chosen = settings(folder, {"timezone": "Europe/London"})
    found = classify(spark, list_files(chosen.source), chosen).classified
    times = {r[0]: r[1].astimezone(UTC).replace(tzinfo=None) for r in found.select("event_id", "event_time").collect()}
    assert times == {
        "instant": summer, "local": summer - timedelta(hours=1), "day": datetime(2024, 6, 30, 23)
    }  # fmt: skip


def test_a_delta_table_is_a_source_and_its_new_version_takes_the_old_ones_place(spark, tmp_path, given):
    folder = make_folder(tmp_path, {})
    table = folder / "events" / "raw"
    deltalake.write_deltalake(str(table), pa.Table.from_pylist(rows()))
    chosen = settings(folder, {"path": str(table)})
    (first,) = list_files(chosen.source)
    assert vars(classify(spark, [first], chosen).account) == {"read": 6, "kept": 4, "rejected": 1, "duplicate": 1}
    deltalake.write_deltalake(str(table), pa.Table.from_pylist(rows()[:1]), mode="append")
    (second,) = list_files(chosen.source)
    assert (second.name, first.content_hash != second.content_hash) == (first.name, True)
    assert classify(spark, [second], chosen).account.duplicate == 2


@pytest.mark.parametrize(
    ("name", "declared", "kind"),
    [
        ("a.csv", "auto", "csv"), ("a.csv.gz", "auto", "csv"), ("a.txt", "auto", "csv"), ("a", "auto", "csv"),
        ("a.jsonl", "auto", "jsonl"), ("a.ndjson.gz", "auto", "jsonl"), ("A.JSON", "auto", "jsonl"),
        ("part-0.snappy.parquet", "auto", "parquet"), ("a.log", "jsonl", "jsonl"), ("a.parquet", "csv", "csv"),
    ],
)  # fmt: skip
def test_the_format_is_declared_or_told_by_the_name(name, declared, kind):
    assert format_of(Path("data") / name, declared) == kind


def test_files_that_are_not_finished_are_left_alone(tmp_path):
    folder = make_folder(tmp_path, {"a.csv": lines("1," + GOOD), ".b.csv.part": "x", "_SUCCESS": "", "_tmp": "x"})
    assert [file.name for file in list_files(settings(folder).source)] == ["a.csv"]


# Wide panels ---------------------------------------------------------------------------------------


def wide(folder: Path, text: str, **source: object) -> Settings:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "speed.csv").write_text(text, encoding="utf-8")
    given = {"kind": "panel", "layout": "wide", "path": str(folder / "in"), "max_rejected_share": 1.0} | source
    return Settings.model_validate({
        "dataset": "roads", "source": given, "target": {"name": "speed"}, "models": [{"name": "seasonal_naive"}],
    })  # fmt: skip


def melted(spark, chosen: Settings):
    ingest = classify(spark, list_files(chosen.source), chosen)
    rows = ingest.classified.select("date", "region", "target", REASON).collect()
    return ingest.account, sorted((str(r[0]), r[1], r[2], r[3]) for r in rows)


def test_a_column_a_region_with_a_column_of_the_day(spark, tmp_path):
    text = "Day,north,south\n2024-01-01,1,2\n2024-01-02,3,\n2024-01-03,x,4\n"
    account, rows = melted(spark, wide(tmp_path, text, columns={"date": "Day"}))
    assert vars(account) == {"read": 6, "kept": 5, "rejected": 1, "duplicate": 0}
    assert rows == [
        ("2024-01-01", "north", 1.0, None), ("2024-01-01", "south", 2.0, None), ("2024-01-02", "north", 3.0, None),
        ("2024-01-02", "south", None, None), ("2024-01-03", "north", None, "bad_number"),
        ("2024-01-03", "south", 4.0, None),
    ]  # fmt: skip


def test_a_column_a_region_without_any_time(spark, tmp_path):
    """The k-th line is k steps after the start, blank lines apart; 29 February is among them."""
    text = "773869,a b\n1,2\n3,4\n\n5,6\n"
    account, rows = melted(spark, wide(tmp_path, text, start="2024-02-28", step="1 day"))
    assert account.kept == 6
    assert [row[:3] for row in rows] == [
        (day, region, value)
        for day, values in {"2024-02-28": (1, 2), "2024-02-29": (3, 4), "2024-03-01": (5, 6)}.items()
        for region, value in zip(("773869", "a b"), values, strict=True)
    ]


def test_a_line_that_cannot_be_read_counts_once_a_region(spark, tmp_path):
    account, rows = melted(spark, wide(tmp_path, "a,b\n1,2\n3\n5,6,7\n8,9\n", start="2024-01-01"))
    assert vars(account) == {"read": 8, "kept": 4, "rejected": 4, "duplicate": 0}
    assert {row[0] for row in rows if row[3] is None} == {"2024-01-01", "2024-01-04"}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param({}, "has no entry for date", id="no time"),
        pytest.param({"start": "2024-01-01", "step": "5 fortnights"}, "is no step", id="no step"),
        pytest.param({"start": "2024-01-01", "step": "5 minutes"}, "is not a whole number of days", id="short step"),
        pytest.param({"kind": "events"}, "is for a source of kind panel", id="events"),
    ],
)
def test_a_wide_panel_needs_a_time(tmp_path, source, says):
    with pytest.raises(ValidationError, match=says):
        wide(tmp_path, "a\n1\n", **source)


def test_a_wide_panel_without_its_column_of_time_is_named(tmp_path):
    with pytest.raises(InputError, match="has no column 'day'"):
        list_files(wide(tmp_path, "a,b\n1,2\n", columns={"date": "day"}).source)


def test_columns_of_events_are_still_needed():
    with pytest.raises(ValidationError, match="has no entry for event_time"):
        Settings.model_validate({
            "dataset": "shop", "source": {"kind": "events", "path": "x", "columns": {"region": COLUMNS["region"]}},
            "target": {"name": "sales"}, "models": [{"name": "seasonal_naive"}],
        })  # fmt: skip
