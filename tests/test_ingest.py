"""Cleaning: every row of a file ends as kept, rejected with its reason, or an exact duplicate, and is counted."""

from __future__ import annotations

import gzip
import re
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import run_job
from pydantic import ValidationError
from pyspark.sql import functions as F

from stspark.errors import ConfigError, InputError
from stspark.ingest import commit, ledger
from stspark.ingest.build import classify
from stspark.ingest.clean import AT_FAULT, DUPLICATE, REASON
from stspark.ingest.events import to_events
from stspark.ingest.files import list_files
from stspark.settings import Settings
from stspark.store import Store
from stspark.tables import for_settings

HEADER = "id,time,type,city,user,order,item,kind,pieces,price"
COLUMNS = {
    "event_id": "id", "event_time": "time", "event_type": "type", "region": "city", "user_id": "user",
    "order_id": "order", "item": "item", "category": "kind", "quantity": "pieces", "price": "price",
}  # fmt: skip
NASTY = ("O'Brien", "a/b=c%", "上海", "'; DROP TABLE events; --")
PLACES = ("london,51.5,-0.1,Europe/London", "new_york,40.7,-74,America/New_York", *(f"{n},0,0,UTC" for n in NASTY))
RULES = (
    {"name": "price_range", "column": "price", "keep": "price is null or price between 0 and 10000"},
    {"name": "known_type", "column": "event_type", "keep": "event_type in ('view', 'order', 'return')"},
)
GOOD = "2024-05-01T10:00:00Z,order,london,alice,o1,mug,home,2,3.5"


def event(time: str = "2024-05-01T10:00:00Z", region: str = "london", **other: str) -> str:
    """The fields after the id of a good row with these values put in."""
    fields = {"type": "order", "user": "alice", "order": "o1", "item": "mug", "kind": "home"} | other
    names = ("type", "city", "user", "order", "item", "kind", "pieces", "price")
    given = {"city": region, "pieces": "2", "price": "3.5"} | fields
    return ",".join([time, *(given[name] for name in names)])


KEPT = {
    "plain": GOOD,
    "quoted comma": event(item='"mug, blue"'),
    "doubled quotes": event(item='"lamp 12"" brass"'),
    "padded region": event(region="  london "),
    "capitals": event(type="ORDER"),
    "no numbers": event(type="view", pieces="", price=""),
    "nobody": event(user=""),
    "exponent": event(price="1e2"),
    "leap day": event("2024-02-29T12:00:00Z"),
    "free": event(price="0"),
    "comment": event(item="#1"),
    "last field empty": event(price=""),
    **{f"region {name}": event(region=f'"{name}"') for name in NASTY},
}
REJECTED = {
    "too few fields": ("2024-05-01T10:00:00Z,order,london", "malformed_row", None),
    "one field": ("", "malformed_row", None),
    "too many fields": (GOOD + ",oops", "malformed_row", None),
    "open quote": (event(item='"mug'), "malformed_row", None),
    "no time": (event(""), "missing_value", "event_time"),
    "blank time": (event("   "), "missing_value", "event_time"),
    "no region": (event(region=""), "missing_value", "region"),
    "blank region": (event(region="  "), "missing_value", "region"),
    "no type": (event(type=""), "missing_value", "event_type"),
    "a word for a time": (event("yesterday"), "bad_time", "event_time"),
    "no such month": (event("2024-13-01T00:00:00Z"), "bad_time", "event_time"),
    "no such day": (event("2024-02-30T00:00:00Z"), "bad_time", "event_time"),
    "no leap year": (event("2023-02-29T00:00:00Z"), "bad_time", "event_time"),
    "no such hour": (event("2024-05-01T25:61:00Z"), "bad_time", "event_time"),
    "American day": (event("05/01/2024 10:00"), "bad_time", "event_time"),
    "seconds since 1970": (event("1714557600"), "bad_time", "event_time"),
    "a year": (event("2024"), "bad_time", "event_time"),
    "only a clock": (event("10:00:00"), "bad_time", "event_time"),
    "a word for a number": (event(pieces="abc"), "bad_number", "quantity"),
    "decimal comma": (event(price='"1,5"'), "bad_number", "price"),
    "NaN": (event(price="NaN"), "bad_number", "price"),
    "Infinity": (event(price="Infinity"), "bad_number", "price"),
    "minus infinity": (event(pieces="-inf"), "bad_number", "quantity"),
    "beyond a double": (event(price="1e400"), "bad_number", "price"),
    "hexadecimal": (event(pieces="0x10"), "bad_number", "quantity"),
    "a double as Java writes it": (event(price="3.5d"), "bad_number", "price"),
    "a float as Java writes it": (event(pieces="2F"), "bad_number", "quantity"),
    "a currency": (event(price="£3.50"), "bad_number", "price"),
    "unknown region": (event(region="atlantis"), "unknown_region", "region"),
    "region in capitals": (event(region="LONDON"), "unknown_region", "region"),
    "negative price": (event(price="-1"), "price_range", "price"),
    "unknown type": (event(type="purchase"), "known_type", "event_type"),
    "bad time goes before bad number": (event("soon", price="abc"), "bad_time", "event_time"),
    "bad number goes before region": (event(region="atlantis", price="abc"), "bad_number", "price"),
    "region goes before rules": (event(region="atlantis", price="-1"), "unknown_region", "region"),
    "rules in their order": (event(type="purchase", price="-1"), "price_range", "price"),
}
REPEATED = {
    "exact twin": ([GOOD, GOOD], ["duplicate", "kept"]),
    "exact triplets": ([GOOD, GOOD, GOOD], ["duplicate", "duplicate", "kept"]),
    "other content": ([GOOD, event(price="9")], ["kept", "repeated_id"]),
    "a rejected row does not take the id": ([event(price="-1"), GOOD], ["kept", "price_range"]),
    "rejected rows repeat": ([event(price="-1"), event(price="-1")], ["price_range", "price_range"]),
}
DAYS = {  # instant, region -> instant in UTC, the region's local day
    # British summer time 2024: from 31 March, 01:00 UTC, to 27 October, 01:00 UTC
    "winter midnight": ("2024-03-30T23:59:59Z", "london", "2024-03-30"),
    "last winter second": ("2024-03-31T00:59:59Z", "london", "2024-03-31"),
    "evening of the day with 23 hours": ("2024-03-31T22:59:59Z", "london", "2024-03-31"),
    "spring: midnight comes an hour earlier": ("2024-03-31T23:00:00Z", "london", "2024-04-01"),
    "autumn: before the day with 25 hours": ("2024-10-26T22:59:59Z", "london", "2024-10-26"),
    "autumn: midnight in summer time": ("2024-10-26T23:00:00Z", "london", "2024-10-27"),
    "autumn: the last of 25 hours": ("2024-10-27T23:59:59Z", "london", "2024-10-27"),
    "autumn: midnight in winter time": ("2024-10-28T00:00:00Z", "london", "2024-10-28"),
    # New York is five hours behind in winter, four in summer
    "before midnight in New York": ("2024-01-02T04:59:59Z", "new_york", "2024-01-01"),
    "midnight in New York": ("2024-01-02T05:00:00Z", "new_york", "2024-01-02"),
    "summer midnight in New York": ("2024-07-02T04:00:00Z", "new_york", "2024-07-02"),
    "leap day in New York": ("2024-03-01T04:59:59Z", "new_york", "2024-02-29"),
}
OFFSETS = {  # what is written in a source whose zone is Europe/London -> instant in UTC
    "winter without offset": ("2024-01-15 10:00:00", "2024-01-15T10:00:00"),
    "summer without offset": ("2024-07-15 10:00:00", "2024-07-15T09:00:00"),
    "T without offset": ("2024-07-15T10:00:00", "2024-07-15T09:00:00"),
    "no seconds": ("2024-07-15 10:00", "2024-07-15T09:00:00"),
    "a day alone is its midnight": ("2024-07-15", "2024-07-14T23:00:00"),
    "one-digit month": ("2024-7-5 10:00:00", "2024-07-05T09:00:00"),
    "fraction": ("2024-07-15 10:00:00.250", "2024-07-15T09:00:00.250"),
    "Z": ("2024-07-15T10:00:00Z", "2024-07-15T10:00:00"),
    "UTC": ("2024-07-15 10:00:00 UTC", "2024-07-15T10:00:00"),
    "colon offset": ("2024-07-15T10:00:00+05:30", "2024-07-15T04:30:00"),
    "negative offset": ("2024-07-15 10:00:00-04:00", "2024-07-15T14:00:00"),
    "offset without colon": ("2024-07-15T10:00:00+0530", "2024-07-15T04:30:00"),
    "offset in hours": ("2024-07-15 10:00:00+01", "2024-07-15T09:00:00"),
    "offset with one digit": ("2024-07-15 10:00:00+1:00", "2024-07-15T09:00:00"),
    "GMT": ("2024-07-15 10:00:00 GMT", "2024-07-15T10:00:00"),
    "a named zone": ("2024-07-15 10:00:00 America/New_York", "2024-07-15T14:00:00"),
    "a zone's short name": ("2024-07-15 10:00:00 EST", "2024-07-15T15:00:00"),
    "a zone's old name": ("2024-07-15 10:00:00 CET", "2024-07-15T08:00:00"),
    "zero offset at the summer's end": ("2024-10-27T00:30:00+01:00", "2024-10-26T23:30:00"),
    "an hour that does not exist": ("2024-03-31 01:30:00", "2024-03-31T01:30:00"),
    "an hour that comes twice is the first": ("2024-10-27 01:30:00", "2024-10-27T00:30:00"),
}


def settings(folder: Path, source: dict[str, object] | None = None, regions: str = "reject") -> Settings:
    """Events in folder/events, places in folder/regions.csv."""
    given = {"kind": "events", "path": str(folder / "events"), "columns": COLUMNS, "max_rejected_share": 1.0}
    return Settings.model_validate({
        "dataset": "shop", "source": given | (source or {}), "target": {"name": "sales"},
        "regions": {"file": str(folder / "regions.csv"), "unknown": regions}, "models": [{"name": "seasonal_naive"}],
    })  # fmt: skip


def make_folder(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write the places and these event files."""
    (folder / "events").mkdir(parents=True)
    (folder / "regions.csv").write_text("\n".join(["region,lat,lng,timezone", *PLACES, ""]), encoding="utf-8")
    for name, content in files.items():
        (folder / "events" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def lines(*rows: str, header: str = HEADER, end: str = "\n") -> str:
    return end.join([header, *rows, ""])


@pytest.fixture(scope="module")
def shop(spark, tmp_path_factory):
    """All cases, in files of many kinds, classified at once: settings, the ingest, and its rows in pandas."""
    cases = [f"{name},{row}" for name, row in KEPT.items()]
    cases += [f"{name},{row}" if row else name for name, (row, _, _) in REJECTED.items()]
    cases += [f"{name},{row}" for name, (rows, _) in REPEATED.items() for row in rows]
    days = [f"{name},{event(time, region)}" for name, (time, region, _) in DAYS.items()]
    swapped = HEADER.replace("id,time", "time,id").replace("type,city", "type,colour,city")
    folder = make_folder(tmp_path_factory.mktemp("shop"), {
        "a_cases.csv": lines(*cases, "", "  "),
        "b_bom.csv": ("\ufeff" + lines(*days[:4], end="\r\n")).encode(),
        "c_zipped.csv.gz": gzip.compress(lines(*days[4:]).encode()),
        "d_swapped.csv": lines("2024-05-01T10:00:00Z,swapped,order,red,london,bob,o9,pen,office,1,2", header=swapped),
        "e_header_only.csv": lines(),
        "f_no_line_end.csv": HEADER + "\nno line end," + GOOD,
        "g_next_day.csv": lines("in two files," + GOOD, "in two files with another price," + GOOD),
        "h_day_after.csv": lines("in two files," + GOOD, "in two files with another price," + event(price="9")),
    })  # fmt: skip
    chosen = settings(folder, {"rules": RULES})
    ingest = classify(spark, list_files(chosen.source), chosen)
    name = F.coalesce(F.split("_corrupt", ",")[0], F.col("event_id")).alias("case")
    fate = F.when(F.col(REASON).isNull() & F.col(DUPLICATE), "duplicate").otherwise(F.coalesce(REASON, F.lit("kept")))
    rows = ingest.classified.select(name, fate.alias("fate"), F.col(AT_FAULT).alias("column"), "_file").toPandas()
    return chosen, ingest, rows


@pytest.fixture(scope="module")
def events(shop):
    """The kept rows as they go to the table `events`, by event_id."""
    return to_events(shop[1].classified, "key").drop("_raw", "_zone").toPandas().set_index("event_id")


def fates(rows: pd.DataFrame, case: str) -> list[str]:
    return sorted(rows.loc[rows["case"] == case, "fate"])


@pytest.mark.parametrize("case", [*KEPT, *DAYS, "swapped", "no line end"])
def test_a_good_row_is_kept(shop, case):
    assert fates(shop[2], case) == ["kept"]


@pytest.mark.parametrize(("case", "reason", "column"), [(c, *w) for c, (_, *w) in REJECTED.items()], ids=REJECTED)
def test_a_bad_row_is_rejected_with_its_reason_and_column(shop, case, reason, column):
    rows = shop[2][shop[2]["case"] == case]
    assert rows[["fate", "column"]].to_numpy().tolist() == [[reason, column]]


@pytest.mark.parametrize(("case", "wanted"), [(c, w) for c, (_, w) in REPEATED.items()], ids=REPEATED)
def test_a_repeated_id_is_kept_once(shop, case, wanted):
    assert fates(shop[2], case) == wanted


def test_a_row_that_comes_again_in_the_next_file_is_kept_from_the_first(shop):
    rows = shop[2][shop[2]["case"].str.startswith("in two files")].sort_values(["case", "_file"])
    assert rows[["_file", "fate"]].to_numpy().tolist() == [
        ["g_next_day.csv", "kept"], ["h_day_after.csv", "duplicate"],
        ["g_next_day.csv", "kept"], ["h_day_after.csv", "repeated_id"],
    ]  # fmt: skip


def test_rows_read_are_kept_rejected_or_duplicates_in_every_file(shop):
    counts = (
        shop[1]
        .file_counts.toPandas()
        .set_index("source_file")
        .drop(columns=["content_hash", "cleaned_by", "ingest_id", "repeats"])
    )
    repeated = sum(len(rows) for rows, _ in REPEATED.values())
    # REPEATED: kept once each but for the last case; rejected 1 + 1 + 2; duplicates 1 + 2
    assert {name: row.tolist() for name, row in counts.iterrows()} == {
        # columns in the order read, kept, rejected, duplicate
        "a_cases.csv": [len(KEPT) + len(REJECTED) + repeated, len(KEPT) + 4, len(REJECTED) + 4, 3],
        "b_bom.csv": [4, 4, 0, 0],
        "c_zipped.csv.gz": [len(DAYS) - 4, len(DAYS) - 4, 0, 0],
        "d_swapped.csv": [1, 1, 0, 0],
        "e_header_only.csv": [0, 0, 0, 0],
        "f_no_line_end.csv": [1, 1, 0, 0],
        "g_next_day.csv": [2, 2, 0, 0],
        "h_day_after.csv": [2, 0, 1, 1],
    }
    total = shop[1].account
    assert total.read == total.kept + total.rejected + total.duplicate == counts["rows_read"].sum()


def test_rejected_rows_keep_their_text(shop):
    from stspark.ingest.account import to_rejected

    texts = to_rejected(shop[1].classified, ["user"], "key").toPandas()["raw_text"].tolist()
    assert f"too many fields,{GOOD},oops" in texts
    assert any('"id":"decimal comma"' in text and '"price":"1,5"' in text for text in texts)


@pytest.mark.parametrize(
    ("case", "column", "value"),
    [
        pytest.param("quoted comma", "item", "mug, blue", id="quoted comma"),
        pytest.param("doubled quotes", "item", 'lamp 12" brass', id="doubled quotes"),
        pytest.param("padded region", "region", "london", id="padding"),
        pytest.param("capitals", "event_type", "order", id="capitals"),
        pytest.param("exponent", "price", 100.0, id="exponent"),
        pytest.param("plain", "amount", 7.0, id="2 x 3.5"),
        pytest.param("no numbers", "quantity", None, id="a view has no pieces"),
        pytest.param("nobody", "user_id", None, id="nobody has no hash"),
        pytest.param("swapped", "item", "pen", id="columns in another order"),
        pytest.param("swapped", "quantity", 1.0, id="numbers in another order"),
        *(pytest.param(f"region {name}", "region", name, id=name) for name in NASTY),
    ],
)
def test_values_are_what_was_written(events, case, column, value):
    found = events.loc[case, column]
    assert pd.isna(found) if value is None else found == value


@pytest.mark.parametrize(("case", "time", "day"), [(c, t, d) for c, (t, _, d) in DAYS.items()], ids=DAYS)
def test_a_day_is_the_regions_own(events, case, time, day):
    assert events.loc[case, "date"] == date.fromisoformat(day)
    assert events.loc[case, "event_time"] == pd.Timestamp(time).tz_localize(None)


def test_user_ids_are_hashed_alike_and_never_shown(events):
    assert events.loc["plain", "user_id"] == events.loc["capitals", "user_id"] != events.loc["swapped", "user_id"]
    assert events["user_id"].dropna().str.fullmatch("[0-9a-f]{32}").all()
    assert not events.astype(str).apply(lambda c: c.str.contains("alice|bob")).to_numpy().any()


def test_another_key_gives_other_hashes(shop, events):
    other = to_events(shop[1].classified.limit(5), "other").select("user_id").toPandas()["user_id"]
    assert not set(other.dropna()) & set(events["user_id"])


@pytest.fixture(scope="module")
def london(spark, tmp_path_factory):
    """Case -> instant in UTC that a source of London's zone reads."""
    rows = [f"{name},{event(text)}" for name, (text, _) in OFFSETS.items()]
    folder = make_folder(tmp_path_factory.mktemp("london"), {"a.csv": lines(*rows)})
    chosen = settings(folder, {"timezone": "Europe/London"})
    found = classify(spark, list_files(chosen.source), chosen).classified.select("event_id", "event_time").collect()
    return {row[0]: row[1] and row[1].astimezone(UTC).replace(tzinfo=None) for row in found}


@pytest.mark.parametrize(("case", "instant"), [(case, instant) for case, (_, instant) in OFFSETS.items()], ids=OFFSETS)
def test_a_time_without_an_offset_is_in_the_sources_zone(london, case, instant):
    assert london[case] == datetime.fromisoformat(instant)


def test_returns_count_negative_and_missing_pieces_count_one(spark, tmp_path):
    rows = {
        "a return": (event(type="return", pieces="2"), -2.0, -7.0),
        "a return booked negative": (event(type="return", pieces="-2"), -2.0, -7.0),
        "an order without pieces": (event(pieces=""), 1.0, 3.5),
        "a negative order": (event(pieces="-2"), -2.0, -7.0),
    }
    text = lines(*(f"{name},{row}" for name, (row, _, _) in rows.items()))
    chosen = settings(make_folder(tmp_path, {"a.csv": text}))
    ingest = classify(spark, list_files(chosen.source), chosen)
    found = to_events(ingest.classified, "k").select("event_id", "quantity", "amount").collect()
    assert {r[0]: (r[1], r[2]) for r in found} == {name: (pieces, amount) for name, (_, pieces, amount) in rows.items()}


def test_the_source_may_be_in_latin_1_with_semicolons_and_lack_most_columns(spark, tmp_path):
    text = "Tag;Stadt;Stück\n2024-05-01;München;3\n2024-05-01;München;3\n2024-05-02;München;4\n".encode("latin-1")
    folder = make_folder(tmp_path, {"a.csv": text})
    (folder / "regions.csv").write_text("region,lat,lng\nMünchen,48,11\n", encoding="utf-8")
    columns = {"event_time": "Tag", "region": "Stadt", "quantity": "Stück"}
    chosen = settings(folder, {"encoding": "ISO-8859-1", "separator": ";", "columns": columns})
    ingest = classify(spark, list_files(chosen.source), chosen)
    assert vars(ingest.account) == {"read": 3, "kept": 2, "rejected": 0, "duplicate": 1}
    found = to_events(ingest.classified, "k").select("region", "event_type", "quantity").collect()
    assert sorted(map(tuple, found)) == [("München", "order", 3.0), ("München", "order", 4.0)]


def looked_up(spark, folder: Path, prices: str):
    (folder / "items.csv").write_text(prices, encoding="utf-8")
    lookup = {"path": str(folder / "items.csv"), "key": "code", "on": "item", "columns": ["list price"]}
    chosen = settings(folder, {"columns": COLUMNS | {"price": "list price"}, "lookups": [lookup]})
    return classify(spark, list_files(chosen.source), chosen)


def test_a_lookup_adds_its_columns_and_neither_loses_nor_multiplies_rows(spark, tmp_path):
    folder = make_folder(
        tmp_path, {"a.csv": lines("1," + GOOD, "2," + event(item="cup"), "3," + event(item=""), "4," + GOOD)}
    )
    ingest = looked_up(spark, folder, "code,list price,colour\nmug,7,red\nmug,7,blue\nplate,1,red\n")
    assert vars(ingest.account) == {"read": 4, "kept": 4, "rejected": 0, "duplicate": 0}
    found = ingest.classified.select("event_id", "price").collect()
    assert {row[0]: row[1] for row in found} == {"1": 7.0, "2": None, "3": None, "4": 7.0}


def test_a_lookup_whose_key_has_two_values_is_refused(spark, tmp_path):
    folder = make_folder(tmp_path, {"a.csv": lines("1," + GOOD)})
    with pytest.raises(
        InputError, match=r"items.csv: code: value 'mug' has several different rows; a lookup needs one"
    ):
        looked_up(spark, folder, "code,list price\nmug,7\nmug,8\n")


@pytest.mark.parametrize(
    ("content", "source", "says"),
    [
        pytest.param(b"", {}, ["a.csv: is empty", "send it again with its header"], id="empty file"),
        pytest.param(b"\n\n", {}, ["a.csv: is empty"], id="blank lines"),
        pytest.param(gzip.compress(b""), {"pattern": "*.gz"}, ["is empty"], id="empty gzip"),
        pytest.param(
            lines(GOOD, header="id,tim,type"), {}, ["has no column 'time'", "nearest column is 'tim'"], id="column"
        ),
        pytest.param(lines(header="x,y"), {}, ["has no column 'id'", "its columns are x, y"], id="none near"),
        pytest.param(HEADER.replace("item", "Stück").encode("latin-1"), {}, ["a.csv: cannot be read"], id="encoding"),
        pytest.param(b"not gzip", {"pattern": "*.gz"}, ["cannot be read", "check the file"], id="not gzip"),
        pytest.param(gzip.compress(lines(GOOD).encode())[:30], {"pattern": "*.gz"}, ["cannot be read"], id="cut gzip"),
        pytest.param(lines(), {"pattern": "*.tsv"}, ["holds no file that matches '*.tsv'"], id="pattern"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, source, says):
    name = "a.csv.gz" if source.get("pattern") == "*.gz" else "a.csv"
    chosen = settings(make_folder(tmp_path, {name: content}), source)
    with pytest.raises(InputError) as caught:
        list_files(chosen.source)
    assert all(part in str(caught.value) for part in says), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "source", "says"),
    [
        pytest.param(
            ["1," + event(price="x"), "2," + event(price="y"), "3," + GOOD], {"max_rejected_share": 0.5},
            ["a.csv: 2 of 3 rows are rejected (limit 50%), most as bad_number in column price",
             '"price":"x"', '"user":"…"'],
            id="too many rejected",
        ),
        pytest.param(
            ["1," + GOOD], {"columns": COLUMNS | {"price": "sql: pric * 2"}}, ["source.columns", "pric"],
            id="expression",
        ),
        pytest.param(
            ["1," + GOOD], {"rules": [{"name": "r", "column": "price", "keep": "price >"}]}, ["source.rules"], id="rule"
        ),
        pytest.param(
            ["1," + GOOD], {"columns": COLUMNS | {"price": "sql: cast(item as int)"}},
            ["source.columns.price: cast(item as int)", "'mug'", "null"], id="fails on a value",
        ),
        pytest.param(
            ["1," + GOOD], {"columns": COLUMNS | {"price": "sql: 1 / (length(item) - 3)"}},
            ["source.columns.price", "Division by zero"], id="divides by zero",
        ),
        pytest.param(
            ["1," + GOOD], {"rules": [{"name": "r", "column": "price", "keep": "date(item) > '2024-01-01'"}]},
            ["source.rules 'r'", "'mug'"], id="a rule that fails on a value",
        ),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_are_the_users_mistake(spark, tmp_path, rows, source, says):
    chosen = settings(make_folder(tmp_path, {"a.csv": lines(*rows)}), source)
    with pytest.raises((InputError, ConfigError)) as caught:
        classify(spark, list_files(chosen.source), chosen)
    assert all(part in str(caught.value) for part in says), str(caught.value)


def test_a_column_named_twice_in_the_header_is_named(spark, tmp_path):
    chosen = settings(make_folder(tmp_path, {"a.csv": lines("1," + GOOD + ",4", header=HEADER + ",price")}))
    with pytest.raises(InputError, match=r"a.csv.*price"):
        classify(spark, list_files(chosen.source), chosen)


def test_a_line_of_tabs_is_counted_or_blank_but_never_lost(spark, tmp_path):
    chosen = settings(make_folder(tmp_path, {"a.csv": lines("1," + GOOD, "\t\t", "2," + GOOD)}))
    account = classify(spark, list_files(chosen.source), chosen).account
    assert account.kept == 2
    assert account.read == account.kept + account.rejected + account.duplicate


# Job after job -------------------------------------------------------------------------------------


def config(folder: Path, **source: object) -> tuple[str, str]:
    """A config file for the folder's events; its warehouse lies beside them."""
    chosen = settings(folder, {"rules": [RULES[0]]} | source).model_dump(mode="json", exclude={"warehouse", "reports"})
    path = folder / "shop.yaml"
    path.write_text(yaml.safe_dump(chosen | {f: str(folder / f) for f in ("warehouse", "reports")}), encoding="utf-8")
    return ("--config", str(path))


def ingested(spark, folder: Path, table: str = "events") -> pd.DataFrame:
    return spark.read.format("delta").load(str(folder / "warehouse/shop" / table)).toPandas()


FIRST_DAY = lines("1," + GOOD, "2," + GOOD, "3," + event(price="-1"), "4," + event(price="600"))
SECOND_DAY = lines("2," + GOOD, "5," + GOOD, "1," + event(price="9"))  # 2 comes again, 1 comes again with another price


@pytest.fixture(scope="module")
def one_day(spark, tmp_path_factory):
    """A shop whose first day is ingested."""
    folder = make_folder(tmp_path_factory.mktemp("one_day"), {"1.csv": FIRST_DAY})
    ran = run_job("ingest", *config(folder))
    assert ran.code == 0, ran.err
    assert "4 read = 3 kept + 1 rejected + 0 exact duplicates" in ran.out
    return folder


@pytest.fixture
def copied(one_day, tmp_path):
    """A copy of it, tables and all, to go on from."""
    return Path(shutil.copytree(one_day, tmp_path / "shop"))


def test_a_link_is_a_file_of_its_own_name(copied, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "another name.csv").write_text(SECOND_DAY)
    (copied / "events/2.csv").symlink_to(tmp_path / "elsewhere" / "another name.csv")
    ran = run_job("ingest", *config(copied))
    assert ran.code == 0, ran.err
    assert "2 (1 new)" in ran.out


def test_files_that_come_one_by_one_leave_what_they_leave_together(spark, copied, tmp_path):
    (copied / "events/2.csv").write_text(SECOND_DAY)
    (copied / "events/twin.csv").write_text(FIRST_DAY)  # the same content under another name is not read again
    ran = run_job("ingest", *config(copied))
    assert re.search(r"files +2 \(1 new\)", ran.out), ran
    together = make_folder(tmp_path / "together", {"1.csv": FIRST_DAY, "2.csv": SECOND_DAY})
    (together / "warehouse").mkdir()
    shutil.copy(copied / "warehouse/.user_key", together / "warehouse")
    assert run_job("ingest", *config(together)).code == 0
    for table, columns in {
        "events": ["event_id", "price", "source_file"], "events_rejected": ["reason", "raw_text", "source_file"],
        "ingested_files": ["source_file", "rows_read", "rows_kept", "rows_rejected", "rows_duplicate"],
    }.items():  # fmt: skip
        one, other = (ingested(spark, folder, table)[columns].sort_values(columns) for folder in (copied, together))
        assert one.to_numpy().tolist() == other.to_numpy().tolist(), table


def test_an_ingest_that_died_before_its_last_table_is_made_up_for(spark, copied):
    """The ledger is written last; a file that comes between crash and restart changes the batch, not the rows."""
    shutil.rmtree(copied / "warehouse/shop/ingested_files")
    (copied / "events/2.csv").write_text(lines("5," + GOOD))
    assert run_job("ingest", *config(copied)).code == 0
    assert sorted(ingested(spark, copied)["event_id"]) == ["1", "2", "4", "5"]
    assert len(ingested(spark, copied, "events_rejected")) == 1


def test_a_twin_that_commits_while_an_ingest_is_planned_loses_nothing(spark, tmp_path, monkeypatch):
    """Both found the file new; the first's rows are not earlier ones, of which the second's would be duplicates."""
    folder = make_folder(tmp_path, {"1.csv": FIRST_DAY})
    chosen = settings(folder, {"rules": [RULES[0]]}).model_copy(update={"warehouse": str(folder / "warehouse")})
    (folder / "warehouse").mkdir()
    files, plain = list_files(chosen.source), ledger.remove_unfinished

    def take() -> None:
        commit.take_in(spark, Store(spark, chosen.home, for_settings(chosen)), chosen, files)

    def twin_is_first(*given):
        plain(*given)
        monkeypatch.setattr(ledger, "remove_unfinished", plain)
        take()

    monkeypatch.setattr(ledger, "remove_unfinished", twin_is_first)
    take()
    assert sorted(ingested(spark, folder)["event_id"]) == ["1", "2", "4"]
    account = ingested(spark, folder, "ingested_files").iloc[0]
    assert (account["rows_kept"], account["rows_rejected"], account["rows_duplicate"]) == (3, 1, 0)


def test_another_rule_cleans_the_files_anew(spark, copied):
    """The same config and data give the same tables, whatever config was there before."""
    stricter = {"name": "price_range", "column": "price", "keep": "price between 0 and 500"}
    assert run_job("ingest", *config(copied, rules=[stricter])).code == 0
    assert sorted(ingested(spark, copied)["event_id"]) == ["1", "2"]
    assert len(ingested(spark, copied, "events_rejected")) == 2


@pytest.mark.parametrize(
    "name", ["with space.csv", "100%20.csv", "a+b.csv", "Köln 上海.csv", "part[1].csv", "x,y;z'.csv"]
)
def test_a_file_may_have_any_name(spark, tmp_path, name):
    chosen = settings(make_folder(tmp_path / name, {name: lines("1," + GOOD), "b.csv": lines("2," + GOOD)}))
    ingest = classify(spark, list_files(chosen.source), chosen)
    assert {row["source_file"]: row["rows_kept"] for row in ingest.file_counts.collect()} == {name: 1, "b.csv": 1}


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        pytest.param("latin-1", "Küche", id="as Python spells it"),
        pytest.param("ISO-8859-1", "Küche", id="as Java spells it"),
        pytest.param("windows-1252", "“Küche” für 3 €", id="beyond Latin-1"),
        pytest.param("cp1251", "чашка", id="Cyrillic"),
        pytest.param("shift_jis", "表示", id="two bytes a sign, the second an ASCII backslash"),
        pytest.param("UTF-8", "😀 杯", id="UTF-8"),
    ],
)
def test_text_is_read_in_the_sources_encoding(spark, tmp_path, encoding, text):
    folder = make_folder(tmp_path, {"a.csv": lines("1," + event(item=text)).encode(encoding)})
    chosen = settings(folder, {"encoding": encoding})
    ingest = classify(spark, list_files(chosen.source), chosen)
    assert [row["item"] for row in ingest.classified.collect()] == [text]
    assert ingest.account.kept == 1


def test_text_of_another_encoding_is_rejected_rather_than_garbled(spark, tmp_path):
    rows = lines("1," + event(item="Küche"), "2," + GOOD).encode("latin-1")
    chosen = settings(make_folder(tmp_path, {"a.csv": rows}))
    found = classify(spark, list_files(chosen.source), chosen).classified.select(REASON, AT_FAULT).collect()
    assert sorted(map(tuple, found), key=str) == [("bad_encoding", "item"), (None, None)]


@pytest.mark.parametrize(
    ("encoding", "says"),
    [("klingon", "is not a known text encoding"), ("utf-16", "save the files as UTF-8"), ("", "not a known")],
)
def test_an_encoding_that_cannot_be_read_is_named(tmp_path, encoding, says):
    with pytest.raises(ValidationError, match=f"'{encoding}'.*{says}"):
        settings(tmp_path, {"encoding": encoding})
