"""Explanations: components that add up to the forecast, and mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from conftest import run_job

from stspark.explain import components as c
from stspark.explain.members import members_of
from stspark.models.base import Forecast, Future, Series
from stspark.models.regional.registry import build

NAMES = ("holiday", "double_11", "promotion")
EFFECTS = np.array([-30.0, 50.0, 20.0])


def history(days: int = 140, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    dates = np.datetime64("2025-01-06") + np.arange(days)
    covariates = (rng.random((days, 3)) < 0.08).astype(float)
    y = 100 + 10 * np.sin(2 * np.pi * np.arange(days) / 7) + covariates @ EFFECTS + rng.normal(0, 1, days)
    names = tuple("Day" if on else "" for on in covariates[:, 0])
    return Series(dates, y, np.ones(days, bool), covariates, NAMES, 7, names)


def coming(past: Series, *on: tuple[int, int]) -> Future:
    covariates = np.zeros((7, 3))
    for day, column in on:
        covariates[day, column] = 1.0
    names = tuple("Day" if x else "" for x in covariates[:, 0])
    return Future(past.dates[-1] + 1 + np.arange(7), covariates, names)


@dataclass(frozen=True)
class Additive:
    """Level 100, a season, and the true effects; `product` multiplies them instead."""

    product: bool = False

    def predict(self, parameters, past, future, quantiles) -> Forecast:
        base = 100 + 10 * np.sin(2 * np.pi * (len(past) + np.arange(len(future))) / 7)
        if self.product:
            mean = base * np.prod(1 + future.covariates * EFFECTS / 100, axis=1)
        else:
            mean = base + future.covariates @ EFFECTS
        return Forecast(mean, np.tile(mean[:, None], len(quantiles)))


def parts_of(model, parameters, past, future):
    at = c.usual(past)
    found = c.active(c.groups_of(NAMES, ("double_11",)), future, at)

    def again(out):
        return model.predict(parameters, past, c.without(future, out, at), (0.5,)).mean

    rest, effects = c.shapley(again, found)
    return c.over_time(rest, past) | effects


def test_an_additive_models_effects_are_found_where_they_act():
    past = history()
    future = coming(past, (1, 0), (3, 1), (3, 2))
    parts = parts_of(Additive(), {}, past, future)
    assert set(parts) == {"level", "trend", "season", "holiday", "event", "promotion"}
    np.testing.assert_allclose(parts["holiday"], np.eye(7)[1] * -30, atol=1e-9)
    np.testing.assert_allclose(parts["event"], np.eye(7)[3] * 50, atol=1e-9)
    np.testing.assert_allclose(parts["promotion"], np.eye(7)[3] * 20, atol=1e-9)
    assert parts["season"].sum() == pytest.approx(0, abs=1e-9)


def test_effects_that_multiply_share_what_they_do_together():
    past = history()
    future = coming(past, (3, 1), (3, 2))
    parts = parts_of(Additive(product=True), {}, past, future)
    made = Additive(product=True).predict({}, past, future, (0.5,)).mean
    np.testing.assert_allclose(np.sum(list(parts.values()), axis=0), made)
    base = made[3] / 1.5 / 1.2
    assert parts["event"][3] == pytest.approx(base * (0.5 + 0.5 * 0.5 * 0.2))
    assert parts["promotion"][3] == pytest.approx(base * (0.2 + 0.5 * 0.5 * 0.2))


def test_nothing_is_asked_about_days_on_which_nothing_happens():
    past = history()
    assert c.active(c.groups_of(NAMES, ("double_11",)), coming(past), c.usual(past)) == []


def test_many_groups_are_joined_so_that_the_model_is_asked_at_most_sixteen_times():
    names = tuple(f"x{k}" for k in range(9))
    groups = c.groups_of(names, ())
    future = Future(np.datetime64("2025-01-01") + np.arange(2), np.ones((2, 9)), ("", ""))
    found = c.active(groups, future, np.zeros(9))
    assert len(found) == 4
    assert sum(len(g.columns) for g in found) == 9


@pytest.mark.parametrize("name", ["seasonal_naive", "auto_ets", "theta", "prophet"])
@pytest.mark.parametrize("closed_day", [None, 2])
def test_components_of_real_models_add_up_to_what_was_published(name, closed_day):
    past = history()
    future = coming(past, (1, 0), (4, 2))
    model = build(name, {"samples": 100} if name == "prophet" else {})
    parameters = model.fit(past)
    parts = parts_of(model, parameters, past, future)
    published = np.maximum(model.predict(parameters, past, future, (0.5,)).mean, 0)
    closed = np.zeros(7)
    if closed_day is not None:
        published[closed_day], closed[closed_day] = 0.0, 1.0
    whole = c.to_published(parts, published, closed)
    np.testing.assert_allclose(np.sum(list(whole.values()), axis=0), published, atol=1e-9)
    assert (np.abs(whole["limit"]) < 1e-6).all()
    assert (abs(parts["promotion"][4]) > 5) == (name == "prophet")


@pytest.mark.parametrize("length", [9, 140])
@pytest.mark.parametrize("h", [1, 7, 61])
def test_a_path_alone_adds_up_too(length, h):
    past, path = history(length), np.linspace(90, 120, h)
    np.testing.assert_allclose(np.sum(list(c.by_weekday(path, past).values()), axis=0), path)


def told(**models: list[float]) -> pd.DataFrame:
    """Forecasts of one region's coming days, of which the combination's are published."""
    days = [f"2025-01-{k + 1:02d}" for k in range(len(next(iter(models.values()))))]
    parts = [
        pd.DataFrame({"model": name, "date": days, "y_hat": path, "fallback_used": None})
        for name, path in models.items()
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(is_champion=rows["model"] == "combination")


def test_a_combination_is_made_of_its_models_and_their_weights():
    rows = told(combination=[12.5, 25.0], theta=[10.0, 20.0], prophet=[20.0, 40.0], drift=[7.0, 7.0])
    champion, members = members_of(rows, {"theta": "{}"}, [{"theta": 0.75, "prophet": 0.25}])
    assert champion == "combination"
    assert {m.name: m.weight.tolist() for m in members} == {"prophet": [0.25, 0.25], "theta": [0.75, 0.75]}
    assert {m.name: m.artefact for m in members} == {"prophet": None, "theta": "{}"}


def test_a_combination_whose_weights_are_not_known_is_explained_as_one():
    rows = told(combination=[12.5, 25.0], theta=[10.0, 20.0], prophet=[20.0, 40.0])
    champion, members = members_of(rows, {}, [{"theta": 0.2, "prophet": 0.8}])
    assert [m.name for m in members] == [champion] == ["combination"]
    assert members[0].path.tolist() == [12.5, 25.0]


def test_the_table_adds_up_to_the_champions_forecasts(small_run):
    ran = run_job("explain", *small_run.arguments)
    assert ran.code == 0, ran.err
    parts = small_run.rows("explanations")
    champions = small_run.rows("forecasts").query("is_champion").set_index(["region", "date"])["y_hat"]
    summed = parts.groupby(["region", "date"])["value"].sum()
    np.testing.assert_allclose(summed.reindex(champions.index), champions, atol=1e-6)
    assert {"level", "season"} <= set(parts["component"])
    weights = parts.drop_duplicates(["region", "date", "member"]).groupby(["region", "date"])["weight"].sum()
    np.testing.assert_allclose(weights, 1.0, atol=2e-3)
