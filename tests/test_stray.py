"""Days far from all others do not move the edges of the data; days that are data do."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

from stspark.features.stray import explain, without

FIRST = date(2024, 1, 1)


def days(*offsets_and_regions: tuple[int, int]) -> pd.DataFrame:
    rows = sorted(offsets_and_regions)
    return pd.DataFrame({"date": [FIRST + timedelta(days=k) for k, _ in rows], "regions": [n for _, n in rows]})


USUAL = [(k, 5) for k in range(100)]


@pytest.mark.parametrize(
    ("more", "left"),
    [
        pytest.param([], (0, 99), id="nothing astray"),
        pytest.param([(3000, 1)], (0, 99), id="one order in eight years"),
        pytest.param([(-19000, 1)], (0, 99), id="an epoch's first day"),
        pytest.param([(-19000, 1), (400, 1), (3000, 2)], (0, 99), id="at both ends, and in two clusters"),
        pytest.param([(k, 1) for k in range(150, 1500, 200)], (0, 99), id="sparse dirt over years"),
        pytest.param([(140, 4)], (0, 140), id="a reopening: more regions than can be astray"),
        pytest.param([(140, 1), (141, 1), (142, 1), (143, 1)], (0, 143), id="more days than can be astray"),
        pytest.param([(127, 1)], (0, 127), id="within four weeks"),
    ],
)
def test_only_a_handful_far_away_is_left_out(more, left):
    inner = without(days(*USUAL, *more), at_start=True, at_end=True)
    assert tuple((day - FIRST).days for day in (inner["date"].iloc[0], inner["date"].iloc[-1])) == left


def test_what_the_config_says_of_an_edge_holds():
    table = days((-19000, 1), *USUAL, (3000, 1))
    assert len(without(table, at_start=False, at_end=True)) == len(table) - 1
    assert len(without(table, at_start=True, at_end=False)) == len(table) - 1


def test_few_days_in_all_are_never_astray():
    table = days((0, 1), (100, 1))
    pd.testing.assert_frame_equal(without(table, at_start=True, at_end=True), table)


def test_the_summary_names_days_and_remedy():
    text = explain([date(2031, 5, 1)], (FIRST, date(2024, 4, 9)))
    assert text.startswith("2031-05-01 left out: far from all other days (2024-01-01 to 2024-04-09)")
    assert "time.end" in text
