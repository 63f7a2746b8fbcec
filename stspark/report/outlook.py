"""The coming days: all regions together, one region at a time, and every region small."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stspark.names import ALL_REGIONS, BORROWED
from stspark.report.data import WEEKS, ReportData, RunFacts, of_region, rows_of
from stspark.report.fan import Band, Story, drawn_bands, fan, small_fan
from stspark.report.markup import Html, join, tag
from stspark.report.verdict import EVEN
from stspark.report.why import why
from stspark.report.words import error, number, plural, signed, span, whole

OFF = 0.02
"""A sum further than this from the middle of its own interval is told."""
LOPSIDED = (
    "a region's forecast is the middle of what may come, and middles of lopsided demand, or of models that ran {way}, "
    "do not add up to the middle of the sum. To order for the whole, look at the interval."
)
TESTS = ("key champion", "key naive")
"""Keys that are hidden with what they stand for."""


def outlook(data: ReportData) -> Html:
    """The cards of the section."""
    stories = {row.region: story(data, row.region, row.name) for row in rows_of(data.shown)}
    return join([_together(data), _one_by_one(data, stories), _overview(data, stories)])


def story(data: ReportData, region: str, name: str) -> Story:
    """What the chart of a region tells; the sum over all regions has its bands from forecast_levels, if at all."""
    facts = data.facts
    days = of_region(data.days, region)
    recent = days[days["date"] > facts.as_of - pd.Timedelta(weeks=WEEKS)]
    forecast, bands = of_region(data.forecasts, region), drawn_bands(facts.quantiles)
    if region == ALL_REGIONS:
        forecast = _summed(forecast)
        forecast, bands = (forecast, ()) if data.levels.empty else (_with_bands(forecast, data), bands)
    backtests = data.backtests[data.backtests["region"] == region]
    return Story(name, f"{facts.target} per day", facts.as_of, recent, forecast, backtests, bands)


def legend(levels: tuple[int, ...]) -> Html:
    """What the lines and grounds of the charts mean."""
    fades = [(f"band b{place}", f"{level}% interval") for place, level in enumerate(levels)]
    items = [("key actual", "actual"), ("key forecast", "forecast"), *((f"key {c}", text) for c, text in fades)]
    items += [
        ("key champion", "back-test"),
        ("key naive", "seasonal naive"),
        ("key closed", "closed"),
        ("key missing", "not known"),
    ]
    keys = (
        tag("span", tag("i", class_=c), text, class_=c.replace("key", "test") if c in TESTS else None)
        for c, text in items
    )
    return tag("p", *keys, class_="legend")


def _summed(forecast: pd.DataFrame) -> pd.DataFrame:
    """Rows by date and model to rows by date; a day is closed where all regions are."""
    if forecast.empty:
        return forecast
    days = forecast.groupby("date", as_index=False).agg(y_hat=("y_hat", "sum"), is_closed=("is_closed", "all"))
    return days.assign(holiday_name=None)


def _with_bands(forecast: pd.DataFrame, data: ReportData) -> pd.DataFrame:
    """The total's own forecast and quantiles by day, beside what is known of the days."""
    total = data.levels[(data.levels["level"] == "total") & (data.levels["horizon"] > 0)]
    return forecast.drop(columns="y_hat").merge(total, on="date", how="left").sort_values("date")


def _together(data: ReportData) -> Html:
    totals, facts = data.totals, data.facts
    total = story(data, ALL_REGIONS, "All regions")
    coming = total.forecast["date"]
    when = span(coming.min(), coming.max()) if len(coming) else "the coming days"
    change = signed(totals.change, 1)
    compared = f" {change} on the same weekdays of {facts.before}." if change != "–" else ""
    return tag(
        "div",
        tag("h3", "All regions together"),
        tag(
            "p",
            tag("b", f"{whole(totals.next_total)} {facts.target}", class_="big"),
            f" expected in {plural(totals.regions, 'region')}, {when}.{compared} ",
            tag("span", _about_total(data), class_="muted"),
        ),
        tag("div", fan(total, width=980, height=250), class_="scroll"),
        legend(tuple(band.level for band in total.bands)),
        class_="card with-tests",
    )


def _about_total(data: ReportData) -> str:
    if data.levels.empty:
        return "The sum of the regions' point forecasts. It has no interval: quantiles of regions do not add up."
    told = "Its intervals are of the sum itself, from joint paths of all regions: quantiles of regions do not add up."
    weeks = data.levels[(data.levels["level"] == "total") & (data.levels["horizon"] == 0)]
    if weeks.empty or "q50" not in weeks:
        return told
    middle, point = float(weeks["q50"].iloc[0]), float(weeks["y_hat"].iloc[0])
    if abs(point - data.totals.next_total) > max(0.5, 1e-6 * abs(point)):
        told += f" Made to agree with forecasts of the sums themselves it is {whole(point)} (section Sums)."
    if abs(middle - point) <= OFF * abs(point):
        return told
    side, way = ("above", "low") if middle > point else ("below", "high")
    return f"{told} Half of the paths end {side} {whole(middle)}: {LOPSIDED.format(way=way)}"


def _one_by_one(data: ReportData, stories: dict[str, Story]) -> Html:
    rows = rows_of(data.shown)
    options = [
        tag("option", row.name if row.name == row.region else f"{row.name} ({row.region})", value=str(k))
        for k, row in enumerate(rows)
    ]
    left_out = data.totals.regions - len(rows)
    more = f"The {len(rows)} largest; {whole(left_out)} smaller ones are in the tables." if left_out > 0 else ""
    chooser = tag(
        "p",
        tag("label", "Region ", tag("select", *options, id="region")),
        " ",
        tag("label", tag("input", type="checkbox", id="tests", checked=True), " back-test forecasts"),
        " ",
        tag("label", tag("input", type="checkbox", id="naive"), " seasonal naive"),
        tag("span", more, class_="muted"),
        class_="chooser",
    )
    panels = [_panel(data, row, k, stories[row.region]) for k, row in enumerate(rows)]
    return tag("div", tag("h3", "Region by region"), chooser, *panels, class_="card with-tests", id="one")


def _panel(data: ReportData, row: Any, place: int, told: Story) -> Html:
    levels = tuple(band.level for band in told.bands)
    return tag(
        "div",
        tag(
            "div",
            tag("div", fan(told), class_="scroll"),
            legend(levels),
            why(data.explained, row.region),
            class_="grow",
        ),
        tag("div", _facts(row, data.facts), _days(told), class_="side"),
        class_="panel",
        data_region=str(place),
        hidden=place > 0,
    )


def _facts(row: Any, facts: RunFacts) -> Html:
    beside = "" if row.fallback_used is None else f", in whose place {row.fallback_used} stands"
    change = "" if pd.isna(row.change) else f", {signed(row.change)} on {facts.before}"
    return tag(
        "p",
        tag("b", f"{number(row.next_total)} {facts.target}"),
        f" in all{change}. Chosen model: {row.champion or 'none'}{beside}. ",
        tag("span", _error(row), class_="worse" if loses(row) else None),
    )


def loses(row: Any) -> bool:
    """Whether the region's chosen models did worse than the seasonal naive in the back-tests."""
    return bool(row.wape > row.wape_naive * (1 + EVEN))


def _error(row: Any) -> str:
    if pd.isna(row.wape) or pd.isna(row.wape_naive):
        return "Its error is not known: no volume in the back-tests."
    ending = ": worse ▲" if loses(row) else ""
    return f"Back-test error {error(row.wape)}, seasonal naive {error(row.wape_naive)}{ending}."


def _days(told: Story) -> Html:
    """The coming days as a table, with the widest interval drawn."""
    band = told.bands[0] if told.bands else None
    lines = [
        tag(
            "tr",
            tag("td", f"{row.date:%a} {row.date.day} {row.date:%b}"),
            tag("td", "closed" if row.is_closed else number(row.y_hat), class_="num"),
            tag("td", _interval(row, band), class_="num muted"),
        )
        + (tag("tr", tag("td", row.holiday_name, colspan="3", class_="note")) if row.holiday_name else "")
        for row in rows_of(told.forecast)
    ]
    head = tag(
        "tr",
        tag("th", "day"),
        tag("th", "forecast", class_="num"),
        tag("th", f"{band.level}% interval" if band else "", class_="num"),
    )
    return tag("table", tag("thead", head), tag("tbody", *map(Html, lines)), class_="plain")


def _interval(row: Any, band: Band | None) -> str:
    if band is None or row.is_closed:
        return ""
    return f"{number(getattr(row, band.low))} to {number(getattr(row, band.high))}"


def _borrowed(rows: list[Any]) -> str:
    """What the mark of a region with little history means, where one is shown."""
    marked = any(row.champion == BORROWED for row in rows)
    return " borrowed: little history or none, level and shape are those of other regions." if marked else ""


def _overview(data: ReportData, stories: dict[str, Story]) -> Html:
    rows = rows_of(data.shown)
    left_out = data.totals.regions - len(rows)
    said = f" {whole(left_out)} smaller regions are left out." if left_out > 0 else ""
    cells = [
        tag(
            "button",
            tag(
                "span",
                tag("b", row.name),
                tag("span", "▲ worse", class_="worse") if loses(row) else None,
                tag("span", "borrowed", class_="muted") if row.champion == BORROWED else None,
                class_="row",
            ),
            small_fan(stories[row.region]),
            tag(
                "span", f"next {number(row.next_total)}", tag("span", signed(row.change), class_="muted"), class_="row"
            ),
            type="button",
            class_="cell",
            data_pick=str(k),
            title=f"Show {row.name} above",
        )
        for k, row in enumerate(rows)
    ]
    return tag(
        "div",
        tag("h3", "All regions at a glance"),
        tag(
            "p",
            f"Largest so far first, each on its own scale: the last {WEEKS} weeks and the forecast with its intervals; "
            f"below, the sum of the coming days and its change on {data.facts.before}. ▲ worse: "
            f"the chosen models lost to the seasonal naive in the back-tests.{_borrowed(rows)}{said}",
            class_="muted",
        ),
        tag("div", *cells, class_="cells"),
        class_="card",
    )
