"""Which fits did not end well, each with its exact error."""

from __future__ import annotations

from stspark.report.data import ReportData, rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.words import plural, whole


def fits(data: ReportData) -> Html:
    """Counts by status; failures by model, region and error, as many as are known here."""
    by_status = data.models.groupby("status")["n"].sum().to_dict()
    total, bad = int(sum(by_status.values())), int(sum(n for s, n in by_status.items() if s != "ok"))
    if not total:
        return tag("div", tag("p", "The run has no fits on record."), class_="card")
    if not bad:
        return tag(
            "div",
            tag(
                "p",
                f"All {plural(total, 'fit')} of a model to a region ended well."
                if total > 1
                else "The one fit ended well.",
            ),
            class_="card",
        )
    said = ", ".join(
        f"{whole(n)} {status}" for status, n in sorted(by_status.items(), key=lambda pair: (pair[0] != "ok", pair[0]))
    )
    head = tag("tr", *(tag("th", text) for text in ("model", "region", "status", "exact error", "stood in")))
    rows = [
        tag(
            "tr",
            tag("td", row.model),
            tag("td", "all" if row.region == "*" else row.region),
            tag("td", row.status, class_="worse"),
            tag("td", tag("code", row.error or "no error was given")),
            tag("td", row.fallback_used or "none"),
        )
        for row in rows_of(data.failures)
    ]
    more = bad - len(rows)
    rest = (
        tag(
            "p",
            f"{whole(more)} more: select region, model, status, error from {data.facts.dataset}.models "
            f"where run_id = '{data.facts.run_id}' and status <> 'ok'",
            class_="muted",
        )
        if more > 0
        else None
    )
    table = tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll")
    return tag("div", join([tag("p", f"Of {plural(total, 'fit')}: {said}."), table, rest]), class_="card")
