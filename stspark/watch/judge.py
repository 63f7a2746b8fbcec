"""From days that have come to verdicts: the checks of every region, and few false alarms over all of them. No Spark.

A change of a market hits regions together, and one region alone shows it weakly: so families of regions (those of one
parent) are judged first, by Holm's rule over families; only regions of a family that stands out are judged after it, by
Benjamini & Hochberg within the family (gatekeeping; cf. Benjamini & Bogomolov 2014, selective inference on multiple
families). The checks of a region, and of a family, are combined to one p-value each (detectors.combined) before they
are corrected for their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stspark.watch import detectors
from stspark.watch.detectors import Days, Floats
from stspark.watch.rules import FAMILY_WEIGHTS, WEIGHTS
from stspark.watch.words import all_regions, check_rows, family_rows, overall_rows

ONE_ERROR = 0.1587
"""One-sided p-value of one standard error: so much a region must show to have gone along with its family."""
NOMINAL = 0.8
"""What the interval promises."""
NORMAL, MOST = 1.4826, 3.0
"""Standard deviation of normal errors in their median absolute ones; how far a day counts for correlation, in those."""
POWER = 0.75
"""Errors grow with the forecast as its 0.75th power: Taylor's law, half way from Poisson to proportional."""
COLUMNS = ("level", "region", "check", "statistic", "threshold", "p_value", "n", "verdict", "reason")


@dataclass(frozen=True)
class Region:
    """A region's days: errors y - y_hat in units of y_hat ** POWER (new, reference: [days]); held: 1 inside."""

    name: str
    family: str
    new: Days
    reference: Days
    held_new: Days
    held_reference: Days
    missing: tuple[int, int, int, int]
    """Missing days and days, new and reference."""
    zeros: tuple[int, int, int, int]
    """Days of zero demand and observed days, new and reference."""
    inputs: tuple[Floats, Floats]
    """Weekly log changes of the target, recent and earlier."""


def to_regions(days: pd.DataFrame, inputs: pd.DataFrame) -> list[Region]:
    """Regions of long rows.

    days: region, family, part (new or reference), cutoff, date, y (NaN where not observed), missing (bool), y_hat, low,
    high, z (see in_units);
    inputs: region, part, value.
    """
    changes = {key: _array(part["value"]) for key, part in inputs.groupby(["region", "part"])}
    none = np.empty(0)
    made = []
    for name, rows in days.groupby("region", sort=True):
        parts = {part: rows[rows["part"] == part].sort_values(["cutoff", "date"]) for part in ("new", "reference")}
        seen = {part: frame[frame["y"].notna()] for part, frame in parts.items()}
        held = {k: Days.of(_array(f["y"].between(f["low"], f["high"])), list(f["cutoff"])) for k, f in seen.items()}
        missing = [n for f in parts.values() for n in (int(f["missing"].sum()), len(f))]
        zeros = [n for f in seen.values() for n in (int((f["y"] == 0).sum()), len(f))]
        made.append(
            Region(
                str(name),
                str(rows["family"].iloc[0]),
                Days.of(_array(seen["new"]["z"]), list(seen["new"]["cutoff"])),
                Days.of(_array(seen["reference"]["z"]), list(seen["reference"]["cutoff"])),
                held["new"],
                held["reference"],
                (missing[0], missing[1], missing[2], missing[3]),
                (zeros[0], zeros[1], zeros[2], zeros[3]),
                (changes.get((name, "new"), none), changes.get((name, "reference"), none)),
            )
        )
    return made


def _array(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def within_windows(days: pd.DataFrame, unit: str) -> float:
    """Correlation of errors of the same unit (region, family) and cutoff, over all units: from 0 to 0.9."""
    reference = days[days["part"] == "reference"]
    scale = reference["z"].abs().groupby(reference[unit]).transform("median") * NORMAL
    z = (reference["z"] / scale.where(scale > 0)).fillna(0.0).clip(-MOST, MOST)
    by = [reference[unit], reference["cutoff"]]
    groups = z.groupby(by)
    pairs = float((groups.size() * (groups.size() - 1)).sum())
    squares = (z**2).groupby(by).sum()
    return float(np.clip((groups.sum() ** 2 - squares).sum() / pairs, 0.0, 0.9)) if pairs else 0.0


def checks(region: Region, rho: float) -> Iterator[tuple[str, float, float, int]]:
    """check, statistic, p-value, days of every check of a region."""
    new, reference = region.new, region.reference
    n = len(new)
    scale, freedom = reference.usual(rho) if len(reference) else (0.0, 2.0)
    z = np.clip(new.values / scale, -MOST, MOST) if scale > 0 else np.zeros(n)  # winsorised: Hawkins & Olwell 1998
    yield "bias", *detectors.mean_shift(new, reference, rho), n
    yield "error", *detectors.error_growth(new, reference, rho), n
    for name, detector in (("cusum", detectors.cusum), ("page_hinkley", detectors.page_hinkley)):
        value = detector(z)
        p = detectors.tail_of(name, value, n, rho, freedom) if n and scale > 0 else 1.0
        yield name, value, p, n
    usual = float(region.held_reference.values.mean()) if len(reference) else 1.0
    yield "coverage", *detectors.coverage(region.held_new, min(usual, NOMINAL), rho), n
    lost, days, lost_before, days_before = region.missing
    yield "missing", lost / max(days, 1), _run_of(lost, days, (lost_before + 0.5) / (days_before + 1)), days
    zeros, seen, zeros_before, seen_before = region.zeros
    quiet = (zeros_before + 0.5) / (seen_before + 1)
    yield "silence", zeros / max(seen, 1), _run_of(zeros, seen, quiet) if zeros >= 2 else 1.0, seen
    yield "input_drift", *detectors.psi(*region.inputs), len(region.inputs[0])


def _run_of(count: int, days: int, rate: float) -> float:
    """Probability of at least so many of `days`, where `rate` is usual."""
    return float(detectors.at_least(count, days, rate)) if count else 1.0


def judge(days: pd.DataFrame, inputs: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Rows of `monitoring` (COLUMNS): every check of every region, each family's sum, and each one's verdict.

    alpha: chance of any false alarm over families, and false discovery rate within one that stands out. Where the
    family's sum itself is off, a region has gone along that errs the same way, by more than half as much in relation to
    its forecast (so it is likelier to have moved as the family has than not at all), and by a standard error at least.
    """
    days = days.assign(z=in_units(days, "region"))
    seen = days[days["y"].notna()]
    seen = seen.assign(error=seen["y"] - seen["y_hat"], held=seen["y"].between(seen["low"], seen["high"]))
    rho = within_windows(seen, "region")
    sums = family_sums(seen)
    rho_sums = max(rho, within_windows(sums, "family"))
    table = pd.DataFrame(
        [(r.name, r.family, *found) for r in to_regions(days, inputs) for found in checks(r, rho)],
        columns=["region", "family", "check", "statistic", "p_value", "n"],
    )
    table["share"] = table["region"].map(relative_error(seen, "region")).fillna(0.0).astype(float)
    families = _families(seen, table, sums, (rho, rho_sums))
    families["found"] = detectors.holm(_array(families["p"]), alpha)
    regional = []
    for row in families.itertuples():
        mine = seen[seen["family"] == row.family]
        judged = _judge_family(row, table[table["family"] == row.family], alpha)
        regional.append(_go_along(row, judged, mine, (rho_sums, alpha)))
    return _written(families, pd.concat(regional, ignore_index=True), alpha)


def in_units(days: pd.DataFrame, unit: str) -> pd.Series[float]:
    """Errors y - y_hat in units of y_hat ** POWER; forecasts near zero count as a quarter of the unit's usual one."""
    size = days["y_hat"].abs()
    usual = size[size > 0].groupby(days[unit]).median()
    floor = days[unit].map(usual).fillna(1.0) * 0.25
    return (days["y"] - days["y_hat"]) / np.maximum(size, floor) ** POWER


def family_sums(seen: pd.DataFrame) -> pd.DataFrame:
    """family, part, cutoff, date, y, y_hat, z of the sums over a family's regions, in order of time."""
    keys = ["family", "part", "cutoff", "date"]
    sums = seen.groupby(keys, as_index=False)[["y", "y_hat"]].sum().sort_values(keys, ignore_index=True)
    return sums.assign(z=in_units(sums, "family"))


def _families(seen: pd.DataFrame, table: pd.DataFrame, sums: pd.DataFrame, rho: tuple[float, float]) -> pd.DataFrame:
    """family, statistic and p_value of its sum's bias, share, n; held, p_held, n_held; p.

    share: the sum's error, of the sum of the forecasts; held: share of its regions' days within the interval; p: that
    nothing has changed in the sum, the intervals, or any region. rho: within a forecast, of regions and of sums.
    """
    shares = relative_error(seen, "family")
    rows = []
    for family, part in table.groupby("family", sort=True):
        inside = seen[seen["family"] == family].sort_values(["part", "cutoff", "region", "date"])
        held, before = (_days(inside[inside["part"] == k], "held") for k in ("new", "reference"))
        t, p, n = summed_shift(sums[sums["family"] == family], rho[1])
        usual = min(float(before.values.mean()) if len(before) else 1.0, NOMINAL)
        covered, p_held = detectors.coverage(held, usual, rho[0])
        each = _by_region(part)
        regions = detectors.combined(each, dict.fromkeys(each, 1.0))
        least = detectors.combined({"sum": p, "held": p_held, "regions": regions}, FAMILY_WEIGHTS)
        rows.append((family, t, p, shares.get(str(family), 0.0), n, covered, p_held, len(held), least))
    names = ["family", "statistic", "p_value", "share", "n", "held", "p_held", "n_held", "p"]
    return pd.DataFrame(rows, columns=names)


def _days(rows: pd.DataFrame, column: str) -> Days:
    """Values of a column; those of one region and forecast are a block."""
    blocks = rows["cutoff"] if "region" not in rows else list(zip(rows["region"], rows["cutoff"], strict=True))
    return Days.of(_array(rows[column]), list(blocks))


def summed_shift(sums: pd.DataFrame, rho: float) -> tuple[float, float, int]:
    """t, p-value and number of new days of the bias of a family's sums."""
    new, reference = (_days(sums[sums["part"] == k], "z") for k in ("new", "reference"))
    return *detectors.mean_shift(new, reference, rho), len(new)


def relative_error(seen: pd.DataFrame, by: str) -> dict[str, float]:
    """Summed error of the new days over their summed forecasts, by region or family."""
    new = seen[seen["part"] == "new"].groupby(by)[["error", "y_hat"]].sum()
    return {str(k): float(e / f) if f > 0 else 0.0 for k, e, f in new.itertuples()}


def _by_region(table: pd.DataFrame) -> dict[str, float]:
    """One p-value per region, over its checks."""
    return {
        str(region): detectors.combined(dict(zip(rows["check"], rows["p_value"], strict=True)), WEIGHTS)
        for region, rows in table.groupby("region", sort=True)
    }


def _judge_family(family: Any, table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """The family's rows with `found`: which checks stand out, of regions that stand out; at least one of each."""
    if not family.found:
        return table.assign(found=False)
    overall = _by_region(table)
    out = detectors.benjamini_hochberg(_array(list(overall.values())), alpha)
    alarmed = {region for region, here in zip(overall, out, strict=True) if here}
    relative = table["p_value"] / table["check"].map(WEIGHTS)
    least = relative == relative.groupby(table["region"]).transform("min")
    found = table["region"].isin(alarmed) & ((relative <= alpha) | least)
    if family.p_held <= alpha * FAMILY_WEIGHTS["held"]:
        short = table["statistic"] < NOMINAL
        found |= (table["check"] == "coverage") & short & (table["p_value"] <= 2 * ONE_ERROR)
    return table.assign(found=found)


def _go_along(family: Any, table: pd.DataFrame, seen: pd.DataFrame, rule: tuple[float, float]) -> pd.DataFrame:
    """Further regions whose bias goes along with their family's.

    One region alone can carry the sum away: the regions that do not stand out by themselves must do so together.
    """
    rho, alpha = rule
    if not family.found or family.p_value > alpha * FAMILY_WEIGHTS["sum"]:
        return table
    alarmed = set(table.loc[table["found"], "region"])
    others = seen[~seen["region"].isin(alarmed)]
    t, p, _ = summed_shift(family_sums(others), rho)
    if p / 2 > alpha or np.sign(t) != np.sign(family.statistic):
        return table
    along = np.sign(table["statistic"]) == np.sign(family.statistic)
    nearer = table["share"].abs() > abs(family.share) / 2
    more = (table["check"] == "bias") & along & nearer & (table["p_value"] / 2 <= ONE_ERROR)
    return table.assign(found=table["found"] | more)


def _written(families: pd.DataFrame, table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """All rows with verdicts and reasons in words, and one `overall` row per region and for all regions."""
    regional = check_rows(table, alpha)
    overall = overall_rows(regional)
    parts = [regional, family_rows(families, alpha), overall, all_regions(overall)]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]
