"""The fleet: one model that fails, hangs or talks nonsense costs only itself, and nothing sees the future."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from pyspark import TaskContext
from pyspark.errors import PySparkException

from stspark.errors import ConfigError
from stspark.fleet.attempt import Plan, Region
from stspark.fleet.region import run_model
from stspark.fleet.retry import in_smaller_packs
from stspark.fleet.rows import to_frame
from stspark.fleet.spread import Earlier, FleetTask, fleet_task, run_fleet, score_fleet
from stspark.models.base import Forecast, Future, Parameters, Series
from stspark.models.regional.registry import build, known
from stspark.models.regional.seasonal_naive import SeasonalNaive
from stspark.settings import Settings

FIRST, DAYS, HORIZON = date(2024, 1, 1), 120, 7
QUANTILES = (0.1, 0.5, 0.9)
CUTOFFS = tuple(np.datetime64(FIRST, "D") + DAYS - 1 - 7 * k for k in (2, 1, 0))
PLAN = Plan(CUTOFFS, HORIZON, QUANTILES, non_negative=True, fit_seconds=30)


# Models that users might bring ---------------------------------------------------------------------


@dataclass(frozen=True)
class Mean:
    """A good model: the mean of the past, give or take a tenth."""

    days: int = 1000
    name: ClassVar[str] = "mean"
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = True

    def fit(self, history: Series) -> Parameters:
        return {"mean": float(history.y[-self.days :].mean())}

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        level = np.full(len(future), parameters["mean"])
        return Forecast(level, level[:, None] * (0.9 + 0.2 * np.array(quantiles)))


class Broken(Mean):
    def fit(self, history):
        raise RuntimeError("no luck today")


class BrokenLater(Mean):
    """Fails from the second cutoff on."""

    carries_forward = False

    def fit(self, history):
        if len(history) > DAYS - 14:
            raise ZeroDivisionError("too long")
        return super().fit(history)


class Nan(Mean):
    def predict(self, parameters, history, future, quantiles):
        return Forecast(np.full(len(future), np.nan), np.zeros((len(future), len(quantiles))))


class InfiniteQuantile(Mean):
    def predict(self, parameters, history, future, quantiles):
        return Forecast(np.ones(len(future)), np.full((len(future), len(quantiles)), np.inf))


class Explodes(Mean):
    def predict(self, parameters, history, future, quantiles):
        return Forecast(10.0 ** np.arange(3, 3 + len(future)), np.ones((len(future), len(quantiles))))


class ExplodingQuantile(Mean):
    def predict(self, parameters, history, future, quantiles):
        return Forecast(np.ones(len(future)), np.full((len(future), len(quantiles)), 1e30))


class TooFewDays(Mean):
    def predict(self, parameters, history, future, quantiles):
        return Forecast(np.ones(1), np.ones((1, len(quantiles))))


class Sleeps(Mean):
    """Hangs on the region whose first day has no sales."""

    def fit(self, history):
        if history.y[0] == 0:
            time.sleep(60)
        return super().fit(history)


class SleepsThroughErrors(Mean):
    """Hangs, and takes every exception for one of its own, as statsforecast's unit root tests do."""

    def fit(self, history):
        until = time.monotonic() + 3
        while time.monotonic() < until:
            with suppress(Exception):
                time.sleep(0.01)
        return super().fit(history)


class NeedsYears(Mean):
    min_length = 1000


class Negative(Mean):
    def predict(self, parameters, history, future, quantiles):
        return Forecast(np.full(len(future), -5.0), np.tile([-9.0, -5.0, 3.0], (len(future), 1)))


class Crossed(Mean):
    def predict(self, parameters, history, future, quantiles):
        return Forecast(np.full(len(future), 2.0), np.tile([3.0, 2.0, 1.0], (len(future), 1)))


class Vandal(Mean):
    """Writes into the arrays that it is lent."""

    def fit(self, history):
        history.y[:] = 0.0
        history.observed[:] = False
        return {"mean": 1.0}


class KeepsArrays(Mean):
    """Its parameters are no JSON."""

    def fit(self, history):
        return {"mean": history.y.mean() * np.ones(2)}

    def predict(self, parameters, history, future, quantiles):
        return super().predict({"mean": parameters["mean"][0]}, history, future, quantiles)


class ForgetsItsKeys(Mean):
    """Its parameters come back from JSON as others: keys that are numbers become text."""

    def fit(self, history):
        return {1: float(history.y.mean())}

    def predict(self, parameters, history, future, quantiles):
        return super().predict({"mean": parameters[1]}, history, future, quantiles)


# One region, without Spark -------------------------------------------------------------------------


def history(seed: int = 0, days: int = DAYS, promotion: bool = True) -> Series:
    """Daily counts with a weekly profile and a promotion worth half as much again."""
    rng = np.random.default_rng(seed)
    t = np.arange(days)
    promo = (rng.random(days) < 0.15) * 1.0
    y = rng.poisson(40 * (1 + 0.3 * np.sin(2 * np.pi * t / 7)) * (1 + 0.5 * promo)).astype(float)
    covariates = np.column_stack([promo]) if promotion else np.zeros((days, 0))
    dates = np.datetime64(FIRST, "D") + t
    return Series(dates, y, rng.random(days) > 0.05, covariates, ("promo",) if promotion else (), 7, ("",) * days)


def region(series: Series, closed: Sequence[int] = ()) -> Region:
    """The region of a history, with the horizon's days known ahead; `closed` counts days from the first."""
    total = len(series) + HORIZON
    ahead = np.vstack([series.covariates, np.zeros((HORIZON, series.covariates.shape[1]))])
    dates = series.dates[0] + np.arange(total)
    return Region("a", series, Future(dates, ahead, ("",) * total), np.isin(np.arange(total), list(closed)))


@pytest.mark.parametrize(
    ("model", "status", "error", "stood_in"),
    [
        pytest.param(Mean(), "ok", None, 0, id="works"),
        pytest.param(Broken(), "failed", r"RuntimeError('no luck today') at cutoff 2024-04-15", 3, id="raises"),
        pytest.param(BrokenLater(), "failed", r"ZeroDivisionError('too long') at cutoff 2024-04-22", 2, id="later"),
        pytest.param(Nan(), "failed", "values that are not finite", 3, id="NaN"),
        pytest.param(InfiniteQuantile(), "failed", "values that are not finite", 3, id="infinite quantile"),
        pytest.param(Explodes(), "failed", "forecast explodes: 1e+09 after a past of at most", 3, id="explodes"),
        pytest.param(ExplodingQuantile(), "failed", "explodes", 3, id="a quantile explodes"),
        pytest.param(
            TooFewDays(), "failed", "forecast has shapes (1,) and (1, 3), wanted (7,) and (7, 3)", 3, id="shape"
        ),
        pytest.param(NeedsYears(), "skipped", "needs 1000 days of history, has 106 on 2024-04-15", 3, id="too short"),
        pytest.param(KeepsArrays(), "failed", "JSON", 3, id="parameters that cannot be stored"),
    ],
)
def test_a_failure_is_a_row_and_the_seasonal_naive_stands_in(model, status, error, stood_in):
    naive, shop = SeasonalNaive(), region(history())
    outcome = run_model(model, shop, naive, PLAN)
    rows = to_frame([("a", "m", outcome)], PLAN)
    row = rows[rows["kind"] == "model"].iloc[0]
    assert outcome.status == row["status"] == status
    assert outcome.error is None if error is None else error in outcome.error
    assert list(outcome.fallbacks) == list(CUTOFFS[3 - stood_in :])
    assert row["fallback_used"] == (None if stood_in == 0 else "seasonal_naive")
    assert (row["artefact"] is None) == (stood_in > 0)
    for cutoff in outcome.fallbacks:  # the naive as fitted at that very cutoff
        expected = run_model(naive, shop, naive, replace(PLAN, cutoffs=(cutoff,))).forecasts[cutoff]
        np.testing.assert_array_equal(outcome.forecasts[cutoff].mean, expected.mean)
        np.testing.assert_array_equal(outcome.forecasts[cutoff].quantiles, expected.quantiles)
    assert len(rows) == 3 * HORIZON + 1
    assert rows.loc[rows["kind"] == "forecast", "y_hat"].notna().all()


@pytest.mark.parametrize("model", [Sleeps(), SleepsThroughErrors()], ids=["sleeps", "swallows exceptions"])
def test_a_model_that_hangs_is_stopped(model):
    series = history()
    series.y[0] = 0.0
    plan = replace(PLAN, cutoffs=CUTOFFS[-1:], fit_seconds=1)
    begun = time.monotonic()
    outcome = run_model(model, region(series), SeasonalNaive(), plan)
    assert (outcome.status, outcome.error) == ("timeout", "longer than 1 s at cutoff 2024-04-29")
    assert outcome.fallbacks == {CUTOFFS[-1]: "seasonal_naive"}
    assert time.monotonic() - begun < 2.5


@pytest.mark.parametrize(
    ("model", "non_negative", "mean", "quantiles"),
    [
        pytest.param(Negative(), True, 0.0, [0.0, 0.0, 3.0], id="counts are not negative"),
        pytest.param(Negative(), False, -5.0, [-9.0, -5.0, 3.0], id="balances may be"),
        pytest.param(Crossed(), True, 2.0, [1.0, 2.0, 3.0], id="quantiles rise"),
    ],
)
def test_what_is_published_obeys_the_targets_nature(model, non_negative, mean, quantiles):
    outcome = run_model(model, region(history()), SeasonalNaive(), replace(PLAN, non_negative=non_negative))
    for forecast in outcome.forecasts.values():
        assert set(forecast.mean) == {mean}
        assert {tuple(row) for row in forecast.quantiles} == {tuple(quantiles)}


def test_closed_days_are_forecast_zero():
    shop = region(
        history(), closed=[DAYS - 14, DAYS, DAYS + 6]
    )  # the first cutoff's first day, the last's first and last
    outcome = run_model(Mean(), shop, SeasonalNaive(), PLAN)
    zeros = {cutoff: np.flatnonzero(forecast.mean == 0).tolist() for cutoff, forecast in outcome.forecasts.items()}
    assert list(zeros.values()) == [[0], [], [0, 6]]
    assert (outcome.forecasts[CUTOFFS[-1]].quantiles[[0, 6]] == 0).all()


def test_a_region_that_opens_between_cutoffs_is_forecast_from_then_on():
    young = Series(
        *(part[-10:] for part in (history().dates, history().y, history().observed, history().covariates)),
        ("promo",),
        7,
    )
    outcome = run_model(Mean(), region(young), SeasonalNaive(), PLAN)
    assert list(outcome.forecasts) == list(CUTOFFS[1:])
    assert outcome.status == "ok"


def test_a_model_that_carries_forward_is_fitted_once_others_at_every_cutoff():
    shop, naive = region(history()), SeasonalNaive()
    assert run_model(Mean(), shop, naive, PLAN).fits == 1
    assert run_model(BrokenLater(), shop, naive, PLAN).fits == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", known())
def test_nothing_after_a_cutoff_changes_its_forecast(name):
    """Bit for bit: target and mask scrambled after the first cutoff, known-future covariates as they were."""
    true = history()
    n = int(np.searchsorted(true.dates, CUTOFFS[0], side="right"))
    rng = np.random.default_rng(5)
    scrambled = replace(
        true,
        y=np.concatenate([true.y[:n], 1000 * rng.random(DAYS - n)]),
        observed=np.concatenate([true.observed[:n], rng.random(DAYS - n) > 0.5]),
    )
    options = {"samples": 100} if name == "prophet" else {}
    plan = replace(PLAN, cutoffs=(CUTOFFS[0], CUTOFFS[2]))
    one, other = (
        run_model(build(name, options), region(series), SeasonalNaive(), plan) for series in (true, scrambled)
    )
    assert one.forecasts.keys() == other.forecasts.keys()
    assert CUTOFFS[0] not in one.fallbacks | other.fallbacks
    np.testing.assert_array_equal(one.forecasts[CUTOFFS[0]].mean, other.forecasts[CUTOFFS[0]].mean)
    np.testing.assert_array_equal(one.forecasts[CUTOFFS[0]].quantiles, other.forecasts[CUTOFFS[0]].quantiles)
    assert (one.forecasts[CUTOFFS[2]].mean != other.forecasts[CUTOFFS[2]].mean).any()


# On Spark ------------------------------------------------------------------------------------------

GOOD = ("seasonal_naive", "test_fleet:Mean")
BAD = tuple(f"test_fleet:{c}" for c in ("Broken", "Nan", "Explodes", "Sleeps", "NeedsYears", "Negative", "BrokenLater"))
KEYS = ["region", "model", "kind", "cutoff", "horizon"]


def task(models: Sequence[str]) -> FleetTask:
    settings = Settings.model_validate({
        "dataset": "shop", "source": {"kind": "events", "path": "x", "columns": {"event_time": "t", "region": "r"}},
        "target": {"name": "sales"}, "models": [{"name": name} for name in models], "quantiles": QUANTILES,
        "fleet": {"fit_seconds": 1, "fit_megabytes": 200}, "time": {"horizon": HORIZON},
    })  # fmt: skip
    return fleet_task(settings, ["promo"], [cutoff.astype(object) for cutoff in CUTOFFS])


@pytest.fixture(scope="module")
def learning(spark):
    """Learning frame of five regions: one whose first day has no sales, one that opens ten days before the end."""
    parts = []
    for seed, name in enumerate(["north", "south", "O'Brien", "slow", "late"]):
        series = history(seed)
        y = np.concatenate([series.y, np.full(HORIZON, np.nan)])
        y[0] = 0.0 if name == "slow" else 30.0
        dates = [FIRST + timedelta(days=k) for k in range(DAYS + HORIZON)]
        promo = np.concatenate([series.covariates[:, 0], np.zeros(HORIZON)])
        part = pd.DataFrame(
            {
                "region": name,
                "date": dates,
                "y": y,
                "observed": ~np.isnan(y),
                "is_closed": False,
                "holiday_name": None,
                "promo": promo,
            }
        )
        parts.append(part[-10 - HORIZON :] if name == "late" else part)
    schema = (
        "region string, date date, y double, observed boolean, is_closed boolean, holiday_name string, promo double"
    )
    rows = pd.concat(parts).sample(frac=1, random_state=1)
    return spark.createDataFrame(
        [tuple(None if v != v else v for v in r) for r in rows.itertuples(index=False)], schema
    ).persist()


def sorted_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="fit_seconds").sort_values(KEYS, ignore_index=True)


@pytest.fixture(scope="module")
def fleet(learning):
    """Rows of the good and the bad models, in one pack."""
    return run_fleet(learning, task(GOOD + BAD), 1).toPandas()


def test_a_model_has_one_row_for_each_region(fleet):
    rows = fleet[fleet["kind"] == "model"]
    assert len(rows) == 5 * len(GOOD + BAD)
    statuses = rows.pivot(index="model", columns="region", values="status")
    assert (statuses.loc[list(GOOD)] == "ok").all(axis=None)
    assert (statuses.loc[[f"test_fleet:{c}" for c in ("Broken", "Nan", "Explodes")]] == "failed").all(axis=None)
    assert statuses.loc["test_fleet:Sleeps"].to_dict() == {n: "timeout" if n == "slow" else "ok" for n in statuses}
    assert (statuses.loc["test_fleet:NeedsYears"] == "skipped").all()
    assert rows["fit_seconds"].between(0, 30).all()


def test_every_model_has_a_forecast_for_every_region_cutoff_and_day(fleet):
    rows = fleet[fleet["kind"] == "forecast"]
    assert not rows.duplicated(KEYS).any()
    counts = rows.groupby(["model", "region"]).size().unstack()
    assert (counts.drop(columns="late") == 3 * HORIZON).all(axis=None)
    assert (counts["late"] == 2 * HORIZON).all()
    assert (pd.to_datetime(rows["date"]) - pd.to_datetime(rows["cutoff"])).dt.days.tolist() == rows["horizon"].tolist()


def test_a_stand_in_says_so_and_has_the_naives_values(fleet):
    rows = fleet[fleet["kind"] == "forecast"].set_index(["region", "cutoff", "horizon"]).sort_index()
    naive = rows[rows["model"] == "seasonal_naive"]
    for model in ("Broken", "Nan", "Explodes", "NeedsYears"):
        mine = rows[rows["model"] == f"test_fleet:{model}"]
        assert (mine["fallback_used"] == "seasonal_naive").all()
        pd.testing.assert_frame_equal(mine[["date", "y_hat", "q50"]], naive[["date", "y_hat", "q50"]])
    assert rows.loc[rows["model"].isin([*GOOD, "test_fleet:Negative"]), "fallback_used"].isna().all()


def test_failing_models_change_nothing_for_the_others(learning, fleet):
    alone = run_fleet(learning, task(GOOD), 2).toPandas()
    pd.testing.assert_frame_equal(sorted_rows(alone), sorted_rows(fleet[fleet["model"].isin(GOOD)]))


def test_models_that_hang_crash_or_eat_memory_in_compiled_code_end_well(learning, fleet):
    """One spins for ever, one ends its worker, one crashes, one exhausts its memory: each loses itself only."""
    bad = [f"test_isolation:{c}" for c in ("SpinsInC", "Exits", "Segfaults", "Hoards")]
    rows = run_fleet(learning.where("region in ('north', 'late')"), task((*GOOD, *bad)), 2).toPandas()
    mine = fleet[fleet["model"].isin(GOOD) & fleet["region"].isin(["north", "late"])]
    pd.testing.assert_frame_equal(sorted_rows(rows[rows["model"].isin(GOOD)]), sorted_rows(mine))
    models = rows[rows["kind"] == "model"].set_index(["model", "region"])
    assert models.loc[bad[0], "status"].tolist() == ["timeout"] * 2
    assert (models.loc[bad[1:], "status"] == "failed").all()
    assert (models.loc[bad, "fallback_used"] == "seasonal_naive").all()
    assert models["error"].loc[(bad[2], "late")] == "its process was killed by SIGSEGV at cutoff 2024-04-22"


class Crowded(Mean):
    """Ends its worker with the third region of a pack, as one that keeps too much memory would be ended."""

    seen: ClassVar[dict[int, int]] = {}

    def fit(self, history):
        task = TaskContext.get().taskAttemptId()
        self.seen[task] = self.seen.get(task, 0) + 1
        if self.seen[task] > 2:
            os._exit(9)
        return super().fit(history)


def test_a_fleet_whose_worker_dies_is_run_again_in_smaller_packs(spark, learning, fleet, caplog, tmp_path):
    crowded, path = replace(task((*GOOD, "test_fleet:Crowded")), isolated=False), str(tmp_path / "fleet")

    def write(packs: int) -> None:
        run_fleet(learning, crowded, packs).write.mode("overwrite").parquet(path)

    in_smaller_packs(write, 1)
    rows = spark.read.parquet(path).toPandas()
    assert "a worker died with 1 packs, trying again with 4" in caplog.text
    mine = rows["model"] != "test_fleet:Crowded"
    pd.testing.assert_frame_equal(sorted_rows(rows[mine]), sorted_rows(fleet[fleet["model"].isin(GOOD)]))
    assert (rows.loc[rows["kind"] == "model", "status"] == "ok").all()


def test_other_errors_and_the_last_of_a_dying_worker_are_raised():
    tried: list[int] = []

    def run(packs: int) -> None:
        tried.append(packs)
        raise PySparkException("Python worker exited unexpectedly" if packs < 100 else "no such column")

    with pytest.raises(PySparkException, match="exited unexpectedly"):
        in_smaller_packs(run, 2)
    assert tried == [2, 8, 32]
    with pytest.raises(PySparkException, match="no such column"):
        in_smaller_packs(run, 100)
    assert tried[3:] == [100]


def test_the_number_of_packs_changes_no_number(learning, fleet):
    spread = run_fleet(learning, task(GOOD + BAD), 5).toPandas()
    pd.testing.assert_frame_equal(sorted_rows(spread), sorted_rows(fleet))


def test_packs_by_cost_and_earlier_parameters_change_no_number_but_the_fits(spark, learning, fleet):
    """Only what is older than the first cutoff is kept: here nothing is, so all is equal."""
    regions = [r.region for r in learning.select("region").distinct().collect()]
    costs = spark.createDataFrame([(r, float(len(r))) for r in regions], "region string, seconds double")
    models = fleet.loc[fleet["kind"] == "model", ["region", "model", "artefact"]]
    stored = spark.createDataFrame(
        list(models.itertuples(index=False, name=None)), "region string, model string, artefact string"
    )
    rows = run_fleet(learning, task(GOOD), 2, Earlier(costs, stored)).toPandas()
    pd.testing.assert_frame_equal(sorted_rows(rows), sorted_rows(fleet[fleet["model"].isin(GOOD)]))
    assert (rows.loc[rows["kind"] == "model", "fit_kind"] == "full").all()


def test_stored_models_score_to_what_they_forecast_when_they_were_fitted(spark, learning, fleet):
    models = fleet.loc[fleet["kind"] == "model", ["region", "model", "artefact"]]
    stored = spark.createDataFrame(
        list(models.itertuples(index=False, name=None)), "region string, model string, artefact string"
    )
    scored = score_fleet(learning, stored, task(GOOD + BAD), 3).where("kind = 'forecast'").toPandas()
    last = fleet[(fleet["kind"] == "forecast") & (fleet["cutoff"] == CUTOFFS[-1].astype(object))]
    columns = [*KEYS, "date", "y_hat", "q10", "q50", "q90", "fallback_used"]
    pd.testing.assert_frame_equal(sorted_rows(scored)[columns], sorted_rows(last)[columns], check_dtype=False)


@pytest.mark.parametrize("vandal", ["test_fleet:Vandal"])
def test_a_model_that_writes_into_its_input_spoils_nobody_elses(learning, fleet, vandal):
    rows = run_fleet(learning, task(("seasonal_naive", vandal, "test_fleet:Mean")), 2).toPandas()
    mine = rows[rows["model"] == "test_fleet:Mean"]
    pd.testing.assert_frame_equal(sorted_rows(mine), sorted_rows(fleet[fleet["model"] == "test_fleet:Mean"]))


def test_a_stored_model_that_cannot_score_is_replaced_and_marked(spark, learning):
    models = task(("seasonal_naive", "test_fleet:ForgetsItsKeys"))
    rows = run_fleet(learning, models, 2).where("kind = 'model'").toPandas()
    stored = spark.createDataFrame(
        list(rows[["region", "model", "artefact"]].itertuples(index=False, name=None)),
        "region string, model string, artefact string",
    )
    scored = score_fleet(learning, stored, models, 2).where("kind = 'forecast'").toPandas()
    mine = scored[scored["model"] == "test_fleet:ForgetsItsKeys"]
    assert len(mine) == 5 * HORIZON
    assert (mine["fallback_used"] == "seasonal_naive").all()


def test_a_users_model_is_built_from_its_dotted_path_with_its_options():
    model = build("test_fleet:Mean", {"days": 7})
    assert model.fit(history()) == {"mean": pytest.approx(history().y[-7:].mean())}
    assert json.dumps(model.fit(history()))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        pytest.param("auto_etz", {}, "there is no model 'auto_etz'; did you mean 'auto_ets'?", id="unknown model"),
        pytest.param("theta", {"seasonn": 7}, "models.theta.seasonn: is no option", id="unknown option"),
        pytest.param("test_fleet:Meen", {}, "has no class 'Meen'; did you mean 'Mean'?", id="unknown class"),
        pytest.param("no_such_module:Model", {}, "cannot import 'no_such_module'", id="unknown module"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused_before_anything_is_fitted(name, options, says):
    settings = Settings.model_validate({
        "dataset": "shop", "source": {"kind": "events", "path": "x", "columns": {"event_time": "t", "region": "r"}},
        "target": {"name": "sales"}, "models": [{"name": "seasonal_naive"}, {"name": name, **options}],
    })  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        fleet_task(settings, [], [FIRST])
    assert says in str(caught.value)
