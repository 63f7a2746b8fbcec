"""Panel models through the machinery, with fake ones: cutoffs, failures as data, stored parameters, names in config."""

import json
import time
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stspark import panel_models
from stspark.errors import ConfigError
from stspark.fleet.panel import run_cutoffs
from stspark.models.panel.registry import build, known
from stspark.names import NAIVE, NETWORKS, PANEL_MODELS, is_global
from stspark.panel_models import PanelTask
from stspark.settings import Model
from stspark.snapshot import Manifest, Snapshot, write_snapshot

FIRST, DAYS, HORIZON = date(2023, 1, 2), 40, 7
REGIONS = ("north", "south", "late")
QUANTILES = (0.1, 0.9)
CUTOFFS = tuple(FIRST + timedelta(days=DAYS - 1 - back) for back in (14, 7, 0))
LATE = 30
"""Day on which the third region starts."""


def snapshot() -> Snapshot:
    """Region r sells 10 (r + 1) + t; the third starts on day LATE."""
    t = np.arange(DAYS)
    alive = np.ones((DAYS, 3), dtype=bool)
    alive[:LATE, 2] = False
    y = np.where(alive, 10.0 * np.arange(1, 4) + t[:, None], 0.0)
    edges = ((0, 1, 1.0), (1, 0, 1.0), (2, 1, 1.0))
    manifest = Manifest("v1", REGIONS, FIRST, DAYS, DAYS + HORIZON, ("promotion",), edges, 7, HORIZON, QUANTILES)
    weights = np.array([[0.0, 1, 0], [1, 0, 0], [0, 1, 0]])
    return Snapshot(manifest, y, alive, alive, np.zeros((DAYS + HORIZON, 3, 1)), weights)


@dataclass(frozen=True)
class Last:
    """Repeats the last day; its parameters tell on which day it was fitted."""

    name = "last"
    min_length = 5
    carries_forward = False
    wide: float = 1.0

    def fit(self, panel):
        return {"fitted_on": len(panel.y), "state": "x" * 50}

    def predict(self, parameters, panel, quantiles):
        mean = np.where(panel.alive[-1], panel.y[-1], np.nan)[:, None, None]
        return np.tile(mean, (1, panel.manifest.horizon, 1)) + self.wide * np.array(
            [0.0, *(q - 0.5 for q in quantiles)]
        )


class Carried(Last):
    carries_forward = True


class Raises(Last):
    def fit(self, panel):
        raise ZeroDivisionError("no")


class Unlucky(Last):
    """For the small run of the whole pipeline."""

    def fit(self, panel):
        raise RuntimeError("no luck today")


class RaisesLater(Last):
    def fit(self, panel):
        if len(panel.y) == DAYS - 7:
            raise ZeroDivisionError("no")
        return super().fit(panel)


class Nan(Last):
    """Cannot forecast the first region."""

    def predict(self, parameters, panel, quantiles):
        made = super().predict(parameters, panel, quantiles)
        made[0, 3, 1] = np.nan
        return made


class Explodes(Last):
    def predict(self, parameters, panel, quantiles):
        return super().predict(parameters, panel, quantiles) * 1e6


class WrongShape(Last):
    def predict(self, parameters, panel, quantiles):
        return super().predict(parameters, panel, quantiles)[:, :3]


class Unstorable(Last):
    def fit(self, panel):
        return {"net": np.zeros(3)}


class NeedsYears(Last):
    min_length = 1000


class Sleeps(Last):
    def fit(self, panel):
        time.sleep(60)


class Crossed(Last):
    def predict(self, parameters, panel, quantiles):
        return super().predict(parameters, panel, quantiles)[:, :, [0, 2, 1]]


class Vandal(Last):
    def fit(self, panel):
        panel.y[:] = -1.0
        return super().fit(panel)


def attempts(model, seconds=30):
    return run_cutoffs(model, snapshot(), CUTOFFS, seconds)


def test_a_model_is_fitted_at_every_cutoff_or_once_where_it_carries_forward():
    assert [(a.parameters["fitted_on"], a.fits) for a in attempts(Last())] == [(26, 1), (33, 1), (40, 1)]
    assert [(a.parameters["fitted_on"], a.fits) for a in attempts(Carried())] == [(26, 1), (26, 0), (26, 0)]


def test_nothing_after_a_cutoff_is_seen_and_a_region_that_has_not_started_has_no_forecast():
    found = attempts(Last())
    assert [a.values[0, 0, 0] for a in found] == [35.0, 42.0, 49.0]
    assert [np.isnan(a.values[2]).all() for a in found] == [True, False, False]
    assert {a.status for a in found} == {"ok"}


@pytest.mark.parametrize(
    ("model", "status", "error"),
    [
        pytest.param(Raises(), "failed", r"ZeroDivisionError\('no'\) at cutoff 2023-01-27", id="raises"),
        pytest.param(WrongShape(), "failed", r"shape \(3, 3, 3\), wanted \(3, 7, 3\)", id="wrong shape"),
        pytest.param(Unstorable(), "failed", "cannot be stored as JSON", id="parameters that are no JSON"),
        pytest.param(NeedsYears(), "skipped", "needs 1000 days of history, has 26 on 2023-01-27", id="too short"),
        pytest.param(Sleeps(), "timeout", "longer than 1 s at cutoff 2023-01-27", id="hangs"),
    ],
)
def test_a_cutoff_that_fails_says_so_and_keeps_nothing(model, status, error):
    first = run_cutoffs(model, snapshot(), CUTOFFS[:1], 1)[0]
    assert (first.status, first.values, first.parameters) == (status, None, None)
    with pytest.raises(AssertionError, match=error):
        raise AssertionError(first.error)


def test_one_bad_cutoff_spoils_no_other():
    assert [a.status for a in attempts(RaisesLater())] == ["ok", "failed", "ok"]


def test_one_bad_region_is_lost_alone_and_noted():
    last = attempts(Nan())[-1]
    assert np.isnan(last.values[0]).all()
    assert np.isfinite(last.values[1:]).all()
    assert last.status == "failed"
    assert "1 of 3 regions is not finite or explodes, 'north' for one" in last.error


def test_forecasts_that_explode_are_refused():
    assert np.isnan(attempts(Explodes())[-1].values).all()


def test_quantiles_are_put_in_order_and_models_cannot_spoil_the_panel():
    np.testing.assert_array_equal(attempts(Crossed())[-1].values, attempts(Last())[-1].values)
    np.testing.assert_array_equal(attempts(Vandal())[-1].values, attempts(Last())[-1].values)


def test_the_names_in_config_are_those_of_the_registry():
    assert set(known()) == set(PANEL_MODELS)
    assert all(is_global(name) for name in (*PANEL_MODELS, *NETWORKS, "panel:test_panel_models:Last"))
    assert not any(is_global(name) for name in (NAIVE, "test_fleet:Mean"))


def test_a_users_own_panel_model_is_built_with_its_options():
    assert build("panel:test_panel_models:Last", {"wide": 3.0}) == Last(3.0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        pytest.param("panel:test_panel_models:Lost", {}, "has no class 'Lost'; did you mean 'Last'", id="no class"),
        pytest.param("panel:nowhere:Last", {}, "cannot import 'nowhere'", id="no module"),
        pytest.param("panel:test_panel_models:Last", {"wyde": 1}, "is no option of this model", id="no option"),
        pytest.param("panel:test_panel_models:Model", {"name": "x"}, "lacks min_length, carries_forward", id="other"),
    ],
)
def test_mistakes_in_config_are_named(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, options)


FAKES = ("Last", "Carried", "RaisesLater", "Raises", "Nan")


@pytest.fixture(scope="module")
def task(spark, tmp_path_factory):
    made, home = snapshot(), tmp_path_factory.mktemp("panel-models")
    rows = pd.DataFrame(
        [
            (r, t, made.y[t, r] if t < DAYS else None, t < DAYS, 0.0)
            for t in range(DAYS + HORIZON)
            for r in range(3)
            if r < 2 or t >= LATE
        ],
        columns=["region_index", "date_index", "y", "observed", "promotion"],
    )
    path = str(home / "snapshot")
    write_snapshot(spark.createDataFrame(rows), made.manifest, path)
    models = tuple(Model(name=f"panel:test_panel_models:{fake}") for fake in FAKES)
    return PanelTask(models, path, str(home), CUTOFFS, 30)


@pytest.fixture(scope="module")
def fitted(spark, task):
    return panel_models.fit_panels(spark, task).cache()


def short(name):
    return name.rsplit(":", 1)[-1]


def test_all_models_and_cutoffs_come_back_from_the_executors(fitted):
    rows = fitted.where("kind = 'forecast'").toPandas().assign(model=lambda f: f["model"].map(short))
    counts = rows.groupby(["model", "cutoff"])["region"].nunique().unstack().fillna(0).astype(int)
    assert counts.loc["Last"].tolist() == counts.loc["Carried"].tolist() == [2, 3, 3]
    assert counts.loc["RaisesLater"].tolist() == [2, 0, 3]
    assert counts.loc["Nan"].tolist() == [1, 2, 2]
    assert "Raises" not in counts.index
    direct = attempts(Last())[-1].values
    one = rows[(rows["model"] == "Last") & (rows["cutoff"] == CUTOFFS[-1])].sort_values(["region", "horizon"])
    np.testing.assert_array_equal(one[["y_hat", "q10", "q90"]].to_numpy(), direct[[2, 0, 1]].reshape(-1, 3))


def test_one_row_per_model_tells_the_worst_of_its_cutoffs(fitted):
    rows = panel_models.model_rows(fitted).toPandas()
    rows.index = rows["model"].map(short)
    assert rows["status"].to_dict() == {
        "Last": "ok", "Carried": "ok", "RaisesLater": "failed", "Raises": "failed", "Nan": "failed",
    }  # fmt: skip
    assert rows["n_fits"].to_dict() == {"Last": 3, "Carried": 1, "RaisesLater": 3, "Raises": 3, "Nan": 3}
    assert rows.loc["RaisesLater", "fallback_used"] is None
    assert rows.loc["Raises", "fallback_used"] == rows.loc["Nan", "fallback_used"] == NAIVE
    assert rows.loc["Raises", "error"] == f"ZeroDivisionError('no') at cutoff {CUTOFFS[0]}"
    assert json.loads(rows.loc["Last", "parameters"]) == {"fitted_on": DAYS}
    assert json.loads(Path(rows.loc["Last", "artefact"]).read_text()) == {"fitted_on": DAYS, "state": "x" * 50}


def test_stored_parameters_score_to_the_same_forecasts_without_a_fit(spark, task, fitted):
    scored = panel_models.score_panels(spark, replace(task, cutoffs=CUTOFFS[-1:]))
    order = ["model", "region", "horizon"]
    columns = [*order, "date", "y_hat", "q10", "q90"]
    then = fitted.where(f"kind = 'forecast' and cutoff = '{CUTOFFS[-1]}'").select(columns).toPandas()
    now = scored.where("kind = 'forecast'").select(columns).toPandas()
    pd.testing.assert_frame_equal(*(f.sort_values(order, ignore_index=True) for f in (then, now)))
    assert (scored.where("kind = 'model'").toPandas()["n_fits"] == 0).all()
