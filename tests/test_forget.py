"""Erasing a person: nothing of them is left in any file, and they do not come back with the next ingest."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from conftest import run_job
from test_incremental import Shop

from stspark.forget import Person, search
from stspark.privacy import hashed

KEY = "a key of the test"
ROWS = [
    f"{k},2024-01-{1 + k % 20:02d}T10:00:00Z,order,{['north', 'south'][k % 2]},{user},mug,1,{2 + k}"
    for k, user in enumerate(["ann", "bob", "cy", "dora"] * 15)
]
ROWS[1] = ROWS[1].replace("south", "isle")
BAD = ["b1,2024-01-05T10:00:00Z,order,north,bob,mug,many,2", "b2,2024-01-05T10:00:00Z,order,north,bob,mug",
       "b3,2024-01-05T10:00:00Z,order,north,bobby,mug"]  # fmt: skip


@pytest.fixture(scope="module")
def forgotten(spark, tmp_path_factory):
    """A shop that knew four people, two ingests long, and then forgot one: the shop, what the job said."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("STSPARK_USER_KEY", KEY)
        shop = Shop(tmp_path_factory.mktemp("forgotten") / "shop")
        shop.arrive({"1.csv": ROWS[:30] + BAD})
        shop.arrive({"2.csv": ROWS[30:]})
        before = shop.table(spark, "region_day")
        held = search([str(shop.folder / "warehouse")], Person.of("bob", KEY))[1]
        ran = run_job("forget", "--config", str(shop.folder / "shop.yaml"), "--user", "bob")
        yield shop, before, held, ran


def test_the_job_says_what_it_did(forgotten):
    ran = forgotten[3]
    assert ran.code == 0, ran.err
    assert "15 events erased" in ran.out
    assert "none holds the person" in ran.out
    assert "out of reach" in ran.out
    assert re.search(r"no event left +in isle: no longer in region_day", ran.out)


def test_the_search_finds_a_person_who_is_there(forgotten):
    """Before, the person was in data files; a search that finds nothing ever would prove nothing."""
    assert any("/events/" in path for path in forgotten[2])
    assert any("/events_rejected/" in path for path in forgotten[2])


def test_no_file_of_the_warehouse_holds_the_person(forgotten):
    shop = forgotten[0]
    files, found = search([str(shop.folder / "warehouse")], Person.of("bob", KEY))
    assert files > 20
    assert found == []
    others, theirs = search([str(shop.folder / "warehouse")], Person.of("ann", KEY))
    assert others == files
    assert theirs


def test_the_days_are_built_without_the_person(spark, forgotten):
    shop, before, _, _ = forgotten
    after = shop.table(spark, "region_day")
    gone = sum(2.0 + k for k in range(60) if k % 4 == 1)
    assert after["target"].sum() == pytest.approx(before["target"].sum() - gone)
    assert after["users"].sum() < before["users"].sum()


def test_rejected_rows_of_others_stay(spark, forgotten):
    texts = forgotten[0].table(spark, "events_rejected")["raw_text"].tolist()
    assert [text for text in texts if "bobby" in text] == [BAD[2]]
    assert not any('"bob"' in text or ",bob," in text for text in texts)


def test_the_person_does_not_come_back(spark, forgotten):
    """All raw files are cleaned anew: their rows are rejected, without their text."""
    shop = forgotten[0]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("STSPARK_USER_KEY", KEY)
        shop.arrive({}, "--full")
    events = spark.read.format("delta").load(str(shop.folder / "warehouse/shop/events"))
    assert events.where(events["user_id"] == hashed("bob", KEY)).count() == 0
    rejected = shop.table(spark, "events_rejected")
    assert rejected["reason"].value_counts()["forgotten"] == 16  # 15 orders and the one of `many` pieces
    assert rejected.loc[rejected["reason"] == "forgotten", "raw_text"].isna().all()
    counts = shop.table(spark, "ingested_files")
    parts = counts["rows_kept"] + counts["rows_rejected"] + counts["rows_duplicate"]
    pd.testing.assert_series_equal(counts["rows_read"], parts, check_names=False)


def test_who_was_the_only_one_is_erased_although_no_day_can_be_built(tmp_path, monkeypatch):
    monkeypatch.setenv("STSPARK_USER_KEY", KEY)
    shop = Shop(tmp_path / "shop")
    shop.arrive({"1.csv": [f"{k},2024-01-{1 + k:02d}T10:00:00Z,order,west,eve,mug,1,2" for k in range(9)]})
    assert search([str(shop.folder / "warehouse")], Person.of("eve", KEY))[1] != []
    ran = run_job("forget", "--config", str(shop.folder / "shop.yaml"), "--user", "eve")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert search([str(shop.folder / "warehouse")], Person.of("eve", KEY))[1] == []


def test_hashes_are_those_of_the_table(spark, forgotten):
    events = spark.read.format("delta").load(str(forgotten[0].folder / "warehouse/shop/events"))
    found = {row[0] for row in events.select("user_id").distinct().collect()}
    assert found == {hashed(user, KEY) for user in ("ann", "cy", "dora")}
