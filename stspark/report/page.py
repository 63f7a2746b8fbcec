"""The page: all sections in one file that needs no network, no server and no Spark."""

from __future__ import annotations

from importlib.resources import files

from stspark.names import CHAMPION, NAIVE
from stspark.report.accuracy import accuracy
from stspark.report.atlas import atlas
from stspark.report.comparison import comparison
from stspark.report.data import ReportData
from stspark.report.fits import fits
from stspark.report.markup import Html, join, tag
from stspark.report.outlook import outlook
from stspark.report.quality import quality
from stspark.report.query import query
from stspark.report.shell import head
from stspark.report.sums import sums
from stspark.report.verdict import judge
from stspark.report.watch import watch
from stspark.report.words import day, error, number, percent, plural, signed, whole

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
"""The page may load nothing at all: a browser holds it to being self-contained."""


def render(data: ReportData) -> str:
    """The whole page as HTML text."""
    sections = (
        ("forecast", "Forecast", "The coming days", outlook(data)),
        ("sums", "Sums", "Forecasts that add up", sums(data)),
        ("watch", "Watch", "Does what came agree?", watch(data)),
        ("map", "Map", "Where it happens", atlas(data)),
        ("models", "Models", "The models compared", comparison(data)),
        ("accuracy", "Accuracy", "Accuracy in the back-tests", accuracy(data)),
        ("fits", "Failures", "Fits and failures", fits(data)),
        ("data", "Data", "The data behind it", quality(data)),
        ("query", "Query", "How to query it", query(data.facts)),
    )
    body = [
        _header(data),
        tag("nav", *(tag("a", short, href=f"#{key}") for key, short, _, _ in sections)),
        tag("main", *(tag("section", tag("h2", title), content, id=key) for key, _, title, content in sections)),
        tag("div", id="tip", hidden=True),
        tag("script", Html(files("stspark.report").joinpath("page.js").read_text(encoding="utf-8"))),
    ]
    title = f"{data.facts.title}: forecast as of {data.facts.as_of:%Y-%m-%d}"
    return "<!doctype html>\n" + tag("html", head(title, POLICY), tag("body", *body), lang="en") + "\n"


def _header(data: ReportData) -> Html:
    facts, verdict = data.facts, judge(data)
    known = (
        ("forecast", f"{facts.target} per region and day, {plural(facts.horizon, 'day')} ahead"),
        ("as of", day(facts.as_of)),
        ("data set", facts.dataset),
        ("run", facts.run_id),
    )
    return tag(
        "header",
        tag("h1", facts.title),
        tag("p", *(tag("span", tag("span", key, class_="muted"), " ", value) for key, value in known), class_="facts"),
        tag(
            "div",
            tag("p", verdict.headline, class_="headline"),
            tag("p", verdict.sentence, class_="sentence"),
            tag("ul", *(tag("li", note) for note in verdict.notes)) if verdict.notes else None,
            class_=f"verdict {verdict.tone}",
        ),
        tag("div", *_tiles(data), class_="tiles"),
    )


def _tiles(data: ReportData) -> list[Html]:
    totals, errors, held = data.totals, data.metric("wape"), data.metric("coverage_80")
    change = signed(totals.change, 1)
    fitted = int(data.models["n"].sum())
    well = int(data.models.loc[data.models["status"] == "ok", "n"].sum())
    return [
        _tile(
            whole(totals.next_total),
            f"{data.facts.target} in the next {plural(data.facts.horizon, 'day')}",
            f"{change} on {data.facts.before}" if change != "–" else "nothing before to compare with",
        ),
        _tile(error(errors.get(CHAMPION)), "missed by the chosen models", f"seasonal naive {error(errors.get(NAIVE))}"),
        _tile(percent(held.get(CHAMPION), 0), "of days within the 80% interval", "80% is right"),
        _tile(
            f"{whole(totals.better)} of {number(totals.measured)}",
            "regions beat the naive",
            f"{whole(totals.worse)} worse than it",
        ),
        _tile(f"{whole(well)} of {whole(fitted)}", "fits ended well", f"{whole(fitted - well)} did not"),
    ]


def _tile(value: str, what: str, beside: str) -> Html:
    return tag("div", join([tag("b", value), tag("span", what), tag("span", beside, class_="muted")]), class_="tile")
