"""The page of the diagnostics: what the regions' demand is like, in a planner's words, and every test behind it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.names import ALL_REGIONS
from stspark.report.data import rows_of
from stspark.report.markup import Html, join, tag
from stspark.report.shell import page, table, write
from stspark.report.words import listing, plural
from stspark.settings import Settings

log = logging.getLogger("stspark")

SHOWN = 1000
"""Regions in the page's table; the table diagnostics has all."""
ADVICE = {
    "smooth": "any model will do; judge them by the back-test",
    "erratic": "expect wide intervals: look at what made the large days (orders of firms, promotions)",
    "intermittent": "models for seldom sales (Croston and its kin); plan by the week rather than by the day",
    "lumpy": "the hardest: plan stock by quantiles, or together with the parent region",
}
GLOSSARY = {
    "demand_class": "How often a region sells and how evenly: smooth, intermittent, erratic or lumpy. The statistic is "
    "the mean number of open days from sale to sale.",
    "season_strength, trend_strength": "0 = none, 1 = all of the movement comes from the season or the trend (STL).",
    "season_length": "The period that stands out most, by Fisher's test on the periodogram.",
    "adf, kpss": "Does the series return to its level? ADF assumes that it does not, KPSS that it does.",
    "acf, pacf": "Which days back resemble today; pacf counts what the days between do not tell.",
    "ljung_box": "Is a pattern left once season and trend are taken out?",
    "arch": "Do calm and wild spells follow each other? Then one width of interval does not fit all days.",
    "change_points": "Weeks in which the level jumped; the p-value is that of the CUSUM test for a steady level.",
    "outliers": "Days flagged in region_day.is_outlier: far from their weekday's usual value, holidays excepted.",
    "suggested_d, suggested_D, suggested_season": "Orders of differences and the season for an ARIMA model.",
    "moran_levels, local_moran": "Do large regions lie beside large ones, and where.",
    "moran_residuals": "Are regions that are neighbours surprised on the same days?",
    "moran_space_time, sar_coefficient": "Does yesterday next door tell something about today here? The coefficient "
    "leaves out what the region's own yesterday tells already.",
}


@dataclass(frozen=True)
class Diagnosis:
    """What the page shows: long findings (region, test, statistic, p_value, verdict) and the regions' names."""

    title: str
    dataset: str
    as_of: date
    season: int
    findings: pd.DataFrame
    names: Mapping[str, str]
    regions: int
    """All regions, those beyond the page's table included."""

    def of_test(self, test: str) -> pd.DataFrame:
        """A test's rows of single regions."""
        return self.findings[(self.findings["test"] == test) & (self.findings["region"] != ALL_REGIONS)]


def write_page(diagnostics: DataFrame, regions: DataFrame, settings: Settings, as_of: date) -> str:
    """Write <reports>/<dataset>/diagnostics/index.html at once and return its path."""
    known = regions.select("region", "name").orderBy("position")
    first = known.limit(SHOWN).toPandas()
    wanted = F.broadcast(known.limit(SHOWN).select("region"))
    shown = diagnostics.join(wanted, "region", "leftsemi").unionByName(
        diagnostics.where(F.col("region") == ALL_REGIONS)
    )
    names = dict(zip(first["region"], first["name"].fillna(first["region"]), strict=True))
    data = Diagnosis(
        title=settings.title or settings.dataset,
        dataset=settings.dataset,
        as_of=as_of,
        season=settings.time.season,
        findings=shown.toPandas(),
        names=names,
        regions=regions.count(),
    )
    path = Path(settings.reports) / settings.dataset / "diagnostics" / "index.html"
    write(render(data), path)
    log.info("diagnostics: %s", path)
    return str(path)


def render(data: Diagnosis) -> str:
    """The whole page as HTML text; it loads nothing."""
    sections = (
        ("In short", tag("div", tag("ul", *(tag("li", line) for line in in_short(data))), class_="card")),
        ("Kinds of demand", _classes(data)),
        ("Between regions", _map(data)),
        ("Region by region", _regions(data)),
        ("What the tests ask", _glossary(data)),
    )
    return page(f"{data.title}: what the demand is like", data.as_of, sections)


def in_short(data: Diagnosis) -> list[str]:
    """The page's first sentences."""
    lines = []
    kinds = data.of_test("demand_class")["verdict"].str.extract(r"^(\w+):")[0].value_counts()
    told = [f"{k} in {kinds[k]}" for k in ADVICE if k in kinds]
    if told:
        lines.append(f"Of {plural(data.regions, 'region')}, demand is {listing(told)}.")
    strong = data.of_test("season_strength")
    if len(strong):
        n = int((strong["statistic"].astype(float) >= 0.64).sum())
        lines.append(f"The season of {data.season} days is strong in {n} of {plural(len(strong), 'region')}.")
    changed = data.of_test("change_points")
    moved = changed[changed["statistic"].astype(float) > 0]
    if len(moved):
        names = [data.names.get(r, r) for r in moved["region"]]
        lines.append(f"The level jumped in {plural(len(moved), 'region')}: {listing(names)}.")
    elif len(changed):
        lines.append("No region's level jumped.")
    for row in rows_of(_of_map(data)):
        if pd.notna(row.statistic) and row.test != "moran_space_time":
            lines.append(f"{row.verdict[0].upper()}{row.verdict[1:]} ({row.test}).")
    failed = data.findings[data.findings["verdict"].str.startswith("failed")]
    if len(failed):
        lines.append(f"{plural(len(failed), 'test')} failed; the rows below say why.")
    return lines


def _of_map(data: Diagnosis) -> pd.DataFrame:
    return data.findings[data.findings["region"] == ALL_REGIONS]


def _classes(data: Diagnosis) -> Html:
    kinds = data.of_test("demand_class").assign(kind=lambda t: t["verdict"].str.extract(r"^(\w+):", expand=False))
    rows = [
        tag(
            "tr",
            tag("td", tag("b", kind)),
            tag("td", len(mine), class_="num"),
            tag("td", listing([data.names.get(r, r) for r in mine["region"]])),
            tag("td", advice),
        )
        for kind, advice in ADVICE.items()
        if len(mine := kinds[kinds["kind"] == kind])
    ]
    return _table(("demand", "regions", "which", "what it means"), rows)


def _map(data: Diagnosis) -> Html:
    rows = [_finding_row(row, row.test) for row in rows_of(_of_map(data))]
    local = data.of_test("local_moran")
    found = local[local["verdict"].str.contains(" among ")]
    rows += [_finding_row(row, f"local_moran: {data.names.get(row.region, row.region)}") for row in rows_of(found)]
    if len(local) and not len(found):
        note = "No single region stands out with its neighbours (local Moran, at most 5% false discoveries)."
        return join([_table(("test", "statistic", "p-value", "verdict"), rows), tag("p", note, class_="muted")])
    return _table(("test", "statistic", "p-value", "verdict"), rows)


def _finding_row(row: Any, name: str) -> Html:
    return tag(
        "tr",
        tag("td", tag("code", name)),
        tag("td", _figure(row.statistic), class_="num"),
        tag("td", _p(row.p_value), class_="num"),
        tag("td", row.verdict),
    )


def _regions(data: Diagnosis) -> Html:
    wide = {(r.region, r.test): r for r in rows_of(data.findings)}
    head = ("region", "demand", "season", "trend", "level", "outliers", "what is left", "noise", "d, D, season")

    def verdict(region: str, test: str) -> str:
        row = wide.get((region, test))
        return row.verdict if row is not None else "–"

    def strength(region: str, test: str) -> str:
        row = wide.get((region, test))
        if row is None or pd.isna(row.statistic):
            return "–"
        return f"{row.verdict.split()[0]} ({row.statistic:.2f})"

    def orders(region: str) -> str:
        found = [wide.get((region, f"suggested_{part}")) for part in ("d", "D", "season")]
        return ", ".join("–" if f is None or pd.isna(f.statistic) else f"{f.statistic:.0f}" for f in found)

    rows = [
        tag(
            "tr",
            tag("td", tag("b", name)),
            tag("td", verdict(region, "demand_class").split(":")[0]),
            tag("td", strength(region, "season_strength")),
            tag("td", strength(region, "trend_strength")),
            tag("td", verdict(region, "change_points")),
            tag("td", verdict(region, "outliers").replace(" far from their weekday's usual value", "")),
            tag("td", verdict(region, "ljung_box")),
            tag("td", verdict(region, "arch")),
            tag("td", orders(region)),
        )
        for region, name in data.names.items()
    ]
    return _table(head, rows)


def _glossary(data: Diagnosis) -> Html:
    rows = [tag("tr", tag("td", tag("code", name)), tag("td", text)) for name, text in GLOSSARY.items()]
    query = f"select * from {data.dataset}.diagnostics where region = '…' order by test"
    note = tag("p", "A verdict speaks up at p < 0.05. All figures: ", tag("code", query), class_="muted")
    return join([_table(("test", "what it asks"), rows), note])


def _table(head: tuple[str, ...], rows: list[Html]) -> Html:
    return table(head, rows, ("regions", "statistic", "p-value"), "Nothing was tested.")


def _figure(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.3g}"


def _p(value: float | None) -> str:
    if value is None or pd.isna(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
