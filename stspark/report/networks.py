"""The page of the networks: what each one's forecasts come from, region by region, in a planner's words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pandas as pd

from stspark.names import SHARES
from stspark.report.data import rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.shell import page, table
from stspark.report.words import UNKNOWN, percent, plural

OTHERS = "others"
DRAWN = 40
"""Regions in the picture of who listens to whom."""
NAMED = 3
"""Sources that a cell names."""
TOO_LARGE = 0.05
"""A completeness error beyond which a row is not to be believed."""
NAME = 16
"""Letters of a region's name in the picture."""
GRAPHS = {"weight": "neighbours by W", "learned_weight": "learned"}
"""Kinds of weights, and what their columns are called."""
CELL, LETTER = 16.0, 6.2
GLOSSARY = {
    "own past, other regions": "How far the forecast moves from one without news as the regions' pasts go from "
    "ordinary days to what they were (integrated gradients). Shares are of the parts' sizes, so that parts that cancel "
    "each other still count.",
    "coming days": "Likewise for weekday, time of year and covariates of the days that are forecast.",
    "seasons": "Likewise for what the network's forecast is added to (its option base): what seasons that all regions "
    "share let expect, usual effects of covariates among them, or the mean of the same weekdays in the weeks before.",
    "listens to": "Whose past, when it is hidden, changes the forecast of all coming days together most: as a share of "
    "all such changes that are named in the table, the region's own included. It is what the network predicts by, not "
    "what causes what: regions that move alike stand for one another. In the target's unit, with signs: attributions, "
    "kind occlusion.",
    "days back": "On which days the past that counts lies; 0 is the last day known.",
    "covariates": "Of the part of the coming days, which.",
    "neighbours by W, learned": "The largest weights of the map's neighbours, where the network mixes by them, and of "
    "those that it found itself. Regions of another part are not seen (regions_at_once).",
    "error": "How far the parts are from adding up, as a share of their sizes. Above 5%, mistrust the row.",
}


@dataclass(frozen=True)
class Attributions:
    """What the page shows: rows of the table `attributions` for the regions shown, in the map's order (region -> name).

    means: model, source, value: mean share over all regions; regions: how many these are.
    """

    title: str
    dataset: str
    run_id: str
    as_of: date
    rows: pd.DataFrame
    means: pd.DataFrame
    names: dict[str, str]
    regions: int


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


def _in_short(data: Attributions, model: str) -> Html:
    mean = data.means[data.means["model"] == model].set_index("source")["value"].to_dict()
    own, others, coming, seasons = (percent(mean.get(name, 0.0), 0) for name in SHARES)
    told = (
        f": in the mean over {plural(data.regions, 'region')}, {own} of what moves a forecast is the region's own "
        f"past, {others} that of all other regions together, {coming} the calendar and covariates of the coming days, "
        f"{seasons} the seasons"
    )
    order = list(data.names)
    listened = _listened(data.rows[(data.rows["model"] == model) & (data.rows["kind"] == "occlusion")], order)
    pairs = [
        (share, region, source)
        for region, row in zip(order, listened, strict=True)
        for source, share in zip(order, row, strict=True)
        if region != source
    ]
    size, region, source = max(pairs, default=(0.0, "", ""))
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
    note += f" The first {DRAWN} of {len(names)}, in the map's order." if len(order) < len(names) else ""
    return tag("div", figure, tag("p", note, class_="muted"), class_="card scroll")


def _listened(hidden: pd.DataFrame, order: list[str]) -> list[list[float]]:
    """A row for each region of `order`: the share that hiding each of them has in what all hiding takes and gives."""
    named = hidden[hidden["source"] != OTHERS]
    wide = named.assign(size=named["value"].abs()).pivot_table(index="region", columns="source", values="size")
    share = wide.div(wide.sum(axis=1).where(lambda total: total > 0), axis=0)
    found: list[list[float]] = share.reindex(index=order, columns=order).fillna(0.0).to_numpy().tolist()
    return found


def _square(x: float, y: float, share: float) -> Html:
    style = f"fill:var(--blue);fill-opacity:{max(share**0.5, 0.03):.2f}"
    return tag("rect", x=x, y=y, width=CELL - 1.5, height=CELL - 1.5, style=style)


def _regions(mine: pd.DataFrame, data: Attributions) -> Html:
    error = mine.groupby("region")["completeness_error"].max().to_dict()
    groups = dict(iter(mine.groupby(["region", "kind"])))
    graphs = [kind for kind in GRAPHS if (mine["kind"] == kind).any()]
    head = ["region", *SHARES, "listens to", "days back", "covariates", *(GRAPHS[kind] for kind in graphs), "error"]
    lines = []
    for region in [name for name in data.names if name in error]:
        part = _values(groups.get((region, "share")))
        others = {kind: _values(groups.get((region, kind))) for kind in ("occlusion", *graphs)}
        named = {
            kind: {_name(data, source): value for source, value in values.items() if source != region}
            for kind, values in others.items()
        }
        days = {f"day {lag}": value for lag, value in _values(groups.get((region, "lag"))).items()}
        texts = [
            _largest(named["occlusion"], others["occlusion"]),
            _largest(days, days),
            _largest(covariates := _values(groups.get((region, "covariate"))), covariates),
            *(_largest(named[kind], others[kind]) for kind in graphs),
        ]
        cells = [tag("td", tag("b", _name(data, region)))]
        cells += [tag("td", percent(part.get(name, 0.0), 0), class_="num") for name in SHARES]
        cells += [*(tag("td", text) for text in texts), tag("td", _trusted(error[region]), class_="num")]
        lines.append(tag("tr", *cells))
    few = len(data.names) < data.regions
    note = f"The {len(data.names)} largest of {plural(data.regions, 'region')}, in the map's order." if few else None
    made = table(head, lines, (*SHARES, "error"), "None of the regions shown has a forecast of this network.")
    return join([made, tag("p", note, class_="muted") if note else None])


def _trusted(error: float) -> str:
    """A completeness error, with a word where it is too large."""
    return f"{percent(error)}, mistrust" if error > TOO_LARGE else percent(error)


def _values(rows: pd.DataFrame | None) -> dict[str, float]:
    """source -> value, without what is not named."""
    return {} if rows is None else {str(r.source): float(r.value) for r in rows_of(rows) if r.source != OTHERS}


def _largest(named: dict[str, float], all_of_them: dict[str, float]) -> str:
    """The largest by size, each with its share in the sizes of all."""
    total = sum(map(abs, all_of_them.values()))
    first = sorted(named, key=lambda name: -abs(named[name]))[:NAMED] if total > 0 else []
    return ", ".join(f"{name} ({percent(abs(named[name]) / total, 0)})" for name in first) or UNKNOWN


def _glossary(data: Attributions) -> Html:
    rows = [tag("tr", tag("td", tag("b", name)), tag("td", text)) for name, text in GLOSSARY.items()]
    query = f"select * from {data.dataset}.attributions where run_id = '{data.run_id}' and region = '…' order by kind"
    return join([table(("column", "meaning"), rows), tag("p", "All figures: ", tag("code", query), class_="muted")])
