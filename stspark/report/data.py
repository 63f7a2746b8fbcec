"""What the page shows, as bounded pandas frames: no Spark, no markup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from stspark.names import ALL_REGIONS, CHAMPION, NAIVE

SHOWN = 60
"""Regions with charts of their own: the largest by recent volume."""
PLACED = 1000
"""Regions on the map and in the lists."""
WEEKS = 8
"""Weeks of actual values before the forecast."""


@dataclass(frozen=True)
class RunFacts:
    """What is known about the run itself."""

    dataset: str
    title: str
    target: str
    measure: str
    run_id: str
    as_of: pd.Timestamp
    horizon: int
    quantiles: tuple[float, ...]
    windows: int
    step: int
    trained: pd.Timestamp | None
    """As-of day of the run whose models and back-tests serve this one; None where it has trained itself."""
    home: str
    identity: Mapping[str, str] = field(default_factory=dict)
    """Code version, config hash, data version."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Delta version of each table that the run read or wrote."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    config: str = ""
    """Path of the config file."""
    tracking: str = ""
    """MLflow's tracking URI, without credentials."""

    @property
    def before(self) -> str:
        """The days that the forecast is compared with: the same weekdays, whole weeks earlier."""
        weeks = -(-self.horizon // 7)
        return "the week before" if weeks == 1 else f"the {weeks} weeks before"


@dataclass(frozen=True)
class Totals:
    """Figures over all regions, those without charts included."""

    regions: int
    volume: float
    measured: int
    """Regions with a back-test error of both champion and naive."""
    better: int
    worse: int
    next_total: float
    change: float
    """Of the forecast on the same days of the previous week; NaN where nothing can be compared."""
    first_day: pd.Timestamp
    last_day: pd.Timestamp
    """First day of the data and last observed one."""
    statuses: Mapping[str, int]
    """Region-days by status."""


@dataclass(frozen=True)
class Rows:
    """Account of all input rows ever read: read = kept + rejected + duplicate."""

    files: int
    read: int
    kept: int
    rejected: int
    duplicate: int


def empty(*columns: str) -> pd.DataFrame:
    """A frame without rows: what a run has not made."""
    return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})


@dataclass(frozen=True)
class ReportData:
    """All frames of a report; region `*` stands for all regions together; dates are datetime64,
    text that is not known is None, numbers NaN.

    regions: region, name, lat, lng, volume, next_total, change, champion, fallback_used, wape, wape_naive, n_<status>;
        by falling volume, at most PLACED.
    edges: region, neighbour.
    days: region, date, target, status, n_known, n_regions; NaN target = none (closed or missing), 0 = a true zero.
    forecasts: region, date, model, y_hat, quantile columns, fallback_used, is_closed, holiday_name, n_regions: the
        champions' rows of the regions shown, and sums by date and model for `*`.
    backtests: region, cutoff, date, role (champion or naive), y_hat: as the forecasts.
    metrics: source, model, horizon (0 = whole), metric, value, n: over all regions.
    models: model, status, n, fit_seconds, n_fits.
    failures: region, model, status, error, fallback_used: some of those that are not ok.
    rejected: reason, column, n, example.
    levels: level, node, horizon (0 = whole), date, method, y_base, y_hat, quantile columns: the total by day, and every
        node above the regions over the whole horizon.
    level_errors: level, model, wape: of the back-tests' days.
    monitoring: level, region, check, verdict, reason, p_value, n, basis, first_date, last_date: what stands out.
    explained: region, date, member, component, value, weight: of the regions shown.
    """

    facts: RunFacts
    totals: Totals
    rows: Rows
    regions: pd.DataFrame
    edges: pd.DataFrame
    days: pd.DataFrame
    forecasts: pd.DataFrame
    backtests: pd.DataFrame
    metrics: pd.DataFrame
    models: pd.DataFrame
    failures: pd.DataFrame
    rejected: pd.DataFrame
    levels: pd.DataFrame = field(default_factory=lambda: empty("level", "node", "horizon", "date", "y_hat"))
    level_errors: pd.DataFrame = field(default_factory=lambda: empty("level", "model", "wape"))
    monitoring: pd.DataFrame = field(default_factory=lambda: empty("level", "region", "check", "verdict"))
    explained: pd.DataFrame = field(default_factory=lambda: empty("region", "date", "component", "value"))

    networks_page: bool = False
    """Whether the page of the networks lies beside this one."""

    @property
    def shown(self) -> pd.DataFrame:
        """The regions that have charts of their own, largest first."""
        return self.regions.head(SHOWN)

    def metric(self, metric: str, horizon: int = 0, source: str = "backtest") -> dict[str, float]:
        """model -> value of a metric over all regions."""
        return self._over_all("value", metric, horizon, source)

    def judged_days(self) -> dict[str, float]:
        """model -> region-days of the back-tests that its errors are of."""
        return self._over_all("n", "wape", 0, "backtest")

    def _over_all(self, column: str, metric: str, horizon: int, source: str) -> dict[str, float]:
        rows = self.metrics
        mine = rows[(rows["metric"] == metric) & (rows["horizon"] == horizon) & (rows["source"] == source)]
        return dict(zip(mine["model"], mine[column].astype(float), strict=True))

    def partial_models(self) -> set[str]:
        """Models for some regions only: their errors are of fewer days than the naive's, and not comparable."""
        days = self.judged_days()
        return {model for model, n in days.items() if n < days.get(NAIVE, 0)}

    def ranked_models(self) -> list[str]:
        """All models: champion first, then by WAPE; those for some regions, and those without a back-test last."""
        errors, partial = self.metric("wape"), self.partial_models()
        known = {*errors, *self.models["model"]} - {CHAMPION} | {NAIVE}
        ranked = sorted(known, key=lambda m: (m in partial, errors.get(m, float("inf")), m))
        return [CHAMPION, *ranked] if CHAMPION in errors else ranked

    def champion_counts(self) -> dict[str, int]:
        """model -> regions in which it is the champion, of all regions."""
        total = self.forecasts[self.forecasts["region"] == ALL_REGIONS]
        return dict(total.groupby("model")["n_regions"].max().astype(int))


def rows_of(frame: pd.DataFrame) -> list[Any]:
    """The rows as named tuples."""
    return list(frame.itertuples(index=False))


def of_region(frame: pd.DataFrame, region: str) -> pd.DataFrame:
    """The rows of one region, by date."""
    return frame[frame["region"] == region].sort_values("date", kind="stable")
