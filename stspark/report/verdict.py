"""The run's result in plain words: is the forecast better than the seasonal naive, and what must one know?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from stspark.names import BORROWED, CHAMPION, NAIVE
from stspark.report.data import ReportData
from stspark.report.words import error, listing, percent, plural, short_day, whole

Tone = Literal["good", "even", "bad", "unknown"]
EVEN = 0.01
"""Errors within one percent of each other are called equal."""
OFF = 0.05
"""An interval that holds more than this beside its promise, or a bias beyond it, is told."""


@dataclass(frozen=True)
class Verdict:
    """A sentence, how it is meant, and what has to be known beside it."""

    tone: Tone
    headline: str
    sentence: str
    notes: tuple[str, ...]


def judge(data: ReportData) -> Verdict:
    """The verdict over all regions, from the back-tests."""
    errors = data.metric("wape")
    ours, naive = errors.get(CHAMPION, math.nan), errors.get(NAIVE, math.nan)
    tone, headline, comparison = _compare(ours, naive)
    if tone == "unknown":
        sentence = "No back-test day was observed, so nothing can be said about the error of these forecasts."
    else:
        sentence = (
            f"{_occasion(data)}, the chosen models missed by {error(ours)} of volume, the seasonal naive "
            f"by {error(naive)}: {comparison}.{_held(data)}"
        )
    told = (_one_test, _losing_regions, _borrowed, _calibration, _bias, _failures, _trained, _age, _came)
    notes = tuple(note for tell in told for note in tell(data))
    return Verdict(tone, headline, sentence, notes)


def gain(ours: float, naive: float) -> float:
    """Share by which `ours` is smaller than the naive's error; negative where it is larger; NaN if not comparable."""
    return 1 - ours / naive if math.isfinite(ours) and math.isfinite(naive) and naive > 0 else math.nan


def _compare(ours: float, naive: float) -> tuple[Tone, str, str]:
    better = gain(ours, naive)
    if math.isnan(better):
        return "unknown", "Not tested", ""
    if better > EVEN:
        return "good", f"{_share(better)} better than the seasonal naive", f"{_share(better)} better"
    if better < -EVEN:
        worse = f"{_share(-better)} worse"
        return "bad", f"{worse} than the seasonal naive", f"{worse}. Use the seasonal naive until the reason is found"
    return "even", "No better than the seasonal naive", "no better"


def _share(share: float) -> str:
    return percent(share, 0 if share >= 0.095 else 1)


def _occasion(data: ReportData) -> str:
    facts = data.facts
    if facts.windows == 1:
        return f"In the one back-test of {plural(facts.horizon, 'day')}"
    often = {1: "daily ", 7: "weekly ", 14: "fortnightly "}.get(facts.step, "")
    return f"Over the last {facts.windows} {often}back-tests of {plural(facts.horizon, 'day')}"


def _held(data: ReportData) -> str:
    held = data.metric("coverage_80").get(CHAMPION, math.nan)
    return "" if math.isnan(held) else f" The 80% interval held {percent(held, 0)} of the days."


def _losing_regions(data: ReportData) -> list[str]:
    worse = data.totals.worse
    if not worse:
        return []
    regions = data.regions
    names = list(regions.loc[regions["wape"] > regions["wape_naive"] * (1 + EVEN), "name"])
    named = f": {listing(names)}" if names else ""
    verb = "does" if worse == 1 else "do"
    return [f"{whole(worse)} of {plural(data.totals.measured, 'region')} {verb} worse than the seasonal naive{named}."]


def _one_test(data: ReportData) -> list[str]:
    """Each back-test is judged on what the others chose: a single one has no others."""
    if data.facts.windows > 1:
        return []
    return [
        "One back-test cannot judge the choice of models, so the naive stood for it: set backtest.windows to 2 or more."
    ]


def _calibration(data: ReportData) -> list[str]:
    held = data.metric("coverage_80").get(CHAMPION, math.nan)
    if math.isnan(held) or abs(held - 0.8) <= OFF:
        return []
    how = "too narrow: expect more surprises than it says" if held < 0.8 else "too wide: it is safer than it says"
    return [f"The 80% interval is {how}."]


def _bias(data: ReportData) -> list[str]:
    bias = data.metric("bias").get(CHAMPION, math.nan)
    if math.isnan(bias) or abs(bias) <= OFF:
        return []
    return [
        f"In the back-tests the forecasts ran {percent(abs(bias), 0)} too {'high' if bias > 0 else 'low'} in total."
    ]


def _failures(data: ReportData) -> list[str]:
    models = data.models
    bad = int(models.loc[models["status"].isin(["failed", "timeout"]), "n"].sum())
    notes = []
    if bad:
        notes.append(
            f"{bad:,} of {plural(int(models['n'].sum()), 'model fit')} failed or ran out of time; the naive stood in."
        )
    standing_in = data.regions["fallback_used"].notna().sum()
    if standing_in:
        notes.append(f"In {plural(int(standing_in), 'region')} the forecast itself is such a stand-in.")
    return notes


def _trained(data: ReportData) -> list[str]:
    """Whose models and back-tests these are, where the watch asked for no new training."""
    day = data.facts.trained
    if day is None:
        return []
    return [
        f"Nothing asked for a new training: weights and back-tests are those of {short_day(day)}, "
        f"{plural((data.facts.as_of - day).days, 'day')} before the as-of day."
    ]


def _age(data: ReportData) -> list[str]:
    late = (data.facts.as_of - data.totals.last_day).days
    if late <= 0:
        return []
    return [f"The last observed day is {short_day(data.totals.last_day)}, {plural(late, 'day')} before the as-of day."]


def _borrowed(data: ReportData) -> list[str]:
    """Which regions lean on others."""
    young = data.champion_counts().get(BORROWED, 0)
    if not young:
        return []
    named = listing(list(data.regions.loc[data.regions["champion"] == BORROWED, "name"]), 5)
    have = "has" if young == 1 else "have"
    what = (
        f"{plural(young, 'region')} ({named}) {have} little history or none: level and shape are borrowed from others."
    )
    return [f"{what} Days that they did not have a week before are in no comparison with it."]


def _came(data: ReportData) -> list[str]:
    """What came since, where the run was made for a day in the past."""
    errors = data.metric("wape", source="actuals")
    if CHAMPION not in errors or NAIVE not in errors:
        return []
    return [
        f"Days of this forecast have come meanwhile: it missed by {error(errors[CHAMPION])} of volume, "
        f"the seasonal naive by {error(errors[NAIVE])}."
    ]
