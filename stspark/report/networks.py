"""The page of the networks: what each one's forecasts come from, region by region, in a planner's words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pandas as pd

from stspark.report.data import rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.shell import page, table
from stspark.report.words import UNKNOWN, percent, plural

OTHERS = "others"
DRAWN = 40
"""Regions in the picture of who listens to whom."""
NAMED = 3
"""Sources that a cell names."""
NAME = 16
"""Letters of a region's name in the picture."""
CELL, LETTER = 16.0, 6.2
GLOSSARY = {
    "own past, other regions": "Integrated gradients: how far the forecast moves from one without news as every "
    "region's past goes from an ordinary day to what it was. Shares are of the parts' sizes, so that parts that cancel "
    "each other still show.",
    "coming days": "Likewise for weekday, time of year and covariates of the days that are forecast.",
    "usual week": "Likewise for the seasonal base: the same weekdays of the weeks before.",
    "days back": "The part of the past that lies on that day; 0 is the last day known.",
    "hidden": "What the week's forecast loses when that region's past is hidden, in the target's unit. The picture "
    "shows it as a share of all that hiding regions one by one takes or gives.",
    "neighbours by W, learned": "The largest weights of the map's neighbours, and of those that the network found.",
    "error": "How far the parts are from adding up, as a share of their sum. Above 5%, mistrust the row.",
}


@dataclass(frozen=True)
class Attributions:
    """What the page shows: rows of the table `attributions` for regions in the map's order (region -> name)."""

    title: str
    dataset: str
    run_id: str
    as_of: date
    rows: pd.DataFrame
    names: dict[str, str]
    regions: int
    """All regions, those beyond the page's tables included."""


def render(data: Attributions) -> str:
    """The whole page as HTML text."""
    models = sorted(data.rows["model"].unique())
    sections = [("In short", tag("div", tag("ul", *(tag("li", _in_short(data, m)) for m in models)), class_="card"))]
    for model in models:
        mine = data.rows[data.rows["model"] == model]
        picture = _picture(mine[mine["kind"] == "occlusion"], data.names)
        sections += [(f"Who listens to whom: {model}", picture)] if picture else []
        sections.append((f"Region by region: {model}", _regions(mine, data)))
    sections.append(("What the columns mean", _glossary(data)))
    return page(f"{data.title}: what the networks look at", data.as_of, sections)


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a region: shares of own, others, coming and base in the sizes of all parts that make its forecast."""
    kind = rows["kind"].where(
        rows["kind"] != "region", (rows["source"] == rows["region"]).map({True: "own", False: OTHERS})
    )
    parts = rows.assign(kind=kind, size=rows["value"].abs())
    parts = parts[parts["kind"].isin(("own", OTHERS, "covariate", "base"))]
    wide = parts.pivot_table(index="region", columns="kind", values="size", aggfunc="sum", fill_value=0.0)
    wide = wide.reindex(columns=["own", OTHERS, "covariate", "base"], fill_value=0.0)
    return wide.div(wide.sum(axis=1).where(lambda total: total > 0), axis=0)


def _in_short(data: Attributions, model: str) -> Html:
    mine = data.rows[data.rows["model"] == model]
    mean = shares(mine).mean()
    told = (
        f": in the mean over {plural(data.regions, 'region')}, {percent(mean['own'], 0)} of what moves a forecast is "
        f"the region's own past, {percent(mean[OTHERS], 0)} other regions', {percent(mean['covariate'], 0)} the "
        f"calendar and covariates of the coming days, {percent(mean['base'], 0)} the usual week"
    )
    hidden = mine[mine["kind"] == "occlusion"]
    order = list(data.names)
    size, region, source = max(
        ((share, r, s) for r, row in zip(order, _listened(hidden, order), strict=True)
         for s, share in zip(order, row, strict=True) if r != s),
        default=(0.0, "", ""),
    )  # fmt: skip
    pair = f"; most of all, {_name(data, region)} listens to {_name(data, source)}."
    return join([tag("b", model), told, pair if size > 0 else ". It looks at one region at a time."])


def _name(data: Attributions, region: str) -> str:
    return data.names.get(region, region)


def _picture(hidden: pd.DataFrame, names: dict[str, str]) -> Html | None:
    """Squares, a row a region, a column whose past is hidden; None where no region listens to another one."""
    cross = hidden[(hidden["source"] != hidden["region"]) & (hidden["value"] != 0)]
    there = {*hidden["region"], *hidden["source"]}
    order = [region for region in names if region in there][:DRAWN]
    if cross.empty or len(order) < 2:
        return None
    listened, longest = _listened(hidden, order), max(len(names[region][:NAME]) for region in order)
    left, top = 8 + LETTER * longest, 12 + 0.9 * LETTER * longest
    drawn = []
    for i, region in enumerate(order):
        y, away = top + i * CELL, left + i * CELL
        place = f"translate({away + CELL - 4:.1f},{top - 6:.1f}) rotate(-60)"
        drawn.append(tag("text", names[region][:NAME], x=left - 6, y=y + CELL - 4, text_anchor="end"))
        drawn.append(tag("text", names[region][:NAME], transform=place, class_="tick"))
        drawn += [_square(left + j * CELL, y, value) for j, value in enumerate(listened[i])]
    wide_px, tall = left + len(order) * CELL + 60, top + len(order) * CELL + 4
    view = f"0 0 {wide_px:.0f} {tall:.0f}"
    figure = tag(
        "svg", *drawn, viewBox=view, role="img", aria_label="Who listens to whom", style=f"max-width:{wide_px:.0f}px"
    )
    note = "A row is a region that is forecast, a column one whose past is hidden; the darker, the more that changes."
    return tag("div", figure, tag("p", note, class_="muted"), class_="card scroll")


def _listened(hidden: pd.DataFrame, order: list[str]) -> list[list[float]]:
    """A row for each region of `order`: the share that hiding each of them has in what all hiding takes and gives."""
    wide = hidden.assign(size=hidden["value"].abs()).pivot_table(index="region", columns="source", values="size")
    share = wide.div(wide.sum(axis=1).where(lambda total: total > 0), axis=0)
    found: list[list[float]] = share.reindex(index=order, columns=order).fillna(0.0).to_numpy().tolist()
    return found


def _square(x: float, y: float, share: float) -> Html:
    style = f"fill:var(--blue);fill-opacity:{max(share**0.5, 0.03):.2f}"
    return tag("rect", x=x, y=y, width=CELL - 1.5, height=CELL - 1.5, style=style)


def _regions(mine: pd.DataFrame, data: Attributions) -> Html:
    part = shares(mine).to_dict("index")
    error = mine.groupby("region")["completeness_error"].max().to_dict()
    groups = dict(iter(mine.groupby(["region", "kind"])))
    graph = bool(mine["kind"].isin(("weight", "learned_weight")).any())

    def largest(region: str, kind: str, label: str = "{}") -> str:
        rows = groups.get((region, kind))
        if rows is None:
            return UNKNOWN
        rows = rows[~rows["source"].isin((OTHERS, region))]
        rows = rows.loc[rows["value"].abs().sort_values(ascending=False).index][:NAMED]
        total = groups[(region, kind)]["value"].abs().sum()
        told = [f"{label.format(_name(data, r.source))} ({percent(abs(r.value) / total, 0)})" for r in rows_of(rows)]
        return ", ".join(told) or UNKNOWN

    head = ["region", "own past", "other regions", "coming days", "usual week", "hidden", "days back", "covariates"]
    head += [*(("neighbours by W", "learned") if graph else ()), "error"]
    lines = []
    for region in [name for name in data.names if name in part]:
        numbers = [percent(part[region][kind], 0) for kind in ("own", OTHERS, "covariate", "base")]
        words = [largest(region, "occlusion"), largest(region, "lag", "day {}"), largest(region, "covariate")]
        words += [largest(region, kind) for kind in ("weight", "learned_weight")] if graph else []
        cells = [tag("td", tag("b", _name(data, region))), *(tag("td", n, class_="num") for n in numbers)]
        cells += [*(tag("td", text) for text in words), tag("td", percent(error[region]), class_="num")]
        lines.append(tag("tr", *cells))
    return table(head, lines, ("own past", "other regions", "coming days", "usual week", "error"))


def _glossary(data: Attributions) -> Html:
    rows = [tag("tr", tag("td", tag("b", name)), tag("td", text)) for name, text in GLOSSARY.items()]
    query = f"select * from {data.dataset}.attributions where run_id = '{data.run_id}' and region = '…' order by kind"
    return join([table(("column", "meaning"), rows), tag("p", "All figures: ", tag("code", query), class_="muted")])
