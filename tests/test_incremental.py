"""Incremental ingest and features: whatever the order of arrival, the tables are those of one go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import run_job

from stspark.changes import Basis
from stspark.features.incremental import Known, Window, reached
from stspark.ingest import ledger
from stspark.ingest.files import InputFile
from stspark.settings import Time

FIRST = date(2024, 1, 1)
DAYS = 45


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


# The ledger's plan, on a model of the tables -------------------------------------------------------

Rows = dict[int, str]  # id -> content


class Tables:
    """A model of the tables: which file's row is kept for each id, and the ledger with what each file repeats."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[str, str]] = {}  # id -> file, content
        self.fates: dict[str, dict[int, str]] = {}
        self.entries: list[ledger.Entry] = []

    def take_in(self, disk: dict[str, Rows], cleaning: str = "rules") -> int:
        files = [file(name, rows) for name, rows in sorted(disk.items())]
        plan = ledger.plan(files, self.entries, cleaning)
        while True:
            gone = {e.source_file for e in plan.withdraw}
            kept = {k: v for k, v in self.kept.items() if v[0] not in gone}
            fates, repeats, before = {}, {}, set()
            for f in plan.read:
                fates[f.name], repeats[f.name] = {}, set()
                for key, content in disk[f.name].items():
                    owner, same = kept.setdefault(key, (f.name, content))
                    fates[f.name][key] = "kept" if owner == f.name else "twin" if same == content else "rejected"
                    repeats[f.name] |= {owner} - {f.name}
                    before |= {owner} if owner > f.name else set()
            wider = ledger.widened(plan, before, files, self.entries)
            if wider == plan:
                break
            plan = wider
        self.kept = kept
        self.fates = {f: v for f, v in self.fates.items() if f not in gone} | fates
        self.entries = [e for e in self.entries if e.source_file not in gone] + [
            ledger.Entry(f.name, f.content_hash, cleaning, ledger.ingest_id(f, cleaning), frozenset(repeats[f.name]))
            for f in plan.read
        ]
        return len(plan.read)


def file(name: str, rows: Rows) -> InputFile:
    return InputFile(Path(name), name, str(sorted(rows.items())), ("id",))


def random_rows(rng: np.random.Generator) -> Rows:
    return {int(k): str(rng.integers(2)) for k in rng.integers(0, 6, size=3)}


@pytest.mark.parametrize("seed", range(300))
def test_any_order_of_arrival_gives_the_tables_of_one_go(seed):
    """Files come in any order and are replaced, sent twice or renamed; six ids and two contents make many repeats."""
    rng = np.random.default_rng(seed)
    disk: dict[str, Rows] = {}
    grown = Tables()
    for _ in range(6):
        for name in rng.choice(list("abcdef"), size=rng.integers(1, 3), replace=False):
            disk[name] = random_rows(rng) if rng.random() < 0.8 or not disk else disk[rng.choice(sorted(disk))]
        then, fates = grown.entries, grown.fates
        grown.take_in(disk)
        told = ledger.changed(grown.entries, then)
        others = {f for f in {*fates, *grown.fates} if fates.get(f) != grown.fates.get(f)}
        assert {e.ingest_id for e in [*then, *grown.entries] if e.source_file in others} <= told
        assert grown.take_in(disk) == 0
    once = Tables()
    once.take_in(disk)
    assert grown.kept == once.kept
    assert grown.fates == once.fates
    assert set(grown.entries) == set(once.entries)


def test_a_file_that_is_gone_keeps_its_rows_until_it_comes_back_changed():
    tables = Tables()
    tables.take_in({"a": {1: "x"}, "b": {2: "x"}})
    assert tables.take_in({"b": {2: "x"}}) == 0
    assert tables.kept == {1: ("a", "x"), 2: ("b", "x")}
    assert tables.take_in({"moved": {1: "x"}, "b": {2: "x"}}) == 0  # the same content under another name
    assert tables.take_in({"a": {3: "x"}}) == 1
    assert tables.kept == {2: ("b", "x"), 3: ("a", "x")}


def test_other_rules_read_all_files_that_are_there_anew():
    tables = Tables()
    tables.take_in({"a": {1: "x"}, "b": {2: "x"}})
    assert tables.take_in({"b": {2: "x"}}, "other rules") == 1
    assert {e.source_file: e.cleaned_by for e in tables.entries} == {"a": "rules", "b": "other rules"}


# The days that a change reaches --------------------------------------------------------------------

STANDS = Known({"a": day(0), "b": day(10)}, frozenset("ab"), day(40))


def windows(*days: int) -> Window:
    return Window(*(day(k) for k in days))


@pytest.mark.parametrize(
    ("touched", "rows", "reach", "wanted"),
    [
        pytest.param([41], {"a": [41]}, 5, windows(36, 41, 41, 41), id="the next day"),
        pytest.param([43], {"a": [43]}, 5, windows(36, 41, 43, 43), id="a later day: those between are new too"),
        pytest.param([20], {"a": [20]}, 5, windows(15, 20, 25, 40), id="a late event"),
        pytest.param([20, 22], {"a": [20, 22]}, 5, windows(15, 20, 27, 40), id="two late days and those between"),
        pytest.param([38, 41], {"a": [38, 41]}, 5, windows(33, 38, 41, 41), id="late and new together"),
        pytest.param([20], {}, 5, windows(15, 20, 25, 40), id="a day that lost all its rows"),
        pytest.param([20], {"a": [20]}, None, windows(-20, 20, 40, 40), id="influence without end"),
        pytest.param([5], {"b": [5]}, 5, None, id="a region that begins earlier"),
        pytest.param([10], {"a": [10]}, 5, None, id="a region that no longer begins there"),
        pytest.param([10], {"a": [10], "b": [10]}, 5, windows(5, 10, 15, 40), id="a region's first day, corrected"),
        pytest.param([20], {"c": [20]}, 5, None, id="a region that was not there"),
        pytest.param([40], {}, 5, None, id="the last day is gone"),
        pytest.param([-3], {"a": [-3]}, 5, None, id="before the first day"),
    ],
)
def test_the_days_that_a_change_reaches(touched, rows, reach, wanted):
    there = {region: {day(k) for k in days} for region, days in rows.items()}
    assert reached([day(k) for k in touched], there, STANDS, Time(), reach) == wanted


def test_days_outside_of_the_configured_edges_need_a_full_build():
    assert reached([day(41)], {"a": {day(41)}}, STANDS, Time(end=day(40)), 5) is None


# Random arrivals through the jobs ------------------------------------------------------------------

HEADER = "id,time,type,city,user,item,pieces,price"
COMPARED = {
    "events": ["event_id", "event_time", "date", "region", "quantity", "price", "source_file", "ingest_id", "row_hash"],
    "events_rejected": ["reason", "column", "raw_text", "source_file", "ingest_id"],
    "ingested_files": None,
    "regions": None,
    "region_edges": None,
    "calendar": None,
    "region_day": None,
}


def shop_files(rng: np.random.Generator) -> dict[str, list[str]]:
    """A file a day of three regions; some days have none, some rows come late, twice or cannot be read."""
    files: dict[str, list[str]] = {}
    for k in range(DAYS):
        if rng.random() < 0.15 and 0 < k < DAYS - 1:
            continue
        rows = []
        for n in range(int(rng.integers(2, 7))):
            when = day(max(0, k - int(rng.integers(0, 4)) * (rng.random() < 0.2)))
            region = rng.choice(["north", "south", "west"])
            pieces = rng.choice(["1", "2", "many"], p=[0.6, 0.35, 0.05])
            kind = rng.choice(["order", "return"], p=[0.8, 0.2])
            price = round(float(rng.gamma(2, 5)), 2)
            rows.append(f"{k}-{n},{when}T{n:02d}:00:00Z,{kind},{region},u{n},mug,{pieces},{price}")
        rows += ["0-a,2024-01-01T10:00:00Z,order,north,u,mug,1,1", "0-b,2024-01-01T10:00:00Z,order,south,u,mug,1,1",
                 "0-c,2024-01-01T10:00:00Z,order,west,u,mug,1,1"] if k == 0 else []  # fmt: skip
        rows += [rng.choice(files[rng.choice(sorted(files))])] if files and rng.random() < 0.3 else []
        files[f"{day(k)}.csv"] = rows
    return files


class Shop:
    """A folder of daily files with its config; `arrive` runs ingest and features."""

    header = HEADER

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "events").mkdir(parents=True)
        columns = {"event_id": "id", "event_time": "time", "event_type": "type", "region": "city", "user_id": "user",
                   "item": "item", "quantity": "pieces", "price": "price"}  # fmt: skip
        config = {
            "dataset": "shop", "source": {"kind": "events", "path": str(folder / "events"), "columns": columns,
                                          "max_rejected_share": 1.0},
            "target": {"name": "sales"}, "models": [{"name": "seasonal_naive"}], "closed": {"weekdays": ["sun"]},
            "calendar": {"holidays": False},
            "warehouse": str(folder / "warehouse"), "reports": str(folder / "reports"),
        }  # fmt: skip
        (folder / "shop.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def arrive(self, files: dict[str, Sequence[str]], *options: str) -> str:
        for name, rows in files.items():
            (self.folder / "events" / name).write_text("\n".join([self.header, *rows, ""]), encoding="utf-8")
        told = ""
        for job in ("ingest", "features"):
            ran = run_job(job, "--config", str(self.folder / "shop.yaml"), *options)
            assert ran.code == 0, ran.err
            told += ran.err
        return told

    def table(self, spark, name: str) -> pd.DataFrame:
        frame = spark.read.format("delta").load(str(self.folder / "warehouse/shop" / name)).toPandas()
        columns = COMPARED[name] or list(frame.columns)
        return frame[columns].sort_values(columns, ignore_index=True)


@pytest.mark.parametrize("seed", range(1))
def test_random_arrivals_leave_the_tables_of_one_full_build(spark, tmp_path, monkeypatch, seed):
    """Daily files in random order, in two batches, the second with a replaced one; elsewhere all at once."""
    monkeypatch.setenv("STSPARK_USER_KEY", "key")
    rng = np.random.default_rng(seed)
    files = shop_files(rng)
    order = sorted(files)[:1] + list(rng.permutation(sorted(files)[1:]))
    grown, once = Shop(tmp_path / "grown"), Shop(tmp_path / "once")
    early, late = np.array_split(order, 2)
    told = [grown.arrive({name: files[name] for name in early})]
    replaced = str(rng.choice(sorted(early)[len(early) // 2 :]))
    files[replaced] = [row.replace(",mug,", ",cup,").replace(",1,", ",3,") for row in files[replaced][1:]]
    told.append(grown.arrive({name: files[name] for name in (*late, replaced)}))
    assert any("are built anew" in text for text in told), told  # not every one was a full build
    once.arrive(files, "--full")
    same_tables(spark, grown, once, COMPARED)


def same_tables(spark, one: Shop, other: Shop, names: Iterable[str]) -> None:
    for name in names:
        pair = [shop.table(spark, name) for shop in (one, other)]
        pd.testing.assert_frame_equal(*pair, check_exact=True, obj=name)


def test_an_id_that_a_file_takes_from_a_later_one_leaves_the_day_of_the_later_ones_row(spark, tmp_path, monkeypatch):
    """Both files have the id 7, on other days. The first by name keeps it; the other is read again under its old id."""
    monkeypatch.setenv("STSPARK_USER_KEY", "key")

    def row(key: str, number: int) -> str:
        return f"{key},{day(number)}T10:00:00Z,order,north,u,mug,1,5"

    files = {"b.csv": [*(row(f"b{k}", k) for k in range(30)), row("7", 20)], "a.csv": [row("7", 25)]}
    grown, once = Shop(tmp_path / "grown"), Shop(tmp_path / "once")
    grown.arrive({"b.csv": files["b.csv"]})
    kept = held(spark)
    grown.arrive({"a.csv": files["a.csv"]})
    assert held(spark) <= kept  # a stream goes on in the same session
    once.arrive(files)
    one, other = (shop.table(spark, "region_day")[["date", "target"]] for shop in (grown, once))
    assert float(other["target"][20]) == 5.0
    pd.testing.assert_frame_equal(one, other)


def held(spark) -> set[int]:
    """Frames that the session keeps, Delta's own apart."""
    rdds = spark.sparkContext._jsc.getPersistentRDDs()
    return {number for number, rdd in rdds.items() if not rdd.name().startswith("Delta Table State")}


# A panel with all that a day depends on -----------------------------------------------------------

PANEL_TABLES = ("regions", "region_edges", "calendar", "region_day")


class Panel(Shop):
    """A folder of panel files of four regions of two parents, with what is known ahead and what is not."""

    header = "day,where,sold,rain"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        places = [("a", "x"), ("b", "x"), ("c", "y"), ("d", "")]
        rows = [f"{region},0,{k},GB,{parent}" for k, (region, parent) in enumerate(places)]
        (folder / "regions.csv").write_text("\n".join(["region,lat,lng,country,parent", *rows, ""]), encoding="utf-8")
        known = [f"{day(k)},{region},{k % 3}" for k in range(DAYS + 20) for region in "abcd"]
        (folder / "promo.csv").write_text("\n".join(["day,where,promo", *known, ""]), encoding="utf-8")
        config = {
            "dataset": "shop", "target": {"name": "sales"}, "models": [{"name": "seasonal_naive"}],
            "source": {"kind": "panel", "path": str(folder / "events"),
                       "columns": {"date": "day", "region": "where", "target": "sold"}},
            "regions": {"file": str(folder / "regions.csv"), "neighbours": 2},
            "calendar": {"shopping_events": None}, "panel": {"noise_filter": True}, "time": {"horizon": 7},
            "covariates": [{"name": "promo", "known": "future", "file": str(folder / "promo.csv")},
                           {"name": "rain", "known": "past", "column": "rain"}],
            "warehouse": str(folder / "warehouse"), "reports": str(folder / "reports"),
        }  # fmt: skip
        (folder / "shop.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def panel_rows(rng: np.random.Generator, days: Sequence[int]) -> list[str]:
    return [
        f"{day(k)},{region},{rng.integers(1, 50)},{rng.integers(9)}"
        for k in days for region in "abcd" if k == 0 or rng.random() < 0.9
    ]  # fmt: skip


def test_a_panels_new_and_late_days_leave_the_tables_of_one_full_build(spark, tmp_path):
    rng = np.random.default_rng(3)
    files = {"0.csv": panel_rows(rng, [k for k in range(DAYS - 1) if k != 30]),
             "1.csv": panel_rows(rng, [DAYS - 1]), "2.csv": panel_rows(rng, [30])}  # fmt: skip
    grown, once = Panel(tmp_path / "grown"), Panel(tmp_path / "once")
    told = [grown.arrive({name: rows}) for name, rows in files.items()]
    assert ["are built anew" in text for text in told] == [False, True, True], told
    once.arrive(files, "--full")
    same_tables(spark, grown, once, PANEL_TABLES)
    # A build that died after the calendar's commit, from rows that are no longer those of the folder.
    path = str(grown.folder / "warehouse/shop/calendar")
    short = spark.read.format("delta").load(path).where("date < '2024-02-01'")
    other = Basis("another recipe", 0, 0).note()
    short.write.format("delta").mode("overwrite").option("userMetadata", other).save(path)
    assert run_job("features", "--config", str(grown.folder / "shop.yaml")).code == 0
    same_tables(spark, grown, once, PANEL_TABLES)
