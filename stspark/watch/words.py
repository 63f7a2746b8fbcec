"""Verdicts and their reasons in words, one row each. No Spark."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stspark.names import ALL_REGIONS
from stspark.watch.rules import FAMILY_WEIGHTS, LOOK, OK, OVERALL, RECALIBRATE, RETRAIN, VERDICTS, WEIGHTS


def check_rows(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Rows of the regions' checks; the threshold is that of the p-value."""
    advised = [VERDICTS[str(c)] if found else OK for c, found in zip(table["check"], table["found"], strict=True)]
    reasons = [_told(_reason(row), advice) for row, advice in zip(table.itertuples(), advised, strict=True)]
    limits = alpha * table["check"].map(WEIGHTS)
    return table.assign(level="region", threshold=limits, verdict=advised, reason=reasons)


def _told(reason: str, verdict: str) -> str:
    """What was seen; a check that asks for nothing says so before."""
    return f"nothing unusual: {reason}" if verdict == OK else reason


def _reason(row: Any) -> str:
    days = f"{row.n} day{'' if row.n == 1 else 's'}"
    if row.check == "bias":
        way = "above" if row.statistic > 0 else "below"
        said = f"{abs(row.share):.0%} {way} the forecasts: {abs(row.statistic):.1f} standard errors over {days}"
    elif row.check == "error":
        said = f"absolute errors are {row.statistic:.2f} times those of the back-tests over {days}"
    elif row.check == "coverage":
        said = f"the interval held {row.statistic:.0%} of {days}"
    elif row.check in ("cusum", "page_hinkley"):
        said = f"{row.check.replace('_', '-')} of the residuals reaches {row.statistic:.1f} deviations over {days}"
    elif row.check == "missing":
        said = f"{row.statistic:.0%} of {days} are missing"
    elif row.check == "silence":
        said = f"{row.statistic:.0%} of {days} have no demand at all"
    else:
        said = f"PSI of the target's week-on-week changes against those before is {row.statistic:.2f} over {days}"
    return f"{said} (p = {row.p_value:.2g})"


def family_rows(families: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """The bias of each family's sum, and the coverage of its regions' intervals."""
    common = families.assign(level="parent", region=families["family"])
    bias = common.assign(
        check="bias",
        threshold=alpha * FAMILY_WEIGHTS["sum"],
        reason=[_sum_reason(row) for row in families.itertuples()],
    )
    held = common.assign(
        check="coverage",
        threshold=alpha * FAMILY_WEIGHTS["held"],
        statistic=common["held"],
        p_value=common["p_held"],
        n=common["n_held"],
    )
    held["reason"] = [
        f"the interval held {row.held:.0%} of {row.n_held} region-days (p = {row.p_held:.2g})"
        for row in families.itertuples()
    ]
    rows = pd.concat([bias, held], ignore_index=True)
    off = rows["found"] & (rows["p_value"] <= rows["threshold"])
    advised = [VERDICTS[str(check)] if is_off else OK for check, is_off in zip(rows["check"], off, strict=True)]
    told = [_told(reason, verdict) for reason, verdict in zip(rows["reason"], advised, strict=True)]
    return rows.assign(verdict=advised, reason=told)


def _sum_reason(row: Any) -> str:
    way = "above" if row.statistic > 0 else "below"
    return (
        f"the sum of the regions lies {abs(row.share):.0%} {way} the forecasts: "
        f"{abs(row.statistic):.1f} standard errors over {row.n} days (p = {row.p_value:.2g})"
    )


def overall_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """One verdict per region: broken data first, then a model that is off, then an interval that is."""
    made = []
    for region, mine in rows.groupby("region", sort=True):
        found = mine[mine["verdict"] != OK]
        verdict = OK
        broken = found["check"].isin(["missing", "silence"]).any()
        for advice in (RETRAIN, RECALIBRATE, LOOK):
            if (found["verdict"] == advice).any():
                verdict = LOOK if broken else advice
                break
        because = found[found["verdict"] == verdict].sort_values("p_value")
        reason = because["reason"].iloc[0] if len(because) else "as expected"
        made.append(
            (
                "region",
                region,
                OVERALL,
                len(found),
                1,
                float(mine["p_value"].min()),
                int(mine["n"].max()),
                verdict,
                reason,
            )
        )
    columns = ["level", "region", "check", "statistic", "threshold", "p_value", "n", "verdict", "reason"]
    return pd.DataFrame(made, columns=columns)


def all_regions(overall: pd.DataFrame) -> pd.DataFrame:
    """The one row that a pipeline obeys: retrain where any region asks for it."""
    counts = overall["verdict"].value_counts()
    verdict = next((v for v in (RETRAIN, RECALIBRATE, LOOK) if counts.get(v, 0)), OK)
    reason = ", ".join(f"{counts[v]} × {v}" for v in (RETRAIN, RECALIBRATE, LOOK, OK) if counts.get(v, 0))
    alarmed = int((overall["verdict"] != OK).sum())
    row = ("total", ALL_REGIONS, OVERALL, alarmed, 1, float(overall["p_value"].min()), len(overall), verdict, reason)
    return pd.DataFrame([row], columns=list(overall.columns))
