"""What came in and what became of it: rows, rejected rows, days by status."""

from __future__ import annotations

import pandas as pd

from stspark.features.edge import doubtful_edge
from stspark.names import ALL_REGIONS, CLOSED, IMPUTED, MISSING, OBSERVED
from stspark.report.data import ReportData, rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.plot import label, picture
from stspark.report.words import percent, plural, short_day, whole

STATUSES = (OBSERVED, CLOSED, MISSING, IMPUTED)
WEEKS_SHOWN = 52
LINE = 13.0
LEFT = 150.0
WIDTH = 1080.0
LONGEST = 160
"""Characters of a raw row that are shown."""


def quality(data: ReportData) -> Html:
    """The cards of the section."""
    two = tag("div", tag("div", _rows(data), class_="card"), tag("div", _days(data), class_="card"), class_="two even")
    return join([two, tag("div", tag("h3", "Rejected rows"), _rejected(data), class_="card"), _strip(data)])


def _rows(data: ReportData) -> Html:
    rows = data.rows
    adds_up = rows.read == rows.kept + rows.rejected + rows.duplicate
    verdict = "Every row is accounted for." if adds_up else "▲ These do not add up: rows were lost."
    parts = [
        ("kept", rows.kept, "kept"),
        ("exact duplicates", rows.duplicate, "duplicate"),
        ("rejected", rows.rejected, "rejected"),
    ]
    return join(
        [
            tag("h3", "Rows"),
            tag(
                "p",
                tag("b", f"{whole(rows.read)} read", class_="big"),
                f" from {plural(rows.files, 'file')} = {whole(rows.kept)} kept + {whole(rows.rejected)} rejected"
                f" + {whole(rows.duplicate)} exact duplicates. ",
            ),
            _stack(parts),
            tag("p", verdict, class_="muted" if adds_up else "worse"),
        ]
    )


def _days(data: ReportData) -> Html:
    counts = {s: int(data.totals.statuses.get(s, 0)) for s in STATUSES}
    totals = data.totals
    return join(
        [
            tag("h3", "Days"),
            tag(
                "p",
                tag("b", f"{whole(sum(counts.values()))} region-days", class_="big"),
                f" in {plural(totals.regions, 'region')}, {short_day(totals.first_day)} {totals.first_day.year} to "
                f"{short_day(totals.last_day)} {totals.last_day.year}. A closed day, a missing day and a day of "
                "zero demand are three different things.",
            ),
            _stack([(s, n, s) for s, n in counts.items()]),
            _edge(data),
        ]
    )


def _edge(data: ReportData) -> Html:
    """A warning where the last days of the data look incomplete."""
    all_days = data.days[(data.days["region"] == ALL_REGIONS) & (data.days["date"] <= data.facts.as_of)]
    edge = doubtful_edge(all_days.set_index("date")["target"].sort_index().asfreq("D"))
    return Html("") if edge is None else tag("p", f"▲ {str(edge)[0].upper()}{str(edge)[1:]}.", class_="worse")


def _stack(parts: list[tuple[str, int, str]]) -> Html:
    """Shares as one bar, and their numbers."""
    total = sum(n for _, n, _ in parts)
    bars = [tag("i", class_=f"s-{kind}", style=f"flex-grow:{n}") for _, n, kind in parts if n]
    keys = [
        tag(
            "span",
            tag("i", class_=f"key s-{kind}"),
            f"{name} {whole(n)}",
            tag("span", f" {_share(n, total)}", class_="muted"),
        )
        for name, n, kind in parts
    ]
    return join([tag("div", *bars, class_="stack"), tag("p", *keys, class_="legend")])


def _share(n: int, total: int) -> str:
    if not total or not n:
        return "0%"
    return "<0.1%" if n / total < 0.001 else percent(n / total)


def _rejected(data: ReportData) -> Html:
    if data.rejected.empty:
        return tag("p", "No row was rejected.")
    head = tag(
        "tr",
        tag("th", "reason"),
        tag("th", "column"),
        tag("th", "rows", class_="num"),
        tag("th", "of all", class_="num"),
        tag("th", "for example"),
    )
    rows = [
        tag(
            "tr",
            tag("td", row.reason),
            tag("td", row.column or "whole row"),
            tag("td", whole(row.n), class_="num"),
            tag("td", _share(int(row.n), data.rows.read), class_="num muted"),
            tag("td", tag("code", _cut(row.example)), class_="raw"),
        )
        for row in rows_of(data.rejected)
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll")


def _cut(text: str | None) -> str:
    if text is None:
        return ""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _strip(data: ReportData) -> Html:
    """Region by week: how many days were not observed, and why."""
    shown = data.shown
    counts = _days_by_week(data)
    if counts.empty:
        return Html("")
    span = int(counts.index.get_level_values("weeks_ago").max()) + 1
    wide = (WIDTH - LEFT) / span
    rows = [join(_row_of(row.region, row.name, counts, (wide, span), LINE * k)) for k, row in enumerate(rows_of(shown))]
    height = LINE * len(rows) + 18
    dates = [
        label(
            LEFT + wide * (span - back),
            height - 4,
            short_day(data.facts.as_of - pd.Timedelta(weeks=back)),
            "tick tiny",
            "end" if back == 0 else "middle",
        )
        for back in range(0, span - 1, 8)
    ]
    drawn = picture(WIDTH, height, "Days by status, region and week", *rows, *dates)
    keys = [tag("span", tag("i", class_=f"key s-{s}"), s) for s in STATUSES]
    told = "Each week is filled from below by its days that were not observed. Empty: before the region's first day."
    return tag(
        "div",
        tag("h3", "Days by region and week"),
        tag("p", told, class_="muted"),
        tag("p", *keys, class_="legend"),
        tag("div", drawn, class_="scroll"),
        class_="card",
    )


def _days_by_week(data: ReportData) -> pd.DataFrame:
    """Days of each status (columns) by region and weeks_ago, of the regions and weeks that are shown."""
    days = data.days
    weeks = ((data.facts.as_of - days["date"]).dt.days // 7).rename("weeks_ago")
    recent = days[(weeks >= 0) & (weeks < WEEKS_SHOWN) & days["region"].isin(data.shown["region"])]
    counts = recent.assign(weeks_ago=weeks).groupby(["region", "weeks_ago", "status"]).size()
    wide: pd.DataFrame = counts.unstack(fill_value=0).reindex(columns=list(STATUSES), fill_value=0)
    return wide


def _row_of(region: str, name: str, counts: pd.DataFrame, size: tuple[float, int], y: float) -> list[Html]:
    """A region's name and its weeks."""
    own = counts.loc[[region]] if region in counts.index else counts.iloc[:0]
    text = name if len(name) <= 22 else name[:21] + "…"
    return [label(LEFT - 6, y + 10, text, "tick tiny", "end"), *_runs(own.droplevel(0), size, y)]


def _runs(counts: pd.DataFrame, size: tuple[float, int], y: float) -> list[Html]:
    """Weeks in a row with the same days, as one stack of rectangles; counts: weeks_ago × status."""
    wide, span = size
    pieces: list[tuple[tuple[int, ...], int, int]] = []
    for back, week in sorted(
        zip(counts.index, counts[list(STATUSES)].to_numpy(int), strict=True), key=lambda pair: -pair[0]
    ):
        look, start = tuple(int(n) for n in week), span - 1 - back
        if pieces and pieces[-1][0] == look and pieces[-1][2] == start:
            pieces[-1] = (look, pieces[-1][1], start + 1)
        else:
            pieces.append((look, start, start + 1))
    tall, rects = LINE - 2, []
    for look, start, end in pieces:
        box, bottom = {"x": LEFT + wide * start, "width": wide * (end - start) - 0.4}, y + 1 + tall
        for kind, days in reversed([(s, n) for s, n in zip(STATUSES, look, strict=True) if n]):
            height = tall * days / sum(look)
            bottom -= height
            rects.append(tag("rect", y=bottom, height=height, class_=f"s-{kind}", **box))
    return rects
