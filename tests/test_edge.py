"""Whether the last days of the data look complete."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from stspark.features.edge import doubtful_edge

WEEK = (100.0, 90, 80, 80, 120, 150, 140)


def totals(last_shares, weeks=12, closed=()):
    """Daily totals with a weekly season from a Monday on; the last days at these shares of their weekday's usual."""
    days = pd.date_range("2024-01-01", periods=7 * weeks, freq="D")
    values = np.tile(WEEK, weeks)
    values[len(values) - len(last_shares) :] *= last_shares
    series = pd.Series(values, index=days)
    series[series.index.weekday.isin(closed)] = np.nan
    return series


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param(totals([]), None, id="ends as usual"),
        pytest.param(totals([0.7, 0.7]), None, id="low, not very low"),
        pytest.param(totals([0.67, 0.58, 0.45, 0.38, 0.38, 0.25, 0.17, 0.05]), (8, 0.05), id="fades out like Olist"),
        pytest.param(totals([0.5]), (1, 0.5), id="half a last day, as Online Retail has"),
        pytest.param(totals([0.2, 1.0]), None, id="a low day that is not the last"),
        pytest.param(totals([0.4, 0.3], closed=[6]), (1, 0.4), id="a closed last day is passed over"),
        pytest.param(totals([0.1] * 30), (30, 0.18), id="longer than the weeks compared"),
        pytest.param(totals([], weeks=2), None, id="too short to tell"),
        pytest.param(totals([0.0]) * 0, None, id="no demand at all"),
        pytest.param(pd.Series(dtype=float), None, id="no day"),
    ],
)
def test_an_edge_is_doubtful_where_the_last_days_are_far_below_their_usual(series, expected):
    edge = doubtful_edge(series)
    assert (edge and (edge.days, pytest.approx(edge.share, abs=0.01))) == expected


def test_the_edge_names_the_last_usual_day():
    edge = doubtful_edge(totals([0.4, 0.3]))
    assert edge is not None
    assert edge.last_usual == date(2024, 3, 22)
    assert "set time.end to 2024-03-22" in str(edge)
