"""Boosted trees trained by executors together: a usable model, with the same parameters' shape as the local fit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from shop_panel import QUANTILES, cutoff_of, shop_panel
from test_boosted_trees import SMALL

from stspark.boosting import fit_distributed, fitted_before, need_slots, shared_out, training_rows
from stspark.errors import EnvironmentMistake
from stspark.models.panel.boosted.model import learning_design
from stspark.models.panel.boosted.sample import draw
from stspark.panel_models import PanelTask, fit_panels
from stspark.settings import Model
from stspark.snapshot import Snapshot, load_snapshot, write_atomically

pytestmark = pytest.mark.spark
ONE = replace(SMALL, boosters=1)


def written(panel: Snapshot, folder) -> str:
    """The panel as the folder that the training job writes."""
    days, regions = panel.y.shape
    day, region = (part.ravel() for part in np.indices((days, regions)))
    rows = {"region_index": region, "date_index": day, "y": panel.y.ravel(), "observed": panel.observed.ravel()}
    rows |= {name: panel.covariates[:, :, k].ravel() for k, name in enumerate(panel.manifest.covariates)}
    frame = pd.DataFrame(rows)[panel.alive.ravel()]
    (folder / "panel").mkdir(parents=True)
    frame.to_parquet(folder / "panel" / "part-0.parquet", index=False)
    write_atomically(folder / "manifest.json", panel.manifest.to_json().encode())
    return str(folder)


@pytest.fixture(scope="module")
def panel():
    return shop_panel(110)


@pytest.fixture(scope="module")
def snapshot(panel, tmp_path_factory):
    return written(panel, tmp_path_factory.mktemp("boosting"))


def test_executors_make_the_rows_of_the_local_fit(spark, panel, snapshot):
    cutoff, seed = cutoff_of(panel), SMALL.seeds(0)[0]
    local = draw(learning_design(load_snapshot(snapshot).known_on(cutoff)), SMALL.rows, SMALL.half_life, seed)
    made = training_rows(spark, snapshot, cutoff, SMALL, seed).toPandas()
    assert len(made) == len(local.z)
    order, other = np.lexsort((made["weight"], made["label"])), np.lexsort((local.weight, local.z))
    np.testing.assert_allclose(made["label"].to_numpy()[order], local.z[other])
    features = np.array(made["features"].tolist(), dtype=np.float32)[order]
    np.testing.assert_array_equal(features, local.x[other].astype(np.float32))


def test_more_workers_than_origins_all_get_rows_in_their_order(spark, tmp_path):
    """Two months give four days to learn from."""
    short = shop_panel(60)
    rows = training_rows(spark, written(short, tmp_path / "s"), short.manifest.day(59), SMALL, 1)
    parts = shared_out(rows, 8).withColumn("worker", F.spark_partition_id()).toPandas().groupby("worker")
    sizes = parts.size()
    assert len(sizes) == 8
    assert sizes.max() - sizes.min() <= 4
    assert all(part[["origin", "number"]].apply(tuple, axis=1).is_monotonic_increasing for _, part in parts)


def test_two_workers_train_a_usable_model(spark, panel, snapshot):
    cutoff = cutoff_of(panel)
    parameters = json.loads(json.dumps(fit_distributed(spark, snapshot, cutoff, ONE, workers=2)))
    known, truth = load_snapshot(snapshot).known_on(cutoff), panel.y[-panel.manifest.horizon :].T
    made = ONE.predict(parameters, known, QUANTILES)
    local = ONE.predict(ONE.fit(known), known, QUANTILES)
    assert set(parameters) == set(ONE.fit(known))

    def wape(forecast):
        return np.abs(forecast[:3, :, 0] - truth[:3]).sum() / truth[:3].sum()

    assert wape(made) < max(0.12, 1.5 * wape(local))


def test_a_history_without_examples_is_refused(spark, tmp_path):
    short = shop_panel(10)
    with pytest.raises(ValueError, match="10 days of history give 0 examples for 1 workers"):
        fit_distributed(spark, written(short, tmp_path / "s"), short.manifest.day(9), ONE, workers=1)


def test_too_few_slots_are_an_error_instead_of_a_stage_that_waits(spark):
    with pytest.raises(EnvironmentMistake, match=r"training\.processes.* is 10000"):
        need_slots(spark, 10_000)


def test_a_distributed_model_takes_part_like_any_other(spark, panel, snapshot, tmp_path):
    """Two cutoffs, of which the first has too little history: it fails alone, and says why."""
    small = {"rows": 1500, "boosters": 1, "rounds": 40, "learning_rate": 0.2, "columns": 0.5, "distributed": True}
    cutoffs = (panel.manifest.day(20), cutoff_of(panel))
    task = PanelTask((Model(name="boosted_trees", **small),), snapshot, str(tmp_path), cutoffs, 60)
    rows = fit_panels(spark, fitted_before(spark, task, workers=2)).toPandas()
    told = rows[rows["kind"] == "model"].set_index("cutoff")
    assert told.loc[cutoffs[1], "status"] == "ok"
    assert told.loc[cutoffs[0], "status"] != "ok"
    made = rows[(rows["kind"] == "forecast") & (rows["cutoff"] == cutoffs[1])]
    assert len(made) == 4 * panel.manifest.horizon
    assert made["y_hat"].notna().all()
