"""What a fit may see of a region's past, and from where forecasts are judged: the back-test's scheme. No Spark."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stspark.models.base import Series


@dataclass(frozen=True)
class Origin:
    """How models are fitted at a cutoff (Tashman 2000, Int. J. Forecasting 16: rolling origin).

    gap: days between the cutoff and the first day that is judged; history: days before the cutoff that a fit sees
    (None: all, an expanding window); refit: cutoffs after which models that carry forward are fitted again (None:
    never); blocked: the fit sees all days but those judged and a season around them, later ones too (Bergmeir & Benítez
    2012, Information Sciences 191): for comparing models on short histories, never for what is published.
    """

    gap: int = 0
    history: int | None = None
    refit: int | None = None
    blocked: bool = False

    def is_due(self, place: int) -> bool:
        """Whether models are fitted again at the cutoff of this place, counted from 0."""
        return self.blocked or (self.refit is not None and place % self.refit == 0)

    def training(self, series: Series, cutoff: np.datetime64, horizon: int) -> Series:
        """The days that a fit for this cutoff may see."""
        if self.blocked:
            return hide(series, cutoff, self.gap + horizon + series.season)
        known = series.until(cutoff)
        return known if self.history is None else known.last(self.history)


EXPANDING = Origin()


def hide(series: Series, cutoff: np.datetime64, days: int) -> Series:
    """The whole series with the days after `cutoff` not observed: they repeat the last season before them."""
    y, observed = series.y.copy(), series.observed.copy()
    start = int(np.searchsorted(series.dates, cutoff, side="right"))
    for t in range(start, min(start + days, len(y))):
        y[t], observed[t] = y[t - series.season] if t >= series.season else 0.0, False
    return replace(series, y=y, observed=observed)
