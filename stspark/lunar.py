"""Days of Chinese lunar festivals in the common calendar, 1901 to 2099."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import date

from holidays.calendars.chinese import _ChineseLunisolar

YEARS = range(1901, 2100)


@functools.cache
def days(festival: str) -> tuple[date, ...]:
    """The festival's day of each year, from the tables of the `holidays` package (Hong Kong Observatory's).

    >>> [d.isoformat() for d in days("mid_autumn") if d.year in (2024, 2025)]
    ['2024-09-17', '2025-10-06']
    """
    moon = _ChineseLunisolar()
    kinds: dict[str, Callable[[int], tuple[date | None, bool]]] = {
        "spring_festival": moon.lunar_new_year_date,
        "dragon_boat": moon.dragon_boat_date,
        "mid_autumn": moon.mid_autumn_date,
        "double_ninth": moon.double_ninth_date,
    }
    found = (kinds[festival](year)[0] for year in YEARS)
    return tuple(day for day in found if day is not None)
