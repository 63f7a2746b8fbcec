"""fev-bench's protocol: the seasonal naive's published figures must come out before any other is believed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from bench.fev.metrics import mean_losses, seasonal_scale, window_losses
from bench.fev.panel import filled, read_panel
from bench.fev.run import run_naive
from bench.fev.task import read_task
from stspark.errors import ConfigError, InputError

ROHLIK = "bench/fev/rohlik_orders_1D.yaml"


def test_the_seasonal_naive_has_its_published_figures_on_rohlik_orders():
    """fev-bench's leaderboard, task rohlik_orders_1D: MASE 1.778287, WAPE 0.0827216, SQL 1.554 (cut off)."""
    task = read_task(ROHLIK)
    try:
        panel = read_panel(task)
    except InputError as missing:
        pytest.skip(str(missing))
    mean = run_naive(task, panel).mean
    assert mean.mase == pytest.approx(1.778287, abs=5e-7)
    assert mean.wape == pytest.approx(0.0827216, abs=5e-8)
    assert mean.sql == pytest.approx(1.5545, abs=5e-4)


def test_losses_of_a_window_worked_by_hand():
    """Two known cells, errors 2 and 4, scales 1 and 2; q10 and q90 at ±1 around the forecast."""
    truth = np.array([[12.0, np.nan], [np.nan, 6.0]])
    point = np.array([[10.0, 10.0], [10.0, 10.0]])
    forecast = np.stack([point, point - 1, point + 1], axis=2)
    losses = window_losses(truth, forecast, [0.1, 0.9], np.array([1.0, 2.0]))
    assert losses.mase == pytest.approx((2 / 1 + 4 / 2) / 2)
    assert losses.wape == pytest.approx((2 + 4) / (12 + 6))
    first = 2 * (0.1 * 3 + 0.9 * 1) / 2  # y = 12, quantiles 9 and 11
    second = 2 * (0.9 * 3 + 0.1 * 5) / 2  # y = 6
    assert losses.sql == pytest.approx((first / 1 + second / 2) / 2)
    assert mean_losses([losses, losses]) == losses


def test_the_scale_skips_unknown_days():
    y = np.array([[1.0], [2.0], [np.nan], [5.0], [3.0], [9.0]])
    assert seasonal_scale(y, 2) == pytest.approx([np.mean([3.0, 4.0])])


def test_a_hole_takes_the_weekday_before_it():
    truth = np.array([[np.nan], *([float(k)] for k in range(1, 9)), [np.nan], [np.nan]])
    assert filled(truth, 7).ravel().tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 2, 3]


@pytest.fixture
def other_task(tmp_path):
    """Another data set in the protocol: three shops, one of them with holes."""
    rng = np.random.default_rng(1)
    days = pd.date_range("2024-01-01", periods=120)
    rows = [(s, d, 50 + 10 * (d.weekday() == 5) + rng.normal(), int(d.day == 1)) for s in "abc" for d in days]
    frame = pd.DataFrame(rows, columns=["shop", "day", "sold", "promo"]).drop(index=[5, 60])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    task = {
        "name": "shops",
        "path": str(tmp_path / "rows.csv"),
        "region": "shop",
        "date": "day",
        "target": "sold",
        "known_future": ["promo"],
        "first_cutoff": "2024-03-31",
        "windows": 2,
        "step": 7,
        "horizon": 7,
    }
    (tmp_path / "shops.yaml").write_text(yaml.safe_dump(task))
    return tmp_path / "shops.yaml"


def test_another_data_set_takes_part_by_its_config(other_task):
    task = read_task(str(other_task))
    panel = read_panel(task)
    assert panel.truth.shape == (120, 3)
    assert np.isnan(panel.truth).sum() == 2
    result = run_naive(task, panel)
    assert len(result.windows) == 2
    assert 0 < result.mean.wape < 0.1


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        pytest.param("horizn", 7, "horizn", id="unknown key"),
        pytest.param("windows", 0, "windows", id="no window"),
    ],
)
def test_a_mistake_in_a_task_names_the_key(other_task, key, value, names):
    raw = yaml.safe_load(other_task.read_text())
    other_task.write_text(yaml.safe_dump(raw | {key: value}))
    with pytest.raises(ConfigError, match=names):
        read_task(str(other_task))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"target": "orders"}, "no column 'orders'", id="column"),
        pytest.param({"windows": 9}, "fewer windows", id="windows after the end"),
        pytest.param({"path": "nowhere.csv"}, "not there", id="file"),
    ],
)
def test_a_mistake_in_the_data_names_the_remedy(other_task, change, says):
    raw = yaml.safe_load(other_task.read_text())
    other_task.write_text(yaml.safe_dump(raw | change))
    with pytest.raises(InputError, match=says):
        read_panel(read_task(str(other_task)))
