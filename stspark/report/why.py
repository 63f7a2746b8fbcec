"""What a region's forecast is made of: its components by day, which sum to it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stspark.report.markup import Html, tag
from stspark.report.words import number, percent

DAYS = 7
"""Days that are shown; the table has all."""
ORDER = ("level", "trend", "season", "holiday", "event")
NAMES = {
    "level": "level of the last season",
    "trend": "trend away from it",
    "season": "season",
    "holiday": "holiday",
    "event": "shopping event",
    "closed": "closed",
    "limit": "never below zero",
}


def why(explained: pd.DataFrame, region: str) -> Html | None:
    """A table of one region: a row per component, a column per day, and the sum."""
    mine = explained[explained["region"] == region]
    if mine.empty:
        return None
    table = mine.pivot_table(index="component", columns="date", values="value", aggfunc="sum").fillna(0.0)
    table = table[sorted(table.columns)[:DAYS]]
    table = table[(table.abs() > 5e-3).any(axis=1)]
    rank = {name: k for k, name in enumerate(ORDER)}
    ordered = sorted(table.index, key=lambda c: (rank.get(c, len(ORDER)), c in ("closed", "limit"), c))
    head = tag(
        "tr",
        tag("th", "What it is made of"),
        *(tag("th", f"{day:%a} {day:%d}", class_="num") for day in table.columns),
    )
    body = [
        tag("tr", tag("td", NAMES.get(name, name)), *(_cell(float(v), name == "level") for v in table.loc[name]))
        for name in ordered
    ]
    total = tag("tr", tag("th", "forecast"), *(tag("th", number(float(v)), class_="num") for v in table.sum()))
    drawn = tag("table", tag("thead", head), tag("tbody", *body), tag("tfoot", total), class_="plain why")
    return tag("div", drawn, _members(mine), class_="scroll")


def _members(mine: pd.DataFrame) -> Html | None:
    """The weights of a combination's models, largest first; nothing where one model made the forecast."""
    weights = mine.groupby("member")["weight"].mean().sort_values(ascending=False)
    if len(weights) < 2:
        return None
    shares = ", ".join(f"{percent(float(weight), 0)} {name}" for name, weight in weights.items())
    return tag("p", f"A combination: {shares}.", class_="muted")


def _cell(value: float, plain: bool) -> Html:
    """A number; effects carry their sign, and nothing is a dot."""
    if not plain and abs(value) < 5e-3:
        return tag("td", "·", class_="num muted")
    sign = "" if plain or value < 0 else "+"
    return tag("td", f"{sign}{number(float(np.round(value, 2)))}", class_="num")
