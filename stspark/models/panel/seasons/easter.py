"""How far days are from Easter: the one feast that moves through the solar year, and takes its week with it."""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np
from dateutil.easter import easter  # pandas brings it
from numpy.typing import NDArray

from stspark.models.base import Floats


def days_from_easter(dates: NDArray[np.datetime64]) -> Floats:
    """[N] days since the nearest Easter Sunday (Western churches), negative before it."""
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    sundays = np.array([[_sunday(int(year) + k) for k in (-1, 0, 1)] for year in years], dtype="datetime64[D]")
    off = (dates.astype("datetime64[D]")[:, None] - sundays).astype(np.float64)
    return np.asarray(off[np.arange(len(off)), np.abs(off).argmin(axis=1)])


@cache
def _sunday(year: int) -> date:
    found: date = easter(year)
    return found
