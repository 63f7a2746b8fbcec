"""Forecasts that add up: the total and the parents over the whole horizon, each with an interval of its own."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stspark.names import ALL_REGIONS
from stspark.report.data import ReportData, rows_of
from stspark.report.fan import drawn_bands
from stspark.report.markup import Html, join, tag
from stspark.report.words import error, number, plural, signed

METHODS = {
    "bottom_up": "as the sums of the regions' forecasts",
    "wls_var": "by weighted least squares, which also moves the regions towards what is known of their sums",
    "mint_shrink": "by minimum trace (MinT), which also moves the regions towards what is known of their sums",
}
MOST = 40
"""Nodes that are listed."""


def sums(data: ReportData) -> Html:
    """The card of the section; a sentence where the run made no sums."""
    whole = data.levels[data.levels["horizon"] == 0]
    if whole.empty:
        return tag("div", tag("p", "This run made no forecasts of sums (hierarchy.method is off)."), class_="card")
    upper = whole[whole["level"] != "region"]
    upper = upper.assign(first=upper["node"] != ALL_REGIONS).sort_values(["first", "y_hat"], ascending=[True, False])
    method = str(upper["method"].iloc[0])
    days = plural(data.facts.horizon, "day")
    told = tag(
        "p",
        f"The next {days} as one sum, made {METHODS.get(method, f'by {method}')}. On every day the parents sum to the "
        "total, and regions to their parents. Intervals come from joint paths of all regions and days: narrower than "
        "the sum of the daily intervals, and wider than if days and regions erred independently.",
        class_="muted",
    )
    rows = [_row(row, data) for row in rows_of(upper.head(MOST))]
    band = drawn_bands(data.facts.quantiles)[:1]
    head = tag(
        "tr",
        tag("th", "sum of"),
        tag("th", data.facts.target, class_="num"),
        tag("th", f"{band[0].level}% interval" if band else "", class_="num"),
        tag("th", "from the sum", class_="num"),
        tag("th", "its middle", class_="num"),
        tag("th", "its own model said", class_="num"),
    )
    table = tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll")
    left = len(upper) - MOST
    more = tag("p", f"{left:,} smaller ones are in the table forecast_levels.", class_="muted") if left > 0 else None
    return tag("div", join([told, table, more, _tested(data.level_errors)]), class_="card")


def _row(row: Any, data: ReportData) -> Html:
    band = drawn_bands(data.facts.quantiles)[:1]
    low, high = (getattr(row, band[0].low), getattr(row, band[0].high)) if band else (float("nan"), float("nan"))
    shares = ((end / row.y_hat - 1 if row.y_hat else float("nan")) for end in (low, high))
    name = tag("b", "all regions") if row.node == ALL_REGIONS else row.node
    return tag(
        "tr",
        tag("td", name, tag("span", "" if row.level in ("total", "parent") else f" ({row.level})", class_="muted")),
        tag("td", number(row.y_hat), class_="num"),
        tag("td", f"{number(low)} to {number(high)}" if band else "", class_="num"),
        tag("td", " to ".join(signed(share, 0) for share in shares) if band else "", class_="num muted"),
        tag("td", number(getattr(row, "q50", float("nan"))), class_="num muted"),
        tag("td", number(row.y_base), class_="num muted"),
    )


def _tested(errors: pd.DataFrame) -> Html | None:
    """What the back-tests say: daily WAPE by level and way."""
    if errors.empty:
        return None
    table = errors.pivot(index="level", columns="model", values="wape")
    order = [level for level in ("total", "parent", "region") if level in table.index]
    said = {"base": "by itself", "bottom_up": "summed up", "mint_shrink": "by MinT", "reconciled": "published"}
    columns = [c for c in said if c in table.columns]
    values = {(row.level, row.model): float(row.wape) for row in rows_of(errors)}
    head = tag("tr", tag("th", "missed by, per day"), *(tag("th", said[c], class_="num") for c in columns))
    body = [
        tag("tr", tag("td", level), *(tag("td", error(values.get((level, c))), class_="num") for c in columns))
        for level in order
    ]
    return tag(
        "div",
        tag("h3", "In the back-tests"),
        tag("table", tag("thead", head), tag("tbody", *body), class_="plain narrow"),
    )
