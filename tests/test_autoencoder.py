"""The autoencoder keeps what tells regions apart, and groups those that are alike."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from conftest import run_job
from test_stcnn import FIRST, panel

from stspark.models.deep.autoencoder import AutoencoderConfig, describe
from stspark.snapshot import Manifest, Snapshot

DAYS = 200


def two_kinds(seed=0):
    """Eight regions of very different size: four with a strong weekend, four with a strong Monday."""
    g, t = np.random.default_rng(seed), np.arange(DAYS)
    weekend, monday = 1 + 0.8 * (t % 7 >= 5), 1 + 0.8 * (t % 7 == 0)
    size = np.array([10.0, 200.0, 3000.0, 50.0] * 2)
    shape = np.stack([weekend] * 4 + [monday] * 4, axis=1)
    y = size * shape * np.exp(0.05 * g.standard_normal((DAYS, 8)))
    names = tuple("ABCDEFGH")
    manifest = Manifest("v", names, FIRST, DAYS, DAYS + 7, (), (), 7, 7, (0.5,), seed=1)
    everything = np.ones((DAYS, 8), dtype=bool)
    return Snapshot(manifest, y, everything, everything, np.zeros((DAYS + 7, 8, 0)), np.zeros((8, 8)))


@pytest.mark.parametrize("seed", range(3))
def test_regions_that_behave_alike_share_a_group_whatever_their_size(seed):
    made = describe(two_kinds(seed), AutoencoderConfig(groups=2))
    assert made.restored > 0.8
    assert len(set(made.group[:4])) == 1
    assert len(set(made.group[4:])) == 1
    assert made.group[0] != made.group[4]


def test_the_unit_of_measure_does_not_matter():
    one = two_kinds()
    features = [
        describe(replace(one, y=scale * one.y), AutoencoderConfig(epochs=2)).features for scale in (1.0, 1000.0)
    ]
    np.testing.assert_allclose(*features, atol=1e-3)


def test_the_future_changes_nothing():
    one = two_kinds()
    other = replace(one, y=one.y.copy())
    other.y[-10:] = 1.0
    cutoff = FIRST + timedelta(days=DAYS - 11)
    features = [describe(s.known_on(cutoff), AutoencoderConfig(epochs=2)).features for s in (one, other)]
    np.testing.assert_array_equal(*features)


def test_a_region_that_has_not_started_has_no_group():
    early = panel().known_on(FIRST + timedelta(days=58))
    made = describe(early, AutoencoderConfig(epochs=1, groups=2))
    assert made.group[2] == -1
    assert np.isnan(made.features[2]).all()
    assert (made.group[[0, 1, 3]] >= 0).all()


def test_weeks_that_never_change_have_no_share_restored():
    flat = two_kinds()
    assert np.isnan(describe(replace(flat, y=np.full_like(flat.y, 4.0)), AutoencoderConfig(epochs=1)).restored)


@pytest.mark.spark
@pytest.mark.slow
def test_the_job_groups_every_region_of_a_run(small_run):
    ran = run_job("group", *small_run.arguments)
    assert ran.code == 0, ran.err
    rows = small_run.rows("region_groups")
    assert sorted(rows["region"]) == sorted(small_run.table("regions")["region"])
    assert rows["group_number"].between(1, 4).all()
    assert rows["feature_1"].notna().all()
