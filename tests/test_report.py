"""The report's page: complete, escaped, self-contained, and honest in its first sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from stspark.names import ALL_REGIONS, CHAMPION, NAIVE, quantile_column
from stspark.report import places, plot, sheet, words
from stspark.report.build import without_credentials
from stspark.report.data import ReportData, Rows, RunFacts, Totals
from stspark.report.fan import drawn_bands
from stspark.report.markup import Html, tag
from stspark.report.page import render
from stspark.report.raw_rows import HIDDEN, example
from stspark.report.verdict import judge
from stspark.report.why import why

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
COLUMNS = [quantile_column(q) for q in QUANTILES]
NORMAL = np.array([-1.2816, -0.8416, -0.5244, -0.2533, 0, 0.2533, 0.5244, 0.8416, 1.2816])
AS_OF = pd.Timestamp("2025-05-31")
HORIZON = 7
CUTOFFS = [AS_OF - pd.Timedelta(days=HORIZON * k) for k in (4, 3, 2, 1)]
ERRORS = {
    "auto_ets": 0.151,
    "auto_arima": 0.155,
    "sarima": 0.158,
    "theta": 0.162,
    NAIVE: 0.198,
    "prophet": 0.213,
    "stcnn": 0.149,
}
NASTY = ("O'Brien & Söhne", "<script>alert(1)</script>", "上海市", 'a/b=c% "x"', "</style><b>", "Ο Δήμος {x} \\ ${y}")
GEOMETRY = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "d", "width", "height", "viewbox"}
SECTIONS = ("forecast", "sums", "watch", "map", "models", "accuracy", "fits", "data", "query")


def fake(regions: int = 24, seed: int = 1) -> ReportData:
    """A run as a shop would have it: Sundays closed, one region with returns, one that opened late, one that fails."""
    rng = np.random.default_rng(seed)
    names = [*NASTY, *(f"city {k}" for k in range(len(NASTY), regions))][:regions]
    level = np.sort(rng.gamma(2.0, 120.0, regions))[::-1]
    days = pd.concat([days_of(rng, name, level[k], k) for k, name in enumerate(names)], ignore_index=True)
    forecasts = pd.concat([forecast_of(rng, name, level[k], k) for k, name in enumerate(names)], ignore_index=True)
    backtests = pd.concat([backtests_of(rng, days[days["region"] == name]) for name in names], ignore_index=True)
    table = regions_of(rng, names, days, forecasts)
    worse = int((table["wape"] > table["wape_naive"] * 1.005).sum())
    return ReportData(
        facts=facts(),
        totals=totals(table, forecasts, worse),
        rows=Rows(730, 541_909, 530_104, 6_537, 5_268),
        regions=table,
        edges=edges_of(table),
        days=pd.concat([days, sum_of_days(days)], ignore_index=True),
        forecasts=pd.concat([forecasts, sum_of_forecasts(forecasts)], ignore_index=True),
        backtests=pd.concat([backtests, sum_of_backtests(backtests)], ignore_index=True),
        metrics=metrics_of(rng),
        models=models_of(regions),
        failures=failures_of(names),
        rejected=rejected_rows(),
        **after_of(forecasts),
    )


def after_of(forecasts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Sums, watch and explanations of the regions' forecasts."""
    daily = forecasts.groupby("date", as_index=False)["y_hat"].sum()
    whole = {"level": "total", "node": ALL_REGIONS, "method": "mint_shrink"}
    rows = [{**whole, "horizon": k + 1, "date": r.date, "y_hat": r.y_hat} for k, r in enumerate(daily.itertuples())]
    total = float(daily["y_hat"].sum())
    rows.append({**whole, "horizon": 0, "date": daily["date"].max(), "y_hat": total})
    for name, share in (("east & west", 0.7), ("<north>", 0.3)):
        rows.append({**whole, "level": "parent", "node": name, "horizon": 0, "date": AS_OF, "y_hat": share * total})
    levels = pd.DataFrame(rows)
    levels["y_base"] = 1.02 * levels["y_hat"]
    for column, z in zip(COLUMNS, NORMAL, strict=True):
        levels[column] = levels["y_hat"] * (1 + 0.06 * z)
    wape = {("total", "base"): 0.061, ("total", "bottom_up"): 0.058, ("total", "reconciled"): 0.055}
    errors = [(*key, value) for key, value in wape.items()] + [("region", "reconciled", 0.149)]
    known = {"n": 7, "basis": "forecasts", "first_date": AS_OF - pd.Timedelta(days=6), "last_date": AS_OF}
    alarm = {"verdict": "retrain", "p_value": 0.0004, **known}
    watched = [
        {
            "level": "total",
            "region": ALL_REGIONS,
            "check": "overall",
            "reason": "1 × retrain, 23 × ok",
            **alarm,
            "n": 24,
        },
        {"level": "region", "region": NASTY[1], "check": "bias", "reason": "36% below the forecasts", **alarm},
        {"level": "region", "region": NASTY[1], "check": "overall", "reason": "36% below the forecasts", **alarm},
        {"level": "parent", "region": "east & west", "check": "bias", "reason": "28% below the forecasts", **alarm},
    ]
    parts = {"level": 0.9, "trend": 0.02, "season": 0.05, "holiday": -0.02, "promotion": 0.05}
    one = forecasts[forecasts["region"] != ALL_REGIONS]
    explained = [
        one[["region", "date"]].assign(component=k, value=v * w * one["y_hat"], member=m, weight=w)
        for k, v in parts.items()
        for m, w in (("prophet", 0.7), ("theta", 0.3))
    ]
    return {
        "levels": levels,
        "level_errors": pd.DataFrame(errors, columns=["level", "model", "wape"]),
        "monitoring": pd.DataFrame(watched),
        "explained": pd.concat(explained, ignore_index=True),
    }


def facts() -> RunFacts:
    return RunFacts(
        dataset="simulated",
        title="Simulated shop, 24 cities",
        target="units",
        measure="pieces sold net of returns",
        run_id="20250531-0a1b2c3d",
        as_of=AS_OF,
        horizon=HORIZON,
        quantiles=QUANTILES,
        windows=4,
        step=7,
        trained=None,
        home="/data/warehouse/simulated",
        identity={"code": "stspark 0.1.0", "config": "a1b2c3d4e5f6"},
        versions={"region_day": 3, "forecasts": 7, "backtests": 5},
        seconds={"train": 143.2, "forecast": 9.1},
        tracking="sqlite:////data/warehouse/mlflow.db",
    )


def days_of(rng: np.random.Generator, name: str, level: float, k: int) -> pd.DataFrame:
    dates = pd.date_range(AS_OF - pd.Timedelta(days=363 if k != 7 else 90), AS_OF)
    t = np.arange(len(dates))
    weekday = np.array([1.0, 0.9, 0.95, 1.05, 1.3, 1.45, 0.0])[dates.weekday]
    y = level * weekday * (1 + 0.15 * np.sin(t / 40 + k)) * rng.lognormal(0, 0.14, len(t))
    y = np.round(y - (0.9 * level if k == 5 else 0))
    status = np.where(dates.weekday == 6, "closed", "observed").astype(object)
    if k == 2:
        status[-24:-17] = "missing"
    if k == 4:
        status[-40:-38] = "imputed"
    target = np.where(np.isin(status, ["closed", "missing"]), np.nan, y)
    return pd.DataFrame(
        {"region": name, "date": dates, "target": target, "status": status, "n_known": 1, "n_regions": 1}
    )


def forecast_of(rng: np.random.Generator, name: str, level: float, k: int) -> pd.DataFrame:
    dates = pd.date_range(AS_OF + pd.Timedelta(days=1), periods=HORIZON)
    weekday = np.array([1.0, 0.9, 0.95, 1.05, 1.3, 1.45, 0.0])[dates.weekday]
    mean = level * weekday * (1 + 0.1 * rng.normal()) - (0.9 * level if k == 5 else 0)
    closed = dates.weekday == 6
    mean = np.where(closed, 0.0, mean)
    spread = np.where(closed, 0.0, 0.16 * level * np.sqrt(np.linspace(1, 1.8, HORIZON)))
    frame = pd.DataFrame(
        {
            "region": name,
            "date": dates,
            "model": [m for m in ERRORS if m != NAIVE][k % 6],
            "y_hat": mean,
            "fallback_used": NAIVE if k == 3 else None,
            "is_closed": closed,
            "holiday_name": ["Dragon Boat Festival" if d == 2 else None for d in range(HORIZON)],
            "n_regions": 1,
        }
    )
    return frame.assign(**{c: mean + z * spread for c, z in zip(COLUMNS, NORMAL, strict=True)})


def backtests_of(rng: np.random.Generator, days: pd.DataFrame) -> pd.DataFrame:
    frames = []
    for cutoff in CUTOFFS:
        ahead = days[(days["date"] > cutoff) & (days["date"] <= cutoff + pd.Timedelta(days=HORIZON))]
        for role, noise in (("champion", 0.1), ("naive", 0.2)):
            y_hat = ahead["target"] * rng.lognormal(0, noise, len(ahead))
            frames.append(
                pd.DataFrame(
                    {"region": ahead["region"], "cutoff": cutoff, "date": ahead["date"], "role": role, "y_hat": y_hat}
                )
            )
    return pd.concat(frames, ignore_index=True)


def regions_of(rng: np.random.Generator, names: list[str], days: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    n = len(names)
    naive = rng.uniform(0.12, 0.4, n)
    table = pd.DataFrame(
        {
            "region": names,
            "name": names,
            "lat": rng.uniform(23, 43, n),
            "lng": rng.uniform(103, 121, n),
            "volume": [days.loc[days["region"] == r, "target"].tail(56).abs().sum() for r in names],
            "next_total": [forecasts.loc[forecasts["region"] == r, "y_hat"].sum() for r in names],
            "change": rng.normal(0, 0.15, n),
            "champion": [forecasts.loc[forecasts["region"] == r, "model"].iloc[0] for r in names],
            "fallback_used": [NAIVE if k == 3 else None for k in range(n)],
            "wape": naive * rng.uniform(0.55, 1.08, n),
            "wape_naive": naive,
        }
    )
    if n > 10:
        table.loc[9, ["lat", "lng"]] = np.nan
        table.loc[10, ["wape", "wape_naive", "change"]] = np.nan
    return table


def totals(table: pd.DataFrame, forecasts: pd.DataFrame, worse: int) -> Totals:
    measured = int(table["wape"].notna().sum())
    return Totals(
        regions=len(table),
        volume=float(table["volume"].sum()),
        measured=measured,
        better=measured - worse,
        worse=worse,
        next_total=float(forecasts["y_hat"].sum()),
        change=0.034,
        first_day=pd.Timestamp("2023-09-01"),
        last_day=AS_OF,
        statuses={"observed": 14_811, "closed": 2_488, "missing": 7, "imputed": 2},
    )


def edges_of(table: pd.DataFrame) -> pd.DataFrame:
    names = list(table["region"])
    pairs = [(a, names[(i + step) % len(names)]) for i, a in enumerate(names) for step in (1, 3)]
    return pd.DataFrame(pairs, columns=["region", "neighbour"])


def sum_of_days(days: pd.DataFrame) -> pd.DataFrame:
    total = days.groupby("date", as_index=False).agg(
        target=("target", lambda v: v.sum(min_count=1)), n_known=("target", "count"), n_regions=("region", "count")
    )
    return total.assign(region=ALL_REGIONS, status=np.where(total["target"].isna(), "closed", "observed"))


def sum_of_forecasts(forecasts: pd.DataFrame) -> pd.DataFrame:
    total = forecasts.groupby(["date", "model"], as_index=False).agg(
        y_hat=("y_hat", "sum"), is_closed=("is_closed", "all"), n_regions=("region", "count")
    )
    return total.assign(region=ALL_REGIONS, fallback_used=None, holiday_name=None)


def sum_of_backtests(backtests: pd.DataFrame) -> pd.DataFrame:
    return (
        backtests.groupby(["cutoff", "date", "role"], as_index=False)["y_hat"]
        .sum(min_count=1)
        .assign(region=ALL_REGIONS)
    )


def metrics_of(rng: np.random.Generator, champion: float = 0.142) -> pd.DataFrame:
    rows = []
    for model, wape in {CHAMPION: champion, **ERRORS}.items():
        shape = rng.uniform(0.9, 1.1)
        for horizon in range(HORIZON + 1):
            grow = 1.0 if horizon == 0 else 0.85 + 0.045 * horizon * shape
            values = {
                "wape": wape * grow,
                "mase": 5 * wape * grow,
                "bias": rng.normal(0, 0.02),
                "pinball": 40 * wape,
                "width_80": 900 * wape,
            }
            values |= {f"coverage_{c}": np.clip(c / 100 + rng.normal(-0.02, 0.02), 0, 1) for c in (20, 40, 60, 80)}
            rows += [("backtest", model, horizon, m, v, 600) for m, v in values.items()]
    return pd.DataFrame(rows, columns=["source", "model", "horizon", "metric", "value", "n"])


def models_of(regions: int) -> pd.DataFrame:
    rows = [(m, "ok", regions if m != "stcnn" else 1, 12.5 * k + 0.4, 4 * regions) for k, m in enumerate(ERRORS)]
    rows += [("prophet", "timeout", 1, 60.0, 1), ("auto_arima", "failed", 1, 0.2, 1), ("sarima", "skipped", 1, 0.0, 0)]
    return pd.DataFrame(rows, columns=["model", "status", "n", "fit_seconds", "n_fits"])


def failures_of(names: list[str]) -> pd.DataFrame:
    rows = [
        (names[0], "prophet", "timeout", "longer than 60 s at cutoff 2025-05-10", NAIVE),
        (names[-1], "auto_arima", "failed", "LinAlgError('Singular matrix <1 & 2>') at cutoff 2025-05-24", NAIVE),
        (names[-1], "sarima", "skipped", "needs 21 days of history, has 9 at cutoff 2025-05-03", NAIVE),
    ]
    return pd.DataFrame(rows, columns=["region", "model", "status", "error", "fallback_used"])


def rejected_rows() -> pd.DataFrame:
    rows = [
        ("not_a_number", "price", 2995, '{"event_id":"e17","price":"12,5O","region":"上海市"}'),
        ("unknown_region", "region", 2485, '{"event_id":"e18","region":"<img src=x onerror=alert(1)>"}'),
        ("no_time", None, 1057, None),
    ]
    return pd.DataFrame(rows, columns=["reason", "column", "n", "example"])


class Page(HTMLParser):
    """A page as a browser would see it: its elements with their attributes, and its text."""

    VOID = frozenset(("meta", "input", "br"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.text += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def data() -> ReportData:
    return fake()


@pytest.fixture(scope="module")
def few() -> ReportData:
    return fake(4)


@pytest.fixture(scope="module")
def html(data: ReportData) -> str:
    return render(data)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def emptied(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[:0]


def test_every_section_is_there_and_every_element_is_closed(page: Page) -> None:
    assert [section["id"] for section in page.of("section")] == list(SECTIONS)
    assert [link["href"] for link in page.of("a")] == [*(f"#{name}" for name in SECTIONS), "networks.html"]
    [to_networks] = [paragraph for paragraph in page.of("p") if paragraph.get("id") == "networks"]
    assert "hidden" in to_networks, "jobs/attribute.py has written no page"
    assert page.open == []


def test_the_page_loads_nothing(html: str, page: Page) -> None:
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", html)
    assert not [
        a
        for _, attributes in page.elements
        for a in attributes
        if a in ("src", "srcset", "action", "data", "xlink:href")
    ]
    assert {tag for tag, _ in page.elements} & {"link", "iframe", "img", "object", "embed", "base"} == set()
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in page.of("meta"))


def test_the_page_is_light(html: str) -> None:
    assert len(html.encode()) < 600_000


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_text_and_never_markup(page: Page, name: str) -> None:
    assert name in page.text
    assert len(page.of("script")) == len(page.of("style")) == 1
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]


def test_errors_and_raw_rows_are_shown_exactly(page: Page, data: ReportData) -> None:
    for text in [*data.failures["error"], *data.rejected["example"].dropna()]:
        assert text in page.text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"failures": emptied, "models": lambda m: m[m["status"] == "ok"]}, "ended well", id="no failure"),
        pytest.param({"models": emptied, "failures": emptied}, "no fits on record", id="no models"),
        pytest.param({"edges": emptied}, "Lines: neighbours", id="no edges"),
        pytest.param({"rejected": emptied}, "No row was rejected", id="nothing rejected"),
        pytest.param({"metrics": emptied}, "No back-test day was observed", id="no metrics"),
        pytest.param({"backtests": emptied}, "The coming days", id="no back-test rows"),
        pytest.param({"regions": lambda r: r.assign(lat=np.nan, lng=np.nan)}, "there is no map", id="no places"),
        pytest.param({"regions": lambda r: r.assign(lat=50.0, lng=14.4)}, "50°N", id="all in one place"),
        pytest.param(
            {"regions": lambda r: r.assign(wape=np.nan, wape_naive=np.nan)},
            "No region has a back-test error",
            id="no error",
        ),
        pytest.param({"regions": lambda r: r.assign(volume=0.0, change=np.nan)}, "The coming days", id="no volume"),
        pytest.param(
            {"forecasts": lambda f: f.assign(y_hat=np.nan, **dict.fromkeys(COLUMNS, np.nan))}, "–", id="no numbers"
        ),
        pytest.param({"forecasts": lambda f: f.assign(is_closed=True)}, "closed", id="all closed"),
        pytest.param({"days": lambda d: d.assign(target=np.nan, status="missing")}, "not known", id="nothing observed"),
    ],
)
def test_the_page_can_do_without(few: ReportData, change: dict, says: str) -> None:
    lacking = Page(render(replace(few, **{name: edit(getattr(few, name)) for name, edit in change.items()})))
    assert says in lacking.text
    assert lacking.open == []
    drawn = [str(v) for _, a in lacking.elements for k, v in a.items() if k in GEOMETRY]
    assert drawn
    assert not [v for v in drawn if "nan" in v or "inf" in v]
    assert not re.search(r"\bnan\b", lacking.text)


@pytest.mark.parametrize("regions", [1, 2, 9])
def test_few_regions_are_enough(regions: int) -> None:
    page = Page(render(fake(regions)))
    assert len([d for d in page.of("div") if "data-region" in d]) == regions


def test_the_largest_regions_are_shown_and_the_others_counted() -> None:
    many = fake(62)
    page = Page(render(many))
    assert len([b for b in page.of("button") if b.get("class") == "cell"]) == 60
    assert "2 smaller regions are left out" in page.text


def test_one_region_is_visible_and_the_others_wait(page: Page) -> None:
    panels = [d for d in page.of("div") if "data-region" in d]
    assert [p["data-region"] for p in panels if "hidden" not in p] == ["0"]
    assert [o["value"] for o in page.of("option")] == [p["data-region"] for p in panels]


def test_closed_and_missing_days_are_marked_and_never_drawn_as_zero() -> None:
    page = Page(render(fake(3)))
    marks = [r["class"] for r in page.of("rect") if r.get("class") in ("closed", "missing")]
    assert marks.count("missing") == 2 * 7  # seven days of one region, in its big and its small chart
    tips = [json.loads(svg["data-tips"] or "") for svg in page.of("svg") if "data-tips" in svg]
    said = [tip for chart in tips for tip in chart]
    assert any("actual closed" in tip for tip in said)
    assert any("actual not known" in tip for tip in said)
    assert not any("closed" in tip and re.search(r"(actual|forecast) 0\b", tip) for tip in said)


@pytest.mark.parametrize(
    ("champion", "tone", "says"),
    [
        pytest.param(0.142, "good", "missed by 14.2% of volume, the seasonal naive by 19.8%: 28% better", id="better"),
        pytest.param(0.250, "bad", "missed by 25.0% of volume, the seasonal naive by 19.8%: 26% worse", id="worse"),
        pytest.param(0.199, "even", "no better", id="as good"),
        pytest.param(np.nan, "unknown", "nothing can be said", id="not known"),
    ],
)
def test_the_verdict_is_plain_both_ways(few: ReportData, champion: float, tone: str, says: str) -> None:
    judged = replace(few, metrics=metrics_of(np.random.default_rng(0), champion))
    verdict = judge(judged)
    assert verdict.tone == tone
    assert says in verdict.sentence
    text = Page(render(judged)).text
    assert text.index(verdict.sentence) < text.index("The coming days")


def test_losing_regions_and_models_are_named(data: ReportData, page: Page) -> None:
    worse = data.regions[data.regions["wape"] > data.regions["wape_naive"] * 1.01]
    assert len(worse)
    notes = " ".join(judge(data).notes)
    assert all(name in notes for name in worse["name"])
    assert page.text.count("▲ worse") == len(worse) + 1
    assert "No better than the seasonal naive over all: prophet" in page.text


def test_the_verdict_tells_of_intervals_that_do_not_hold(data: ReportData) -> None:
    metrics = data.metrics.copy()
    metrics.loc[metrics["metric"] == "coverage_80", "value"] = 0.6
    assert any("too narrow" in note for note in judge(replace(data, metrics=metrics)).notes)


def test_the_seasonal_naive_is_always_in_the_table(data: ReportData) -> None:
    without = data.metrics[data.metrics["model"] != NAIVE]
    assert NAIVE in replace(data, metrics=without).ranked_models()
    assert data.ranked_models()[0] == CHAMPION
    assert data.ranked_models()[-2:] == [NAIVE, "prophet"]


def test_the_total_and_a_region_have_two_intervals(page: Page) -> None:
    inside = [a for tag, a in page.elements if tag == "path" and str(a.get("class")).startswith("band")]
    assert len(inside) == 2 * 2 * 24 + 2  # big and small chart of each region, and the total


@pytest.mark.parametrize(
    ("quantiles", "levels"),
    [
        pytest.param(QUANTILES, [80, 60], id="deciles"),
        pytest.param((0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95), [80, 50], id="with quartiles"),
        pytest.param((0.1, 0.5, 0.9), [80], id="one interval"),
        pytest.param((0.5,), [], id="no interval"),
    ],
)
def test_drawn_bands(quantiles: tuple[float, ...], levels: list[int]) -> None:
    assert [band.level for band in drawn_bands(quantiles)] == levels


def test_markup_escapes_what_is_not_markup() -> None:
    assert tag("p", "<b>", Html("<i>"), data_x="\"'&") == '<p data-x="&quot;&#x27;&amp;">&lt;b&gt;<i></p>'
    assert tag("path", d="M0", hidden=False, name=None) == '<path d="M0"/>'


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.number(12345.6), "12,346"), (words.number(-3.14159), "−3.14"), (words.number(float("nan")), "–"),
        (words.signed(-0.0001), "0%"), (words.signed(0.123), "+12%"), (words.percent(0.1423), "14.2%"),
        (words.tick(1_500_000), "1.5M"), (words.tick(12_500), "12.5k"), (words.tick(-500), "−500"),
        (words.tick(0.25), "0.25"),
        (words.listing(["a", "b", "c"]), "a, b and c"), (words.listing(["a", "b", "c"], 1), "a and 2 more"),
        (words.span(pd.Timestamp("2025-05-30"), pd.Timestamp("2025-06-02")), "30 May to 2 June 2025"),
        (words.seconds(200), "3 min 20 s"), (words.plural(1, "day"), "1 day"),
    ],
)  # fmt: skip
def test_words(written: str, expected: str) -> None:
    assert written == expected


@pytest.mark.parametrize("seed", range(20))
def test_labels_are_apart_within_bounds_and_in_order(seed: int) -> None:
    wanted = np.random.default_rng(seed).uniform(0, 100, 8)
    placed = plot.apart(list(wanted), 14, 0, 120)
    assert list(np.argsort(placed)) == list(np.argsort(wanted))
    assert np.diff(sorted(placed)).min() >= 14 - 1e-9
    assert min(placed) >= 0
    assert max(placed) <= 120


@pytest.mark.parametrize("values", [[0.0], [3.0, 7.2], [-40, 180.0], [float("nan")], [1e-6], [5e9]])
def test_an_axis_holds_its_values_and_zero(values: list[float]) -> None:
    axis = plot.value_axis(values, 0, 100)
    assert all(axis.low <= v <= axis.high for v in [0.0, *values] if v == v)
    assert 2 <= len(axis.ticks(4)) <= 11


def test_a_line_breaks_where_a_value_is_missing() -> None:
    path = plot.line([(0, 1.0), (1, 2.0), (2, float("nan")), (3, 4.0)])
    assert path == '<path d="M0.0,1.0L1.0,2.0M0.5,4.0h5"/>'


def test_a_crowd_has_a_map_of_its_own() -> None:
    europe = pd.DataFrame({"lng": np.linspace(-5, 25, 30), "lat": np.linspace(38, 60, 30)})
    world = pd.concat([europe, pd.DataFrame({"lng": [-100.0, 140.0], "lat": [40.0, -30.0]})], ignore_index=True)
    assert len(sheet.boxes(europe)) == 1
    core, whole = sheet.boxes(world)
    assert core[0] > whole[0]
    assert core[2] < whole[2]


def test_an_example_shows_the_fault_first_and_no_user() -> None:
    mapping = {"price": "UnitPrice", "user_id": "sql: regexp_replace(CustomerID, '[.]0$', '')"}
    raw = '{"InvoiceNo":"1","CustomerID":"17850.0","UnitPrice":"x"}'
    assert example(raw, "price", mapping) == f'{{"UnitPrice":"x","InvoiceNo":"1","CustomerID":"{HIDDEN}"}}'
    assert "17850" not in (example("1,17850,oops", None, mapping) or "")
    assert example(None, None, mapping) is None


def test_a_tracking_uri_loses_its_password() -> None:
    assert without_credentials("https://me:secret@tracking.example/x") == "https://tracking.example/x"
    assert without_credentials("sqlite:////data/mlflow.db") == "sqlite:////data/mlflow.db"


def test_regions_on_one_spot_are_moved_apart() -> None:
    moved = places.fanned([(10.0, 10.0, 5.0), (50.0, 50.0, 5.0), (10.0, 10.0, 3.0)])
    assert moved[1] == (50.0, 50.0, 5.0)
    assert abs(moved[0][0] - moved[2][0]) == pytest.approx(2 * places.APART)


@pytest.mark.spark
def test_the_report_of_a_run_shows_what_its_tables_hold(small_run) -> None:
    [path] = small_run.reports.glob(f"small/{small_run.ran.run_id}/index.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    assert [section["id"] for section in page.of("section")] == list(SECTIONS)
    forecasts, files = small_run.rows("forecasts"), small_run.table("ingested_files")
    total = forecasts.loc[forecasts["is_champion"], "y_hat"].sum()
    assert f"{words.whole(total)} units expected in {small_run.table('regions').shape[0]} regions" in page.text
    assert f"{words.whole(files['rows_read'].sum())} read from {len(files)} files" in page.text
    assert all(name in page.text for name in small_run.table("regions")["name"])
    errors = small_run.rows("models").query("status != 'ok'")["error"]
    assert all(error in page.text for error in errors)
    metrics = small_run.rows("metrics").query(
        "source == 'backtest' and level == 'all' and horizon == 0 and metric == 'wape'"
    )
    wape = dict(zip(metrics["model"], metrics["value"], strict=True))
    assert (
        f"missed by {words.error(wape[CHAMPION])} of volume, the seasonal naive by {words.error(wape[NAIVE])}"
        in page.text
    )


def test_a_run_without_sums_watch_and_explanations_has_a_page_all_the_same():
    data = fake(4)
    bare = replace(
        data, levels=data.levels[:0], level_errors=data.level_errors[:0], monitoring=data.monitoring[:0],
        explained=data.explained[:0],
    )  # fmt: skip
    page = render(bare)
    assert "made no forecasts of sums" in page
    assert "No day could be judged yet" in page


def test_the_page_says_what_a_forecast_is_made_of_and_the_parts_sum_to_it():
    data = fake(4)
    region = data.shown["region"].iloc[0]
    table = why(data.explained, region)
    assert "level of the last season" in table
    assert "70% prophet, 30% theta" in table
    first = data.forecasts[data.forecasts["region"] == region].sort_values("date")["y_hat"].iloc[0]
    assert words.number(float(first)) in table


def test_a_total_that_was_moved_to_agree_with_its_own_forecast_is_told():
    data = fake(4)
    level = data.levels["level"].eq("total") & data.levels["horizon"].eq(0)
    moved = 1.01 * data.totals.next_total
    levels = data.levels.assign(y_hat=data.levels["y_hat"].where(~level, moved))
    told = "Made to agree with forecasts of the sums themselves it is"
    assert f"{told} {words.whole(moved)} (section Sums)" in render(replace(data, levels=levels))
    agreed = data.levels.assign(y_hat=data.levels["y_hat"].where(~level, data.totals.next_total))
    assert told not in render(replace(data, levels=agreed))
