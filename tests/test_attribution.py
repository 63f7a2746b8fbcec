"""Attributions of a network's forecast: they sum up, and they find what really matters."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from conftest import run_job
from test_networks import small
from test_stcnn import REGIONS, cutoff, panel, trained

from stspark.models.deep.attribution import Part, _largest, _shares, attribute
from stspark.models.deep.checkpoint import load_checkpoint
from stspark.report.networks import Attributions, render


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """A network that learned the promotion's effect; the promotion runs on all of region B's coming days."""
    made = panel()
    made.covariates[-7:, 1] = 1.0
    folder = trained(tmp_path_factory.mktemp("x"), made, [cutoff(0)], small("stcnn", epochs=30, seeds=2))
    network, scaler = load_checkpoint(folder, made, cutoff(0))
    return attribute(network, made, scaler, region=1)


def test_the_parts_sum_to_the_forecasts_news(explained):
    assert {part.error for part in explained if part.kind in ("region", "lag", "covariate", "base")} != set()
    assert max(part.error for part in explained if not np.isnan(part.error)) < 0.05
    by_kind = {kind: sum(p.value for p in explained if p.kind == kind) for kind in ("region", "lag")}
    assert by_kind["region"] == pytest.approx(by_kind["lag"], rel=1e-4, abs=1e-5)


def test_the_promotion_is_the_covariate_that_counts(explained):
    covariates = {part.source: part.value for part in explained if part.kind == "covariate"}
    assert max(covariates, key=lambda name: abs(covariates[name])) == "promotion"
    assert covariates["promotion"] > 0


def test_w_and_the_learned_adjacency_stand_side_by_side(explained):
    weights = {part.source: part.value for part in explained if part.kind == "weight"}
    assert weights == {"A": 0.5, "C": 0.5}
    learned = [part.value for part in explained if part.kind == "learned_weight"]
    assert len(learned) == REGIONS
    assert sum(learned) == pytest.approx(1.0, abs=1e-5)


def test_what_a_network_does_not_see_is_not_blamed(tmp_path):
    """A GRU reads its own region only."""
    made = panel()
    folder = trained(tmp_path, made, [cutoff(0)], small("gru", epochs=2))
    network, scaler = load_checkpoint(folder, made, cutoff(0))
    parts = attribute(network, made, scaler, region=1)
    assert {part.source for part in parts if part.kind in ("region", "occlusion")} == {"B"}


@pytest.mark.spark
@pytest.mark.slow
def test_the_job_explains_every_region_of_a_run(small_run):
    [report] = [path.read_text() for path in small_run.reports.rglob(f"{small_run.ran.run_id}/index.html")]
    ran = run_job("attribute", *small_run.arguments)
    assert ran.code == 0, ran.err
    rows = small_run.rows("attributions")
    regions = set(small_run.table("regions")["region"])
    assert set(rows["region"]) == regions
    assert {"region", "lag", "covariate", "base", "share", "occlusion", "weight", "learned_weight"} == set(rows["kind"])
    np.testing.assert_allclose(rows[rows["kind"] == "share"].groupby(["region", "model"])["value"].sum(), 1.0)
    assert rows["completeness_error"].dropna().quantile(0.9) < 0.1
    [page] = small_run.reports.rglob("networks.html")
    assert str(page.relative_to(small_run.reports)) in ran.out + ran.err
    before, after = report.replace('<p id="networks" hidden>', '<p id="networks">'), page.with_name("index.html")
    assert report != before
    assert after.read_text() == before, "the report leads to the page, and nothing else of it has changed"
    text = page.read_text()
    page.unlink()
    after.write_text(report)  # other tests look at the run as the pipeline left it
    assert "Who listens to whom: stcnn" in text
    assert all(f"<b>{name}</b>" in text for name in small_run.table("regions")["name"])


def attributed(*rows, model="stcnn"):
    """Rows (region, kind, source, value) as the page gets them."""
    made = pd.DataFrame(rows, columns=["region", "kind", "source", "value"])
    return made.assign(model=model, completeness_error=np.where(made["kind"] == "lag", 0.01, np.nan))


def page_of(*rows, names, regions=2):
    means = pd.DataFrame([("stcnn", "own past", 0.6), ("stcnn", "seasons", 0.4)], columns=["model", "source", "value"])
    return render(Attributions("Shop", "shop", "run", date(2025, 1, 1), attributed(*rows), means, names, regions))


LAGS = (("1", "lag", "0", 3.0), ("1", "lag", "1", -1.0), ("1", "lag", "others", 8.0), ("2", "lag", "2", 1.0))


@pytest.mark.parametrize(("hidden", "said", "drawn"), [
    pytest.param((("1", "occlusion", "1", 9.0), ("1", "occlusion", "2", -1.0)), "&lt;A&gt; listens to B", True, id="B"),
    pytest.param((("1", "occlusion", "1", 9.0),), "It looks at one region at a time", False, id="nobody"),
])  # fmt: skip
def test_the_page_says_who_listens_to_whom(hidden, said, drawn):
    """Names of regions are escaped, and days back are not taken for regions whose keys are numbers."""
    text = page_of(*LAGS, *hidden, names={"1": "<A>", "2": "B"})
    assert said in text
    assert ("Who listens to whom: stcnn" in text) is drawn
    assert ("B (10%)" in text) is drawn
    assert "<A>" not in text
    assert "day 0 (75%), day 1 (25%)" in text
    assert "60% of what moves a forecast is the region&#x27;s own past" in text


@pytest.mark.parametrize(("regions", "said"), [(2, False), (1000, True)])
def test_the_page_says_how_many_regions_it_leaves_out(regions, said):
    text = page_of(*LAGS, names={"1": "A", "2": "B"}, regions=regions)
    assert f"in the mean over {regions:,} regions" in text
    assert ("The 2 largest of 1,000 regions" in text) is said


def test_shares_are_of_the_sizes_of_all_parts():
    """Parts that cancel each other count, and a region's own past is named however small it is."""
    made = {part.source: part.value for part in _shares([1.0] + [2.0, -2.0] * 20, 0, [3.0, -3.0], -13.0)}
    assert made == {"own past": 0.01, "other regions": 0.8, "coming days": 0.06, "seasons": 0.13}
    assert _shares([0.0, 0.0], 0, [0.0], 0.0) == []
    kept = _largest("region", range(41), [1.0] + [2.0, -2.0] * 20, 0.0, always=0)
    assert kept[0] == Part("region", "0", 1.0, 0.0)
    assert len(kept) == 31
    assert sum(part.value for part in kept) == 1.0
