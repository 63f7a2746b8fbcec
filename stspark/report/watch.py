"""The watch: does what has come agree with what was forecast?"""

from __future__ import annotations

from typing import Any

from stspark.names import ALL_REGIONS
from stspark.report.data import ReportData, rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.words import plural, span

CHECKS = {
    "bias": "bias",
    "error": "larger errors",
    "cusum": "drift (CUSUM)",
    "page_hinkley": "drift (Page–Hinkley)",
    "coverage": "interval",
    "missing": "missing days",
    "silence": "no demand",
    "input_drift": "changed input",
    "overall": "all checks",
}


def watch(data: ReportData) -> Html:
    """The verdict over all regions, and every check that stands out; a sentence where nothing could be judged."""
    rows = data.monitoring
    total = rows[rows["level"] == "total"]
    if total.empty:
        return tag("div", tag("p", "No day could be judged yet."), class_="card")
    whole = next(iter(rows_of(total)))
    calm = whole.verdict == "ok"
    days = span(whole.first_date, whole.last_date)
    basis = (
        f"Forecasts for {days}, made before these days came, against what came."
        if whole.basis == "forecasts"
        else f"No forecast's day has come yet: the last back-test ({days}) stands for it, judged by the earlier ones."
    )
    said = "As expected" if calm else f"{str(whole.verdict)[0].upper()}{str(whole.verdict)[1:]}"
    parts = [
        tag("p", tag("b", said, class_="big better" if calm else "big worse"), f" {basis}"),
        tag("p", _counts(whole, data), class_="muted"),
    ]
    found = rows[(rows["verdict"] != "ok") & (rows["level"] != "total") & (rows["check"] != "overall")]
    if len(found):
        parts.append(_table(found.sort_values(["level", "p_value"]).head(60)))
    return tag("div", join(parts), class_="card")


def _counts(whole: Any, data: ReportData) -> str:
    regions = plural(int(whole.n), "region")
    if whole.verdict == "ok":
        return f"In none of {regions} does any check stand out: bias, error, drift, interval, missing days, inputs."
    return f"Of {regions}: {whole.reason}. Parents are judged before their regions, so that few alarms are false."


def _table(found: Any) -> Html:
    head = tag("tr", *(tag("th", text) for text in ("where", "verdict", "check", "reason")))
    body = [
        tag(
            "tr",
            tag("td", tag("b", f"{_name(row)} (sum)") if row.level == "parent" else row.region),
            tag("td", row.verdict, class_="worse"),
            tag("td", CHECKS.get(row.check, row.check)),
            tag("td", row.reason),
        )
        for row in rows_of(found)
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll")


def _name(row: Any) -> str:
    return "all regions" if row.region == ALL_REGIONS else str(row.region)
