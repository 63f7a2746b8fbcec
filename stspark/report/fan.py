"""The chart of a region: what was, what is forecast with its intervals, and what the back-tests had said."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from stspark.metrics.definitions import central_intervals
from stspark.names import CLOSED, IMPUTED, MISSING, quantile_column
from stspark.report.data import rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.plot import Axis, Point, horizontal_grid, label, line, picture, rule, value_axis
from stspark.report.words import day, number, short_day, tick

HALF = 0.42
"""A band reaches so far, in days, to both sides of its first and last day: one day alone is seen too."""


@dataclass(frozen=True)
class Band:
    """A central interval that is drawn: its columns and what it promises, in percent."""

    low: str
    high: str
    level: int


@dataclass(frozen=True)
class Story:
    """All that one chart tells; frames as in ReportData, of one region.

    days: the weeks before the forecast, and those of its days that have come. bands: wide to narrow, or none.
    """

    name: str
    unit: str
    as_of: pd.Timestamp
    days: pd.DataFrame
    forecast: pd.DataFrame
    backtests: pd.DataFrame
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class Canvas:
    """Size and axes; x counts days from the first one."""

    width: float
    height: float
    x: Axis
    y: Axis
    first: pd.Timestamp

    def at(self, when: pd.Timestamp) -> float:
        """Pixel of a day."""
        return self.x((when - self.first).days)


def drawn_bands(quantiles: Sequence[float]) -> tuple[Band, ...]:
    """The central intervals nearest to 80% and to 50%, wide to narrow; the wider one where two are as near."""
    intervals = central_intervals(quantiles)
    if not intervals:
        return ()
    chosen = {min(intervals, key=lambda i: (round(abs(i[1] - i[0] - level), 6), i[0])) for level in (0.8, 0.5)}
    wide_first = sorted(chosen, key=lambda i: i[0])
    return tuple(Band(quantile_column(a), quantile_column(b), round(100 * (b - a))) for a, b in wide_first)


def fan(story: Story, width: float = 820, height: float = 310) -> Html:
    """The full chart, with axes and what the pointer shows of every day."""
    canvas = _canvas(story, Axis(0, 1, 52, width - 10), Axis(0, 1, height - 30, 22), (width, height))
    texts = [(v, tick(v)) for v in canvas.y.ticks(4)]
    return picture(
        width,
        height,
        f"{story.name}: {story.unit}, actual and forecast",
        label(4, 12, story.unit, "unit"),
        _future(story, canvas),
        horizontal_grid(canvas.y, 52, width - 10, texts),
        _weeks(canvas),
        _marks(story, canvas),
        _bands(story, canvas),
        _backtests(story, canvas),
        _lines(story, canvas),
        tag("line", class_="cursor", y1=22.0, y2=height - 30),
        class_="fan",
        **_pointer(story, canvas),
    )


def small_fan(story: Story, width: float = 220, height: float = 84) -> Html:
    """The chart without words, for the overview."""
    canvas = _canvas(story, Axis(0, 1, 2, width - 2), Axis(0, 1, height - 6, 4), (width, height))
    zero = canvas.y(0)
    return picture(
        width,
        height,
        f"{story.name}: actual and forecast",
        rule(0, zero, width, zero, "zero"),
        _future(story, canvas),
        _marks(story, canvas),
        _bands(story, canvas),
        _lines(story, canvas),
        class_="fan small",
    )


def _canvas(story: Story, across: Axis, up: Axis, size: tuple[float, float]) -> Canvas:
    dates = pd.concat([story.days["date"], story.forecast["date"]])
    first, last = (dates.min(), dates.max()) if len(dates) else (story.as_of, story.as_of)
    outer = [c for b in story.bands[:1] for c in (b.low, b.high)]
    shown = story.forecast[~story.forecast["is_closed"]]
    values = pd.concat([story.days["target"], *(shown[c] for c in ["y_hat", *outer])])
    x = Axis(-0.6, (last - first).days + 0.6, across.start, across.end)
    return Canvas(*size, x, value_axis(values, up.start, up.end), first)


def _future(story: Story, canvas: Canvas) -> Html:
    """The forecast's part of the ground, from the end of the as-of day."""
    x = canvas.x((story.as_of - canvas.first).days + 0.5)
    top, bottom = canvas.y.end, canvas.y.start
    return join(
        [
            tag("rect", x=x, y=top, width=max(canvas.x.end - x, 0.0), height=bottom - top, class_="future"),
            rule(x, top, x, bottom, "asof"),
        ]
    )


def _weeks(canvas: Canvas) -> Html:
    """A line at every Monday; every second one has its date."""
    parts, last = [], int(canvas.x.high)
    mondays = [k for k in range(last + 1) if (canvas.first + pd.Timedelta(days=k)).weekday() == 0]
    for place, k in enumerate(reversed(mondays)):
        x = canvas.x(k)
        parts.append(rule(x, canvas.y.start, x, canvas.y.start + (6 if place % 2 == 0 else 3), "notch"))
        if place % 2 == 0:
            parts.append(label(x, canvas.y.start + 19, short_day(canvas.first + pd.Timedelta(days=k)), anchor="middle"))
    return join(parts)


def _marks(story: Story, canvas: Canvas) -> Html:
    """Closed days as grey ground, missing ones as hatched ground: never a value."""
    closed = [
        *story.days.loc[story.days["status"] == CLOSED, "date"],
        *story.forecast.loc[story.forecast["is_closed"], "date"],
    ]
    missing = story.days.loc[story.days["status"] == MISSING, "date"]
    wide = canvas.x(1) - canvas.x(0)
    box = {"y": canvas.y.end, "width": wide, "height": canvas.y.start - canvas.y.end}
    return join(
        tag("rect", x=canvas.at(when) - wide / 2, **box, class_=kind)
        for kind, days in (("closed", closed), ("missing", missing))
        for when in dict.fromkeys(days)
    )


def _bands(story: Story, canvas: Canvas) -> Html:
    return join(
        tag("path", d="".join(_ribbons(story.forecast, band, canvas)), class_=f"band b{place}")
        for place, band in enumerate(story.bands)
    )


def _ribbons(forecast: pd.DataFrame, band: Band, canvas: Canvas) -> list[str]:
    """One closed outline for every stretch of open days with both quantiles known."""
    stretches: list[list[tuple[float, float, float]]] = []
    before = None
    for row in rows_of(forecast):
        low, high = getattr(row, band.low), getattr(row, band.high)
        if row.is_closed or not (math.isfinite(low) and math.isfinite(high)):
            continue
        k = float((row.date - canvas.first).days)
        if before is None or k - before > 1:
            stretches.append([])
        stretches[-1].append((k, low, high))
        before = k
    return [_outline(stretch, canvas) for stretch in stretches]


def _outline(stretch: list[tuple[float, float, float]], canvas: Canvas) -> str:
    (first, low, high), (last, last_low, last_high) = stretch[0], stretch[-1]
    longer = [(first - HALF, low, high), *stretch, (last + HALF, last_low, last_high)]
    around = [(k, up) for k, _, up in longer] + [(k, down) for k, down, _ in reversed(longer)]
    return "M" + "L".join(f"{canvas.x(k):.1f},{canvas.y(v):.1f}" for k, v in around) + "Z"


def _backtests(story: Story, canvas: Canvas) -> Html:
    """One line per cutoff and role; those of days before the chart's first are left out."""
    seen = story.backtests[story.backtests["date"] >= canvas.first].sort_values("date")
    return join(
        line(
            [(canvas.at(d), canvas.y.clipped(v)) for d, v in zip(rows["date"], rows["y_hat"], strict=True)],
            class_=f"test {role}",
        )
        for (role, _), rows in seen.groupby(["role", "cutoff"], sort=True)
    )


def _lines(story: Story, canvas: Canvas) -> Html:
    past = story.days[story.days["date"] <= story.as_of]
    came = story.days[(story.days["date"] > story.as_of) & story.days["target"].notna()]
    filled = past[past["status"] == IMPUTED]
    open_days = story.forecast["y_hat"].where(~story.forecast["is_closed"])
    return join(
        [
            line(_points(past["date"], past["target"], canvas), class_="actual"),
            join(
                tag("circle", cx=x, cy=y, r=3, class_="imputed")
                for x, y in _points(filled["date"], filled["target"], canvas)
            ),
            line(_points(story.forecast["date"], open_days, canvas), class_="forecast"),
            join(
                tag("circle", cx=x, cy=y, r=3, class_="came") for x, y in _points(came["date"], came["target"], canvas)
            ),
        ]
    )


def _points(dates: pd.Series, values: pd.Series, canvas: Canvas) -> list[Point]:
    return [(canvas.at(d), canvas.y(float(v))) for d, v in zip(dates, values, strict=True)]


def _pointer(story: Story, canvas: Canvas) -> dict[str, str]:
    """Attributes from which the page's script shows a day's values under the pointer."""
    said: dict[int, list[str]] = {}
    for row in rows_of(story.days):
        value = {CLOSED: "closed", MISSING: "not known"}.get(row.status, number(row.target))
        note = " (filled in)" if row.status == IMPUTED else ""
        said.setdefault((row.date - canvas.first).days, [day(row.date)]).append(f"actual {value}{note}")
    for row in rows_of(story.forecast):
        lines = said.setdefault((row.date - canvas.first).days, [day(row.date)])
        lines.append("closed" if row.is_closed else f"forecast {number(row.y_hat)}")
        if not row.is_closed:
            lines += [
                f"{b.level}%: {number(getattr(row, b.low))} to {number(getattr(row, b.high))}" for b in story.bands
            ]
    tips = ["\n".join(dict.fromkeys(said.get(k, []))) for k in range(int(canvas.x.high) + 1)]
    return {
        "data_from": f"{canvas.x(0):.2f}",
        "data_step": f"{canvas.x(1) - canvas.x(0):.3f}",
        "data_tips": json.dumps(tips, ensure_ascii=False),
    }
