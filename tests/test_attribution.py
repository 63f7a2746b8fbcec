"""Attributions of a network's forecast: they sum up, and they find what really matters."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from conftest import run_job
from test_networks import small
from test_stcnn import REGIONS, cutoff, panel, trained

from stspark.models.deep.attribution import attribute
from stspark.models.deep.checkpoint import load_checkpoint
from stspark.report.networks import Attributions, render, shares


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
    ran = run_job("attribute", *small_run.arguments)
    assert ran.code == 0, ran.err
    rows = small_run.rows("attributions")
    regions = set(small_run.table("regions")["region"])
    assert set(rows["region"]) == regions
    assert {"region", "lag", "covariate", "base", "occlusion", "weight", "learned_weight"} == set(rows["kind"])
    assert rows["completeness_error"].dropna().quantile(0.9) < 0.1
    [page] = small_run.reports.rglob("networks.html")
    assert str(page.relative_to(small_run.reports)) in ran.out + ran.err
    assert 'href="networks.html"' in page.with_name("index.html").read_text()
    text = page.read_text()
    assert "Who listens to whom: stcnn" in text
    assert all(f"<b>{name}</b>" in text for name in small_run.table("regions")["name"])


def attributed(*rows, model="stcnn"):
    """Rows (region, kind, source, value) as the page gets them."""
    made = pd.DataFrame(rows, columns=["region", "kind", "source", "value"])
    return made.assign(model=model, completeness_error=np.where(made["kind"] == "occlusion", np.nan, 0.01))


HALF_EACH = (
    ("a", "region", "a", -3.0), ("a", "region", "b", 1.0), ("a", "covariate", "holiday", 2.0),
    ("a", "base", "week", 2.0),
    ("b", "region", "a", 0.0), ("b", "region", "b", 4.0), ("b", "lag", "0", 3.0), ("b", "lag", "6", -1.0),
)  # fmt: skip


def test_shares_are_of_the_parts_sizes():
    found = shares(attributed(*HALF_EACH))
    assert found.loc["a"].to_dict() == {"own": 3 / 8, "others": 1 / 8, "covariate": 2 / 8, "base": 2 / 8}
    assert found.loc["b"].to_dict() == {"own": 1.0, "others": 0.0, "covariate": 0.0, "base": 0.0}


@pytest.mark.parametrize(("hidden", "said", "drawn"), [
    pytest.param((("a", "occlusion", "a", 9.0), ("a", "occlusion", "b", -1.0)), "&lt;A&gt; listens to B", True, id="b"),
    pytest.param((("a", "occlusion", "a", 9.0),), "It looks at one region at a time", False, id="nobody"),
])  # fmt: skip
def test_the_page_says_who_listens_to_whom(hidden, said, drawn):
    names = {"a": "<A>", "b": "B"}
    rows = attributed(*HALF_EACH, *hidden)
    text = render(Attributions("Shop", "shop", "run", date(2025, 1, 1), rows, names, regions=2))
    assert said in text
    assert ("Who listens to whom: stcnn" in text) is drawn
    assert "<A>" not in text
    assert "day 0 (75%), day 6 (25%)" in text
