"""target_clean of one region: fills, outliers, closed weekdays and noise, each from earlier days only."""

from __future__ import annotations

import numpy as np
import pytest

from stspark.features.clean import Rules, clean, closed_weekdays, fences, last_known
from stspark.features.structural import expected, filtered
from stspark.settings import Panel

N = 300
WEEK = np.array([10.0, 12, 14, 16, 25, 40, 30])
CHOICES = [
    pytest.param(Panel(), id="default"),
    pytest.param(Panel(fill="kalman"), id="kalman"),
    pytest.param(Panel(fill="none"), id="none"),
    pytest.param(Panel.model_validate({"outliers": {"clean": True, "threshold": 3}}), id="outliers drawn in"),
    pytest.param(Panel.model_validate({"outliers": {"clean": True}, "noise_filter": True, "fill": "kalman"}), id="all"),
]


def weekly(seed: int, noise: float = 1.0) -> np.ndarray:
    return np.resize(WEEK, N) + np.random.default_rng(seed).normal(0, noise, N)


def cleaned(target: np.ndarray, rules: Rules | None = None, closed=(), excepted=()):
    status = np.where(np.isfinite(target), "observed", "missing").astype(object)
    status[list(closed)] = "closed"
    days = np.zeros(len(target), dtype=bool)
    days[list(excepted)] = True
    return clean(target, status, days, rules or Rules())


def with_gaps(seed: int) -> np.ndarray:
    y = weekly(seed)
    y[np.random.default_rng(seed).random(N) < 0.15] = np.nan
    y[0] = 10.0
    return y


@pytest.mark.parametrize("panel", CHOICES)
@pytest.mark.parametrize("seed", range(4))
def test_scrambling_what_comes_after_a_day_changes_nothing_up_to_it(panel, seed):
    y, cut = with_gaps(seed), 180
    other = y.copy()
    other[cut + 1 :] = 1e5 * np.random.default_rng(99).random(N - cut - 1)
    other[cut + 1 :][::3] = np.nan
    rules = Rules(panel, 7, seed % 2 == 0, learned_weekdays=True)
    one, two = cleaned(y, rules), cleaned(other, rules)
    for name in ("status", "target_clean", "is_outlier"):
        np.testing.assert_array_equal(getattr(one, name)[: cut + 1], getattr(two, name)[: cut + 1])


@pytest.mark.parametrize("panel", CHOICES)
@pytest.mark.parametrize("seed", range(3))
def test_a_day_depends_on_no_more_than_its_declared_past(panel, seed):
    """From reach days before alone it is what it is from the whole history; shortened histories, both judged late."""
    from stspark.features.declared import FILL_DAYS, OUTLIER_DAYS

    y = np.concatenate([with_gaps(seed + k) for k in range(4)])
    reach = FILL_DAYS + OUTLIER_DAYS + (FILL_DAYS if panel.noise_filter else 0)
    last = len(y) - 1
    y[last - 20 :: 3] = np.nan
    short = y[last - reach :]
    one, two = cleaned(y, Rules(panel)), cleaned(short, Rules(panel))
    np.testing.assert_allclose(one.target_clean[-20:], two.target_clean[-20:], atol=2e-6)


@pytest.mark.parametrize(
    ("fill", "status", "value"),
    [
        pytest.param("season", "imputed", 14.0, id="the weekday's last value"),
        pytest.param("none", "missing", None, id="nothing"),
    ],
)
def test_a_missing_day_is_filled_as_chosen(fill, status, value):
    y = np.resize(WEEK, 60)
    y[51] = np.nan  # a Wednesday
    made = cleaned(y, Rules(Panel(fill=fill)))
    assert made.status[51] == status
    assert np.isnan(made.target_clean[51]) if value is None else made.target_clean[51] == value


@pytest.mark.parametrize("seed", range(5))
def test_kalman_fills_better_than_the_last_week_where_there_is_noise(seed):
    truth = np.resize(WEEK, N) + np.linspace(0, 10, N)
    y = truth + np.random.default_rng(seed).normal(0, 3, N)
    gaps = np.arange(100, N, 11)
    y[gaps] = np.nan
    error = {
        f: np.abs(cleaned(y, Rules(Panel(fill=f))).target_clean - truth)[gaps].mean() for f in ("season", "kalman")
    }
    assert error["kalman"] < 0.8 * error["season"]


def test_kalman_is_the_textbooks_filter():
    """The filter of one window, written out with matrices (Durbin & Koopman 2012, eq. 4.24)."""
    rng = np.random.default_rng(3)
    y = np.resize(WEEK, 50) + rng.normal(size=50)
    y[[4, 17]] = np.nan
    move = np.zeros((7, 7))
    move[0, 0] = 1
    move[1, 1:] = -1
    for k in range(2, 7):
        move[k, k - 1] = 1
    noise, seen = np.diag([0.05, 0.002, 0, 0, 0, 0, 0]), np.array([1.0, 1, 0, 0, 0, 0, 0])
    a, p = np.zeros(7), np.eye(7) * 1e6
    for t in range(50 - 1 + 1):
        if t < 49 and np.isfinite(y[t]):
            f = seen @ p @ seen + 1
            k = p @ seen / f
            a, p = a + k * (y[t] - seen @ a), p - np.outer(k, seen @ p)
        if t < 49:
            a, p = move @ a, move @ p @ move.T + noise
    assert expected(y, 7, np.array([49]), 49)[0] == pytest.approx(seen @ a, rel=1e-6)


def test_noise_filter_lowers_the_noise_and_keeps_gaps():
    truth = np.resize(WEEK, N)
    y = weekly(1, noise=4.0)
    y[50] = np.nan
    made = filtered(y, 7)
    assert np.isnan(made[50])
    assert np.nanstd((made - truth)[100:]) < 0.75 * np.nanstd((y - truth)[100:])


# Outliers ------------------------------------------------------------------------------------------


def test_a_spike_is_flagged_and_the_target_kept():
    y = weekly(1)
    y[200] += 100
    made = cleaned(y)
    assert made.is_outlier[200]
    assert made.is_outlier.sum() <= 4  # few false alarms
    assert made.target_clean[200] == pytest.approx(y[200])


def test_a_spike_is_drawn_in_to_the_fence_where_asked():
    y = weekly(1)
    y[200] += 100
    made = cleaned(y, Rules(Panel.model_validate({"outliers": {"clean": True}})))
    assert made.target_clean[200] == pytest.approx(fences(y, 5.0)[1][200])
    assert made.target_clean[200] < 70


@pytest.mark.parametrize("panel", [Panel.model_validate({"outliers": {"method": "none", "clean": True}})])
def test_no_method_flags_nothing(panel):
    y = weekly(1)
    y[200] += 100
    made = cleaned(y, Rules(panel))
    assert not made.is_outlier.any()
    assert made.target_clean[200] == pytest.approx(y[200])


def test_a_holidays_spike_is_no_outlier():
    y = weekly(1)
    y[200] += 100
    assert not cleaned(y, excepted=[200]).is_outlier[200]


def test_the_strong_saturday_is_no_outlier_and_mostly_zeros_judge_nothing():
    assert cleaned(weekly(2)).is_outlier.mean() < 0.02
    seldom = np.where(np.random.default_rng(1).random(N) < 0.1, 5.0, 0.0)
    assert not cleaned(seldom).is_outlier.any()


# Closed weekdays -----------------------------------------------------------------------------------


def test_sundays_without_rows_are_closed_once_the_pattern_is_known():
    y = weekly(1)
    y[6::7] = np.nan
    y[100] = np.nan  # a lone Wednesday
    made = cleaned(y, Rules(learned_weekdays=True))
    assert (made.status[6 + 28 :: 7] == "closed").all()
    assert (made.status[6:28:7] == "imputed").all()  # the first four: not known to be a pattern yet
    assert made.status[100] == "imputed"
    assert (made.target_clean[6 + 28 :: 7] == 0).all()


def test_a_long_silence_is_not_a_closed_weekday():
    y = weekly(1)
    y[100:200] = np.nan
    assert not closed_weekdays(y)[128:].any()


def test_a_day_closed_for_more_than_a_year_has_no_memory():
    y = np.full(500, np.nan)
    y[:10] = 7.0
    assert np.isfinite(last_known(y, 1)).sum() == 9 + 364
