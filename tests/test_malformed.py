"""Malformed files of every format: refused in one line that names the file, or every row of theirs is accounted for."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from test_ingest import COLUMNS, GOOD, HEADER, PLACES, RULES, event, lines

from stspark.errors import UserError
from stspark.ingest.account import Account
from stspark.ingest.build import classify
from stspark.ingest.files import InputFile, list_files
from stspark.settings import Settings

ROW = dict(zip(HEADER.split(","), ["1", *GOOD.split(",")], strict=True))


def parquet(**columns: list[object] | pa.Array) -> bytes:
    """A row of the usual columns as Parquet, some of them replaced."""
    sink = io.BytesIO()
    pq.write_table(pa.table({k: [v] for k, v in ROW.items()} | columns), sink)
    return sink.getvalue()


def one(row: str) -> bytes:
    return lines("1," + row).encode()


CSV: dict[str, bytes] = {
    "nothing": b"", "a line end": b"\n", "blank": b" \n\t\n", "a byte order mark": b"\xef\xbb\xbf",
    "a header": HEADER.encode(), "a header and a mark": b"\xef\xbb\xbf" + HEADER.encode(), "commas": b",,,\n,,,\n",
    "a header twice": lines(HEADER).encode(), "CR": lines("1," + GOOD, end="\r").encode(),
    "CRLF": lines("1," + GOOD, end="\r\n").encode(),
    "mixed ends": (HEADER + "\r\n1," + GOOD + "\n2," + GOOD).encode(),
    "NUL in a field": one(event(item="a\0b")), "NUL in the header": lines("1," + GOOD, header=HEADER + "\0").encode(),
    "only NUL": b"\0\0\0\n\0\0", "a quote": lines('"').encode(), "two quotes": lines('""').encode(),
    "open quote": one(event(item='"mug')), "quote inside": one(event(item='mu"g')),
    "quote after": one(event(item='"mug"x')), "quoted line break": one(event(item='"mu\ng"')),
    "open quote in the header": lines("1," + GOOD, header='"' + HEADER).encode(),
    "backslash quote": one(event(item='"mu\\"g"')), "backslash at the end": one(event(item="mug\\")),
    "trailing comma": one(GOOD + ","), "many fields": one(GOOD + "," * 500), "one field": lines("1").encode(),
    "semicolons": lines("1," + GOOD).replace(",", ";").encode(),
    "tabs": lines("1," + GOOD).replace(",", "\t").encode(),
    "UTF-16": lines("1," + GOOD).encode("utf-16"), "UTF-32": lines("1," + GOOD).encode("utf-32"),
    "Latin-1": one(event(item="Küche")).decode().encode("latin-1"),
    "half a sign": one(event(item="Kü"))[:-12] + b"\xc3",
    "no UTF-8": lines("1," + GOOD).encode() + b"\xff\xfe\xfd,\x80\n",
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "a long field": one(event(item="x" * 200_000)), "too long a field": one(event(item="x" * 1_100_000)),
    "a long header": lines("1," + GOOD, header=HEADER + "," + "y" * 100_000).encode(),
    "many columns": lines("1," + GOOD + "," * 3000, header=HEADER + "".join(f",c{k}" for k in range(3000))).encode(),
    "a column twice": lines("1," + GOOD + ",1", header=HEADER + ",price").encode(),
    "a column in capitals too": lines("1," + GOOD + ",1", header=HEADER + ",PRICE").encode(),
    "our own column": lines("1," + GOOD + ",1", header=HEADER + ",_file").encode(),
    "columns without a name": lines("1," + GOOD + ",1,2", header=HEADER + ",,").encode(),
    "odd column names": lines("1," + GOOD + ",1,2,3", header=HEADER + ",a`b,c.d,e'f").encode(),
    "a column of a line break": lines("1," + GOOD + ",1", header=HEADER + ',"a\nb"').encode(),
    "year 0": one(event("0000-01-01T00:00:00Z")), "year 10000": one(event("10000-01-01T00:00:00Z")),
    "year 294248": one(event("294248-01-01T00:00:00Z")), "before Christ": one(event("-0044-03-15T00:00:00Z")),
    "the lost days of 1582": one(event("1582-10-10T00:00:00Z")), "second 60": one(event("2016-12-31T23:59:60Z")),
    "offset of 30 hours": one(event("2024-05-01T10:00:00+30:00")),
    "no such zone": one(event("2024-05-01 10:00 Mars/X")),
    "numbers of other scripts": one(event(price="١٢")), "huge": one(event(price="1" * 400)),
    "minus zero": one(event(price="-0")),
    "underscores": one(event(price="1_000")), "a d": one(event(price="1d")), "hex": one(event(price="0x1p3")),
    "line separators": one(event(item="a\u2028b\u0085c")), "form feed": one(event(item="a\fb\vc")),
    "right to left": one(event(item="\u202emug")), "an astral sign": one(event(item="😀")),
    "blank lines": lines("", "1," + GOOD, " ").encode(),
    "spaces around": one(" , ".join(GOOD.split(","))), "a comment": lines("# hello", "1," + GOOD).encode(),
}  # fmt: skip
JSON: dict[str, bytes] = {
    "nothing": b"", "a brace": b"{", "a list": b"[]\n[1]\n" + b'[{"id":"1"}]', "null": b"null\n", "a number": b"1\n",
    "a text": b'"x"\n', "an empty object": b"{}\n", "a key twice": b'{"id":"1","id":"2"}\n',
    "nested": b'{"id":{"a":[1]}}\n',
    "garbage after": json.dumps(ROW).encode() + b" oops\n", "two in a line": json.dumps(ROW).encode() * 2,
    "a mark": b"\xef\xbb\xbf" + json.dumps(ROW).encode(), "indented": json.dumps(ROW, indent=1).encode(),
    "an array of rows": json.dumps([ROW, ROW]).encode(), "a number for all": b'{"id":1,"time":2,"price":1e999}\n',
    "NaN": b'{"id":"1","price":NaN}\n', "deep": b'{"id":' + b"[" * 3000 + b"]" * 3000 + b"}\n",
    "no UTF-8": b'{"id":"\xff"}\n', "single quotes": b"{'id':'1'}\n", "a comment": b'{"id":"1"} // x\n',
    "cut": json.dumps(ROW).encode()[:-9], "a control sign": b'{"id":"a\tb\x01"}\n',
    "half a surrogate": b'{"id":"\\ud800"}\n',
    "an odd key": b'{"a`b.c":1,"":2,"id":"1"}\n', "two keys but for capitals": b'{"id":"1","ID":"2"}\n',
    "our own key": b'{"_raw":1}\n',
}  # fmt: skip
PARQUET: dict[str, bytes] = {
    "nothing": b"", "not Parquet": b"hello", "cut": parquet()[:-20], "marks only": b"PAR1PAR1",
    "no rows": parquet()[:0] or b"PAR1", "typed": parquet(
        time=[datetime(2024, 5, 1, 10, tzinfo=UTC)], pieces=[2], price=[Decimal("3.50")]
    ),
    "a day for a time": parquet(time=[date(2024, 5, 1)]), "a local time": parquet(time=[datetime(2024, 5, 1, 10)]),
    "nanoseconds": parquet(time=pa.array([1714557600 * 10**9], pa.timestamp("ns"))),
    "a list": parquet(item=[["a", "b"]]),
    "a record": parquet(item=[{"a": 1}]), "bytes": parquet(item=[b"\xff\xfe"]),
    "nulls": parquet(price=[None], item=[None]),
    "NaN": parquet(price=[float("nan")]), "infinity": parquet(price=[float("inf")]), "a truth": parquet(item=[True]),
    "a dictionary": parquet(item=pa.array(["mug"]).dictionary_encode()), "a big number": parquet(order=[2**63 - 1]),
}  # fmt: skip


def chosen(folder: Path, pattern: str = "*") -> Settings:
    (folder / "regions.csv").write_text("\n".join(["region,lat,lng,timezone", *PLACES, ""]), encoding="utf-8")
    source = {"kind": "events", "path": str(folder / "in"), "columns": COLUMNS, "rules": RULES, "pattern": pattern}
    return Settings.model_validate({
        "dataset": "shop", "source": source | {"max_rejected_share": 1.0}, "target": {"name": "sales"},
        "regions": {"file": str(folder / "regions.csv"), "unknown": "reject"}, "models": [{"name": "seasonal_naive"}],
    })  # fmt: skip


def usable(folder: Path, contents: dict[str, bytes]) -> list[InputFile]:
    """Write the files; those that are not refused. A refusal is one line that names the file and a remedy."""
    (folder / "in").mkdir()
    found = []
    for name, content in contents.items():
        (folder / "in" / name).write_bytes(content)
        try:
            found += list_files(chosen(folder, name).source)
        except UserError as refused:
            unclear = str(folder / "in" / name) not in str(refused) or "\n" in str(refused) or "; " not in str(refused)
            if unclear:
                pytest.fail(f"{name}: {refused}")
    return found


def accounted(spark, folder: Path, contents: dict[str, bytes]) -> tuple[Account, dict[str, int]]:
    """The account over all usable files, and rows read by file; every file's rows add up."""
    files = usable(folder, contents)
    ingest = classify(spark, files, chosen(folder))
    counts = ingest.file_counts.toPandas()
    assert sorted(counts["source_file"]) == sorted(file.name for file in files)
    assert (counts["rows_read"] == counts["rows_kept"] + counts["rows_rejected"] + counts["rows_duplicate"]).all()
    return ingest.account, dict(zip(counts["source_file"], counts["rows_read"], strict=True))


def named(contents: dict[str, bytes], ending: str) -> dict[str, bytes]:
    return {f"{k:03d}{ending}": content for k, content in enumerate(contents.values())}


def test_there_are_many_malformed_inputs():
    assert len(CSV) + len(JSON) + len(PARQUET) >= 100


def test_malformed_files_are_refused_or_accounted_for(spark, tmp_path):
    zipped = {
        "whole.csv.gz": gzip.compress(one(GOOD)), "empty.csv.gz": gzip.compress(b""), "none.csv.gz": b"",
        "cut.csv.gz": gzip.compress(one(GOOD) * 9)[:-9], "plain.csv.gz": one(GOOD),
        "rest.csv.gz": gzip.compress(one(GOOD)) + b"x",
        "twice.csv.gz": gzip.compress(gzip.compress(one(GOOD))),
        "two.csv.gz": gzip.compress(one(GOOD)) + gzip.compress(b"2," + GOOD.encode()),
        "rows.jsonl.gz": gzip.compress(json.dumps(ROW).encode()),
        "cut.jsonl.gz": gzip.compress(json.dumps(ROW).encode() * 9)[:-9],
    }  # fmt: skip
    after_a_row = {name: json.dumps(ROW).encode() + b"\n" + content for name, content in JSON.items()}
    files = (
        named(CSV, ".csv") | named(JSON, ".jsonl") | named(after_a_row, "+.jsonl") | named(PARQUET, ".parquet") | zipped
    )
    account, rows = accounted(spark, tmp_path, files)
    assert account.kept > 0
    assert account.rejected > 0
    assert rows["whole.csv.gz"] == 1


FIELDS = st.one_of(
    st.text(max_size=12), st.sampled_from(GOOD.split(",")), st.floats().map(str), st.datetimes().map(str)
)
ROWS = st.lists(FIELDS, min_size=1, max_size=13).map(",".join)
FILES = st.one_of(
    st.binary(max_size=200),
    st.lists(ROWS, max_size=4).map(lambda rows: lines(*rows).encode("utf-8", "surrogatepass")),
    st.binary(max_size=60).map(lambda rest: (HEADER + "\n").encode() + rest),
)
KEYS = st.dictionaries(st.sampled_from(HEADER.split(",")), st.one_of(FIELDS, st.integers(), st.floats(), st.none()))
OBJECTS = st.one_of(KEYS.map(lambda row: json.dumps(row).encode()), st.binary(max_size=30))


@pytest.mark.slow
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=True)
@given(
    csv=st.lists(FILES, min_size=30, max_size=30),
    jsonl=st.lists(st.lists(OBJECTS, max_size=4).map(b"\n".join), min_size=30, max_size=30),
)
def test_files_that_nobody_thought_of_are_refused_or_accounted_for(spark, tmp_path_factory, csv, jsonl):
    files = {f"{k:02d}.csv": content for k, content in enumerate(csv)}
    files |= {f"{k:02d}.jsonl": content for k, content in enumerate(jsonl)}
    files["whole.csv"] = one(GOOD)
    account, _ = accounted(spark, tmp_path_factory.mktemp("found"), files)
    assert account.kept >= 1
