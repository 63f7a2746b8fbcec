"""The report's page: complete, escaped, self-contained, and honest in its first sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stspark.names import ALL_REGIONS, CHAMPION, NAIVE, quantile_column
from stspark.report.data import ReportData, Rows, RunFacts, Totals

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
SECTIONS = ("forecast", "map", "models", "accuracy", "fits", "data", "query")


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
    )


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
