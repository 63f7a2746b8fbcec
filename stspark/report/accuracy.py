"""How far and how sure: error by horizon, intervals against their promise, error by region."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from stspark.names import CHAMPION
from stspark.report.colours import model_styles
from stspark.report.data import ReportData, rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.outlook import loses
from stspark.report.plot import Axis, Point, apart, horizontal_grid, label, line, picture, round_axis, rule, value_axis
from stspark.report.words import listing, percent, plural

LINE = 18.0
"""Height of a region in the dot plot."""
PER_COLUMN = 30
WORD = 6.3
"""Width of a letter in a label, about."""


def accuracy(data: ReportData) -> Html:
    """The three charts; a sentence instead where there are no back-test errors."""
    models = [m for m in data.ranked_models() if m in data.metric("wape") and m not in data.partial_models()]
    if not models:
        return tag("div", tag("p", "No back-test day was observed, so there are no errors to show."), class_="card")
    styles = model_styles(models)
    two = tag(
        "div",
        tag(
            "div",
            tag("h3", "Error by days ahead"),
            tag("div", _by_horizon(data, models, styles), class_="scroll"),
            class_="card",
        ),
        tag(
            "div",
            tag("h3", "Do the intervals hold what they promise?"),
            _calibration(data, models, styles),
            class_="card",
        ),
        class_="two",
    )
    return join([two, tag("div", tag("h3", "Error by region"), _by_region(data), class_="card")])


def _by_horizon(
    data: ReportData, models: Sequence[str], styles: Mapping[str, str], width: float = 620, height: float = 390
) -> Html:
    metrics = data.metrics
    rows = metrics[(metrics["metric"] == "wape") & (metrics["source"] == "backtest") & (metrics["horizon"] > 0)]
    if rows.empty:
        return tag("p", "Not known.")
    right = width - 8 - WORD * max(len(m) for m in models)
    x = Axis(1, max(float(rows["horizon"].max()), 2.0), 50, right - 14)
    y = round_axis(rows.loc[rows["model"].isin(models), "value"], height - 44, 20)
    curves = {m: rows[rows["model"] == m].sort_values("horizon") for m in models}
    curves = {m: frame for m, frame in curves.items() if len(frame)}
    ends = {m: y(float(frame["value"].iloc[-1])) for m, frame in curves.items()}
    return picture(
        width,
        height,
        "WAPE by days ahead and model",
        label(4, 10, "WAPE", "unit"),
        horizontal_grid(y, 50, right, [(v, percent(v, 0)) for v in y.ticks(4)]),
        join(label(x(h), height - 26, f"{h:g}", anchor="middle") for h in x.ticks(8) if h == round(h)),
        label((50 + right) / 2, height - 6, "days ahead", anchor="middle"),
        join(
            _curve([(x(h), y(v)) for h, v in zip(f["horizon"], f["value"], strict=True)], m == CHAMPION, styles[m])
            for m, f in reversed(curves.items())
        ),
        _ends(ends, right, height),
    )


def _curve(points: Sequence[Point], strong: bool, style: str) -> Html:
    """A model's line, with a dot for every value: a day ahead without one is seen as such."""
    dots = (tag("circle", cx=x, cy=y, r=3.5 if strong else 2.2, class_="dot", style=style) for x, y in points)
    return join([line(points, class_="model", style=style), *dots])


def _ends(ends: Mapping[str, float], right: float, height: float) -> Html:
    """The models' names beside the ends of their lines, moved apart where they would overlap."""
    parts = []
    for (model, end), spot in zip(ends.items(), apart(list(ends.values()), 14, 24, height - 48), strict=True):
        parts.append(label(right + 2, spot + 4, model, "name" if model == CHAMPION else "tick"))
        parts.append(tag("path", d=f"M{right - 13:.0f},{end:.1f}L{right - 1:.0f},{spot:.1f}", class_="leader"))
    return join(parts)


def _calibration(data: ReportData, models: Sequence[str], styles: Mapping[str, str], size: float = 330) -> Html:
    """Promised against held share, for all central intervals of all models."""
    held = {level: data.metric(f"coverage_{level}") for level in _levels(data)}
    x, y = Axis(0, 1, 50, size - 12), Axis(0, 1, size - 44, 14)
    points = {m: [(x(k / 100), y(v[m])) for k, v in held.items() if m in v] for m in models}
    marks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    drawn = picture(
        size,
        size,
        "Share of days within each central interval, promised and held",
        horizontal_grid(y, 50, size - 12, [(v, percent(v, 0)) for v in marks]),
        join(label(x(v), size - 26, percent(v, 0), anchor="middle") for v in marks),
        label((50 + size) / 2, size - 6, "promised", anchor="middle"),
        label(56, 26, "held", "unit"),
        rule(x(0), y(0), x(1), y(1), "ideal"),
        label(x(0.62), y(0.2), "too narrow", "tick"),
        label(x(0.03), y(0.84), "too wide", "tick"),
        join(line([(x(0), y(0)), *points[m], (x(1), y(1))], class_="model", style=styles[m]) for m in reversed(models)),
        join(
            tag("circle", cx=a, cy=b, r=4 if m == CHAMPION else 2.5, class_="dot", style=styles[m])
            for m in reversed(models)
            for a, b in points[m]
        ),
    )
    return tag("div", drawn, _model_legend(models, styles), class_="beside")


def _levels(data: ReportData) -> list[int]:
    """Percentages of the central intervals that were measured, rising."""
    names = data.metrics.loc[data.metrics["metric"].str.startswith("coverage_"), "metric"].unique()
    return sorted(int(name.removeprefix("coverage_")) for name in names)


def _model_legend(models: Sequence[str], styles: Mapping[str, str]) -> Html:
    keys = (
        tag("span", picture(26, 10, m, tag("path", d="M1,5h24", class_="model", style=styles[m]), class_="key"), m)
        for m in models
    )
    return tag("p", *keys, class_="legend down")


def _by_region(data: ReportData) -> Html:
    """Champion and naive of each region shown; regions without an error are named below."""
    shown = data.shown
    known = shown[shown["wape"].notna() & shown["wape_naive"].notna()]
    without = list(shown.loc[~shown.index.isin(known.index), "name"])
    note = (
        tag("p", f"Not known, for want of volume in the back-tests: {listing(without, 12)}.", class_="muted")
        if without
        else None
    )
    if known.empty:
        return tag("p", "No region has a back-test error.")
    reach = _reach(known)
    rows = rows_of(known)
    per = min(PER_COLUMN, math.ceil(len(rows) / 2)) if len(rows) > 8 else len(rows)
    columns = [_dots(rows[k : k + per], reach) for k in range(0, len(rows), per)]
    losing = sum(loses(row) for row in rows)
    text = f"By volume. Worse than the seasonal naive: {losing} of the {plural(len(rows), 'region')} shown."
    keys = tag(
        "p",
        tag("span", tag("i", class_="ring"), "seasonal naive"),
        tag("span", tag("i", class_="disc"), "chosen models"),
        tag("span", tag("i", class_="disc worse"), "chosen models, worse than the naive"),
        class_="legend",
    )
    return join([tag("p", text, class_="muted"), keys, tag("div", *columns, class_="two even"), note])


def _reach(known: pd.DataFrame) -> float:
    """Where the axis ends: beyond 4 of 5 errors, so that a few tiny regions do not squeeze the others."""
    errors = pd.concat([known["wape"], known["wape_naive"]])
    largest, most = float(errors.max()), 1.25 * float(errors.quantile(0.8))
    return max(largest if largest <= 1.5 * most else most, 0.05)


def _dots(rows: Sequence[Any], reach: float, width: float = 560) -> Html:
    height = 26 + LINE * len(rows)
    x = value_axis([reach], 170, width - 56)
    grid = (rule(x(v), 20, x(v), height - 2, "zero" if v == 0 else "grid") for v in x.ticks(4))
    heads = (label(x(v), 13, percent(v, 0), anchor="middle") for v in x.ticks(4))
    lines = (_dot_line(row, x, 30 + LINE * k) for k, row in enumerate(rows))
    return tag(
        "div",
        picture(width, height, "WAPE by region, chosen models and seasonal naive", *grid, *heads, *lines),
        class_="scroll",
    )


def _dot_line(row: Any, x: Axis, y: float) -> Html:
    ours, naive, worse = x.clipped(row.wape), x.clipped(row.wape_naive), loses(row)
    beyond = max(row.wape, row.wape_naive) > x.high
    name = row.name if len(row.name) <= 24 else row.name[:23] + "…"
    return tag(
        "g",
        label(162, y + 4, name, "name worse" if worse else "tick", "end"),
        rule(ours, y, naive, y, "link worse" if worse else "link"),
        tag("circle", cx=naive, cy=y, r=4, class_="ring"),
        tag("circle", cx=ours, cy=y, r=4, class_="disc worse" if worse else "disc"),
        label(x.end + 8, y + 4, "▸" + percent(max(row.wape, row.wape_naive), 0)) if beyond else None,
        data_tip=f"{row.name}\nchosen models {percent(row.wape)}\nseasonal naive {percent(row.wape_naive)}",
    )
