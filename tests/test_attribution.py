"""Attributions of a network's forecast: they sum up, and they find what really matters."""

import numpy as np
import pytest
from conftest import run_job
from test_networks import small
from test_stcnn import REGIONS, cutoff, panel, trained

from stspark.models.deep.attribution import attribute
from stspark.models.deep.checkpoint import load_checkpoint


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
