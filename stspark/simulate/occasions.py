"""Days on which the simulated shop sells unlike other days: holidays, shopping events, closures.

The lifts are planted numbers, chosen for the simulation; the dates are real.
"""

from __future__ import annotations

from datetime import date, timedelta

import holidays
import numpy as np
import numpy.typing as npt

from stspark.simulate.shop import COUNTRY, BoolArray, FloatArray

HOLIDAY_LOG_LIFT = 0.18  # every day in holidays.CN, observed and substituted days included
SPRING_FESTIVAL_CLOSED_DAYS = 3

# First day of the Chinese year, 2009 to 2030; a test checks it against the holidays package.
CHINESE_NEW_YEAR = tuple(
    date.fromisoformat(day)
    for day in (
        "2009-01-26", "2010-02-14", "2011-02-03", "2012-01-23", "2013-02-10", "2014-01-31",
        "2015-02-19", "2016-02-08", "2017-01-28", "2018-02-16", "2019-02-05", "2020-01-25",
        "2021-02-12", "2022-02-01", "2023-01-22", "2024-02-10", "2025-01-29", "2026-02-17",
        "2027-02-06", "2028-01-26", "2029-02-13", "2030-02-03",
    )
)  # fmt: skip


def _ramp(days: int, first: float, last: float) -> dict[int, float]:
    """Log lifts for the offsets -days..-1, rising evenly."""
    lifts = np.linspace(first, last, days)
    return {offset - days: round(float(lift), 4) for offset, lift in enumerate(lifts)}


# Event -> offset in days from the event's date -> log lift of expected orders.
EVENT_LOG_LIFT: dict[str, dict[int, float]] = {
    "Double-11": _ramp(10, 0.04, 0.30) | {0: 1.10, 1: 0.35, 2: -0.25, 3: -0.20, 4: -0.15, 5: -0.10, 6: -0.05},
    "618": _ramp(7, 0.04, 0.25) | {0: 0.80, 1: 0.20, 2: -0.15, 3: -0.10, 4: -0.05},
    "Double-12": {-1: 0.08, 0: 0.25, 1: 0.06},
    "Black Friday": {-1: 0.03, 0: 0.12, 1: 0.08, 2: 0.05},
    "Cyber Monday": {0: 0.06},
    "Spring Festival": _ramp(14, 0.05, 0.35),
}


def event_dates(event: str, years: range) -> list[date]:
    """Return the event's date in each year, oldest first."""
    return [_event_date(event, year) for year in years]


def _event_date(event: str, year: int) -> date:
    match event:
        case "Double-11":
            return date(year, 11, 11)
        case "618":
            return date(year, 6, 18)
        case "Double-12":
            return date(year, 12, 12)
        case "Black Friday":
            return _thanksgiving(year) + timedelta(1)
        case "Cyber Monday":
            return _thanksgiving(year) + timedelta(4)
        case "Spring Festival":
            return next(day for day in CHINESE_NEW_YEAR if day.year == year)
    raise ValueError(f"event {event!r} has no rule; use one of {sorted(EVENT_LOG_LIFT)}")


def _thanksgiving(year: int) -> date:
    """Fourth Thursday of November."""
    first = date(year, 11, 1)
    return first + timedelta((3 - first.weekday()) % 7 + 21)


def _years(days: npt.NDArray[np.datetime64]) -> range:
    years = days[[0, -1]].astype("datetime64[Y]").astype(int) + 1970
    return range(int(years[0]), int(years[1]) + 1)


def event_log_lift(days: npt.NDArray[np.datetime64]) -> FloatArray:
    """Sum of all events' log lifts on each day. Shape [day]."""
    years = _years(days)
    around = range(max(2009, years.start - 1), min(2031, years.stop + 1))
    lift = np.zeros(len(days))
    for event, offsets in EVENT_LOG_LIFT.items():
        for day in event_dates(event, around):
            for offset, value in offsets.items():
                lift[days == np.datetime64(day + timedelta(offset), "D")] += value
    return lift


def holiday_log_lift(days: npt.NDArray[np.datetime64]) -> FloatArray:
    """HOLIDAY_LOG_LIFT on public holidays of `holidays.CN`, else 0. Shape [day]."""
    public = holidays.country_holidays(COUNTRY, years=list(_years(days)))
    flags = np.array([day in public for day in days.astype(object)])
    return np.where(flags, HOLIDAY_LOG_LIFT, 0.0)


def spring_festival_closed(days: npt.NDArray[np.datetime64]) -> BoolArray:
    """The first days of the Chinese year, when every shop is shut. Shape [day]."""
    first = np.array(CHINESE_NEW_YEAR, dtype="datetime64[D]")
    since = (days[:, None] - first[None, :]).astype(int)
    shut: BoolArray = ((since >= 0) & (since < SPRING_FESTIVAL_CLOSED_DAYS)).any(axis=1)
    return shut
