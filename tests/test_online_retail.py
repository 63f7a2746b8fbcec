"""Online Retail's daily files: in any order, twice or in one go they leave the same tables, and pandas' revenue."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, run_job

DATA = ROOT.parent / "shared/data/online_retail"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data set is not there")
FILES = 14  # of 305, spread over the year
NOT_A_PRODUCT = re.compile(r"(POST|DOT|M|D|S|B|C2|CRUK|PADS|BANK CHARGES|AMAZONFEE|DCGS.*|GIFT.*|TEST.*)")


def chosen_files() -> list[Path]:
    files = sorted(DATA.glob("20*.csv.gz"))
    return [files[k] for k in np.linspace(0, len(files) - 1, FILES).astype(int)]


class Folder:
    """A folder into which daily files come, with conf/online_retail.yaml for it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "in").mkdir(parents=True)
        config = yaml.safe_load((ROOT / "conf/online_retail.yaml").read_text(encoding="utf-8"))
        config["source"]["path"] = str(home / "in")
        config["regions"]["file"] = str(DATA / "regions.csv")
        config["calendar"] = {"holidays": False}
        config |= {"warehouse": str(home / "warehouse"), "reports": str(home / "reports")}
        (home / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def ingest(self, *files: Path) -> str:
        for file in files:
            shutil.copy(file, self.home / "in" / file.name)
        ran = run_job("ingest", "--config", str(self.home / "config.yaml"))
        assert ran.code == 0, ran.err
        return ran.out

    def table(self, spark, name: str) -> pd.DataFrame:
        frame = spark.read.format("delta").load(str(self.home / "warehouse/online_retail" / name)).toPandas()
        return frame.sort_values(list(frame.columns), ignore_index=True)


@pytest.fixture(scope="module")
def once(spark, tmp_path_factory):
    """All files in one go."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("STSPARK_USER_KEY", "key")
        folder = Folder(tmp_path_factory.mktemp("once") / "shop")
        folder.ingest(*chosen_files())
    return folder


@pytest.fixture(scope="module")
def by_and_by(spark, tmp_path_factory):
    """The latest file first, then the others backwards in two parts, one of them sent again under another name."""
    files = chosen_files()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("STSPARK_USER_KEY", "key")
        folder = Folder(tmp_path_factory.mktemp("by_and_by") / "shop")
        folder.ingest(files[-1])
        folder.ingest(*files[7:-1])
        shutil.copy(files[3], folder.home / "in" / "2099-01-01.csv.gz")
        folder.ingest(*files[:7])
        assert re.search(r"\(0 new\)", folder.ingest(*files))
    return folder


@pytest.mark.parametrize("name", ["events", "events_rejected", "ingested_files"])
def test_the_order_of_arrival_leaves_no_trace(spark, once, by_and_by, name):
    pd.testing.assert_frame_equal(once.table(spark, name), by_and_by.table(spark, name), check_exact=True)


def test_revenue_by_country_and_month_is_that_of_pandas(spark, once):
    """The documented rules on the raw files: no repeats, products only, with a price; returns are negative."""
    raw = pd.concat(pd.read_csv(file, dtype=str, keep_default_na=False) for file in chosen_files()).drop_duplicates()
    quantity, price = raw["Quantity"].astype(float), raw["UnitPrice"].astype(float)
    returned = raw["InvoiceNo"].str.startswith("C")
    product = ~raw["StockCode"].str.upper().map(lambda code: bool(NOT_A_PRODUCT.fullmatch(code)))
    good = product & (price > 0) & ((quantity > 0) | returned)
    amount = (quantity.where(~returned, -quantity.abs()) * price)[good]
    wanted = amount.groupby([raw["Country"][good], raw["InvoiceDate"][good].str[:7]]).sum().round(2)
    events = once.table(spark, "events")
    month = pd.to_datetime(events["date"]).dt.strftime("%Y-%m")
    found = events["amount"].groupby([events["region"], month]).sum().round(2)
    assert len(wanted) > 40
    pd.testing.assert_series_equal(found, wanted, check_names=False, atol=0.011)


def test_every_oddity_is_seen(spark, once):
    reasons = once.table(spark, "events_rejected")["reason"].value_counts()
    assert set(reasons.index) == {"not_a_product", "no_price", "negative_without_invoice"} & set(reasons.index)
    assert reasons["not_a_product"] > 0
    events = once.table(spark, "events")
    assert (events.loc[events["event_type"] == "return", "quantity"] < 0).all()
    assert events["user_id"].isna().any()
    assert once.table(spark, "ingested_files")["rows_duplicate"].sum() > 0
