"""The models side by side: errors, intervals, time, failures; always beside the seasonal naive."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stspark.names import CHAMPION, NAIVE
from stspark.report import words
from stspark.report.data import ReportData, rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.verdict import EVEN, gain
from stspark.report.words import listing, number, percent, seconds, signed, whole

CHOICE = (
    "Each region's chosen model is the combination of all models, or the one that its back-tests show to be clearly "
    "better; a region with little history is given what others lend it, where the model borrowed takes part. The row "
    "champion is judged fairly: weights, choice and intervals of each back-test were learnt from earlier ones. "
)
HEADS = (
    ("model", ""),
    ("WAPE", "summed absolute error as a share of the summed volume: smaller is better"),
    ("", ""),
    ("against naive", "the model's WAPE against the seasonal naive's"),
    ("MASE", "error in units of the naive's error in training: below 1 beats it"),
    ("bias", "forecast minus actual as a share of volume: + is too high"),
    ("pinball", "loss of all quantiles, in the target's unit: smaller is better"),
    ("80% held", "share of days within the 80% interval: 80% is right"),
    ("80% width", "mean width of the 80% interval, in the target's unit: narrower is sharper"),
    ("champion in", "regions whose chosen model it is"),
    ("fitting", "seconds on executors, all fits and back-tests together"),
    ("failed", "fits that failed, took too long or were skipped: the naive stood in"),
)
NETWORKS_PAGE = "networks.html"
"""Beside the report; jobs/attribute.py writes it."""
UNHIDE = ('<p id="networks" hidden>', '<p id="networks">')
"""What has the report lead there."""
WIDEST = 84.0
"""Pixels of the longest error bar."""


def comparison(data: ReportData) -> Html:
    """The table, and what its columns mean."""
    models = data.ranked_models()
    whole_models = [model for model in models if model not in data.partial_models()]
    heads = [
        tag("th", text, class_="num" if k and text else None, title=hint or None)
        for k, (text, hint) in enumerate(HEADS)
    ]
    rows = [_row(data, model) for model in models]
    meaning = join(tag("span", tag("b", text), f" {hint}. ") for text, hint in HEADS if hint)
    return tag(
        "div",
        tag(
            "div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="models"), class_="scroll"
        ),
        tag("p", _losers(data, whole_models), _alone(data, whole_models)),
        tag(
            "p", tag("a", "What the networks look at", href=NETWORKS_PAGE), id="networks", hidden=not data.networks_page
        ),
        tag("p", CHOICE, meaning, class_="muted small"),
        class_="card",
    )


def _to_the_networks() -> Html:
    return tag("a", "What the networks look at", href=NETWORKS_PAGE)


def _row(data: ReportData, model: str) -> Html:
    errors = data.metric("wape")
    compared = [v for m, v in errors.items() if math.isfinite(v) and m not in data.partial_models()]
    largest = max(compared, default=math.nan)
    error = errors.get(model, math.nan)
    partial = model in data.partial_models()
    better = math.nan if partial else gain(error, errors.get(NAIVE, math.nan))
    values = {m: data.metric(m).get(model, math.nan) for m in ("mase", "bias", "pinball", "coverage_80", "width_80")}
    cells = [
        tag("td", _name(model, data.judged_days() if partial else {})),
        tag("td", words.error(error), class_="num"),
        tag("td", _bar(math.nan if partial else error / largest if largest > 0 else math.nan), class_="bar"),
        _against(better, model),
        *(
            tag("td", text, class_="num")
            for text in (
                number(values["mase"]),
                signed(values["bias"], 1),
                number(values["pinball"]),
                percent(values["coverage_80"], 0),
                number(values["width_80"]),
            )
        ),
        *(tag("td", text, class_="num") for text in _effort(data, model)),
    ]
    return tag("tr", *cells, class_={CHAMPION: "champion", NAIVE: "naive"}.get(model))


def _name(model: str, days: Mapping[str, float]) -> Html:
    """days: region-days by model, where this one is not for all of them."""
    said = {CHAMPION: " the chosen model of each region", NAIVE: " the yardstick"}.get(model)
    if days:
        said = f" for some regions: {whole(days[model])} of {whole(days[NAIVE])} region-days"
    return join([tag("b", model), tag("span", said, class_="muted") if said else None])


def _bar(share: float) -> Html | None:
    """A bar as long as the error."""
    if not math.isfinite(share):
        return None
    return tag("i", class_="length", style=f"width:{max(share, 0.0) * WIDEST:.0f}px")


def _against(better: float, model: str) -> Html:
    if model == NAIVE or math.isnan(better):
        return tag("td", "–", class_="num muted")
    if better < -EVEN:
        return tag("td", f"▲ {percent(-better)} worse", class_="num worse")
    return tag(
        "td",
        f"{percent(better)} better" if better > EVEN else "no better",
        class_="num better" if better > EVEN else "num",
    )


def _effort(data: ReportData, model: str) -> tuple[str, str, str]:
    """Champion count, seconds, failures of a model, from its rows by status."""
    if model == CHAMPION:
        return "", "", ""
    mine = data.models[data.models["model"] == model]
    bad = [f"{whole(row.n)} {row.status}" for row in rows_of(mine) if row.status != "ok"]
    took = seconds(float(mine["fit_seconds"].sum())) if len(mine) else seconds(None)
    return whole(data.champion_counts().get(model, 0)), took, ", ".join(bad) or "0"


def _alone(data: ReportData, models: list[str]) -> str:
    """What a planner must know who sees one model before the champion."""
    errors = data.metric("wape")
    better = [
        m for m in models if m not in (CHAMPION, NAIVE) and errors.get(m, math.inf) < errors.get(CHAMPION, -math.inf)
    ]
    if not better:
        return ""
    return f" {better[0]} alone would have missed by {words.error(errors[better[0]])}, less than the choice did."


def _losers(data: ReportData, models: list[str]) -> str:
    errors = data.metric("wape")
    naive = errors.get(NAIVE, math.nan)
    tried = [m for m in models if m not in (CHAMPION, NAIVE) and m in errors]
    losers = [m for m in tried if gain(errors[m], naive) <= EVEN]
    if not tried or math.isnan(naive):
        return "No model can be compared: there are no back-test errors."
    if not losers:
        return (
            f"All {len(tried)} models beat the seasonal naive."
            if len(tried) > 1
            else f"{tried[0]} beats the seasonal naive."
        )
    return f"▲ No better than the seasonal naive over all: {listing(losers)} ({len(losers)} of {len(tried)} models)."
