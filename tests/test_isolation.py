"""A fit has a process of its own: what never ends, eats memory or crashes costs only itself. No Spark."""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from stspark.fleet.attempt import Plan, Region
from stspark.fleet.isolation import Child
from stspark.fleet.region import run_model
from stspark.models.base import Forecast, Future, Series
from stspark.models.regional.seasonal_naive import SeasonalNaive

DAYS, HORIZON, MEGABYTES = 60, 7, 200
START = np.datetime64("2024-01-01", "D")
CUTOFFS = (START + DAYS - 8, START + DAYS - 1)
PLAN = Plan(CUTOFFS, HORIZON, (0.1, 0.5, 0.9), non_negative=True, fit_seconds=1, fit_megabytes=MEGABYTES)


@dataclass(frozen=True)
class Last:
    """A good model: the last value."""

    name: ClassVar[str] = "last"
    min_length: ClassVar[int] = 1
    carries_forward: ClassVar[bool] = False

    def fit(self, history):
        return {"last": float(history.y[-1])}

    def predict(self, parameters, history, future, quantiles):
        mean = np.full(len(future), parameters["last"])
        return Forecast(mean, np.repeat(mean[:, None], len(quantiles), axis=1))


class SpinsInC(Last):
    """Python gets no turn, so no signal can stop it."""

    def fit(self, history):
        return {"last": max(itertools.repeat(1))}


class SleepsBehindBlockedSignals(Last):
    def fit(self, history):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM})
        time.sleep(60)


class Sleeps(Last):
    def fit(self, history):
        time.sleep(60)


class StartsASleeper(Last):
    """Waits for a program that ignores being asked to end."""

    def fit(self, history):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        subprocess.run(["sleep", "61.25"], check=True)


class Hoards(Last):
    def fit(self, history):
        return {"last": float(np.ones((4 * MEGABYTES, 1 << 17)).sum())}


class Exits(Last):
    def fit(self, history):
        os._exit(3)


class LeavesByTheDoor(Last):
    def fit(self, history):
        raise SystemExit(4)


class Segfaults(Last):
    def fit(self, history):
        faulthandler.disable()
        ctypes.string_at(0)


class Aborts(Last):
    def predict(self, parameters, history, future, quantiles):
        faulthandler.disable()
        os.abort()


class ClosesItsPipe(Last):
    def fit(self, history):
        os.closerange(3, 256)
        return super().fit(history)


class SecondTimeUnlucky(Last):
    """Ends its process at the as-of day only."""

    def fit(self, history):
        if len(history) == DAYS:
            os._exit(9)
        return super().fit(history)


def region(seed: int) -> Region:
    rng = np.random.default_rng(seed)
    dates = START + np.arange(DAYS + HORIZON)
    series = Series(dates[:DAYS], rng.poisson(20, DAYS) * 1.0, np.ones(DAYS, bool), np.zeros((DAYS, 0)))
    total = len(dates)
    return Region(str(seed), series, Future(dates, np.zeros((total, 0)), ("",) * total), np.zeros(total, bool))


def same(one, other):
    for cutoff in CUTOFFS:
        np.testing.assert_array_equal(one.forecasts[cutoff].mean, other.forecasts[cutoff].mean)
        np.testing.assert_array_equal(one.forecasts[cutoff].quantiles, other.forecasts[cutoff].quantiles)


@pytest.mark.parametrize(
    ("bad", "status", "error", "stood_in"),
    [
        pytest.param(SpinsInC(), "timeout", "longer than 1 s at cutoff", 2, id="spins in compiled code"),
        pytest.param(SleepsBehindBlockedSignals(), "timeout", "longer than 1 s", 2, id="blocks signals"),
        pytest.param(Sleeps(), "timeout", "longer than 1 s", 2, id="sleeps in Python"),
        pytest.param(StartsASleeper(), "timeout", "longer than 1 s", 2, id="waits for a program"),
        pytest.param(Hoards(), "failed", f"more than {MEGABYTES} MB", 2, id="memory"),
        pytest.param(Exits(), "failed", "its process ended itself with exit code 3", 2, id="os._exit"),
        pytest.param(LeavesByTheDoor(), "failed", "its process ended itself with exit code 4", 2, id="sys.exit"),
        pytest.param(Segfaults(), "failed", "its process was killed by SIGSEGV", 2, id="segfault"),
        pytest.param(Aborts(), "failed", "its process was killed by SIGABRT", 2, id="aborts in predict"),
        pytest.param(ClosesItsPipe(), "failed", "its process ended itself", 2, id="closes its pipe"),
        pytest.param(SecondTimeUnlucky(), "failed", "exit code 9 at cutoff 2024-02-29", 1, id="later cutoff"),
    ],
)
def test_a_fit_that_cannot_be_stopped_from_within_costs_only_itself(bad, status, error, stood_in):
    naive, good = SeasonalNaive(), Last()
    begun = time.monotonic()
    with Child([naive, bad, good], PLAN) as child:
        for shop in (region(1), region(2)):
            outcomes = [run_model(m, shop, naive, PLAN, child.attempt) for m in (naive, bad, good)]
            assert outcomes[1].status == status
            assert error in outcomes[1].error
            assert len(outcomes[1].fallbacks) == stood_in
            for model, outcome in ((naive, outcomes[0]), (good, outcomes[2])):
                assert (outcome.status, outcome.fallbacks) == ("ok", {})
                same(outcome, run_model(model, shop, naive, PLAN))
    assert time.monotonic() - begun < 2 * (PLAN.fit_seconds + 1) + 3


def test_a_model_that_ran_out_of_time_is_not_tried_again_at_later_cutoffs():
    begun = time.monotonic()
    outcome = run_model(Sleeps(), region(1), SeasonalNaive(), PLAN)
    assert outcome.error == f"longer than 1 s at cutoff {CUTOFFS[0]}"
    assert (outcome.fits, list(outcome.fallbacks)) == (1, list(CUTOFFS))
    assert time.monotonic() - begun < 1.9


def test_what_a_fit_started_ends_with_it():
    with Child([StartsASleeper()], PLAN) as child:
        run_model(
            StartsASleeper(), region(1), SeasonalNaive(), PLAN, lambda m, *rest: child.attempt(child._models[0], *rest)
        )
    time.sleep(0.2)
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 61.25" not in running


def test_one_child_serves_all_fits_and_ends_with_the_worker():
    naive, good = SeasonalNaive(), Last()
    with Child([naive, good], PLAN) as child:
        for shop in map(region, range(5)):
            for model in (naive, good):
                assert run_model(model, shop, naive, PLAN, child.attempt).status == "ok"
        pid = child._process.pid
        assert child.started == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_child_that_dies_between_two_fits_is_replaced():
    """When memory is short the kernel takes the child first, also while it waits for work."""
    naive, good = SeasonalNaive(), Last()
    with Child([naive, good], PLAN) as child:
        assert run_model(good, region(1), naive, PLAN, child.attempt).status == "ok"
        os.kill(child._process.pid, signal.SIGKILL)
        child._process.join()
        for seed in (2, 3):
            outcome = run_model(good, region(seed), naive, PLAN, child.attempt)
            assert (outcome.status, outcome.error) == ("ok", None)
        assert child.started == 2
