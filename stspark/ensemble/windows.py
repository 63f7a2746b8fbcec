"""Back-test forecasts of many models as arrays: what the ensemble learns from. No Spark.

A window is a cutoff and the days forecast from it. Whatever is done in a window is learnt from strictly earlier
windows, so that no window judges what it has chosen itself; where they overlap (a step shorter than gap and horizon),
only from their days that had come by its cutoff.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stspark.names import NAIVE, quantile_column

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
KEYS = ("region", "cutoff", "horizon", "model")


@dataclass(frozen=True)
class Windows:
    """Forecasts of R regions, K windows (oldest first), H days, M models and Q quantiles, beside what came.

    y: [R, K, H], NaN where nothing was observed or nothing has come yet; point: [R, K, H, M], NaN where there is no
    forecast; quantiles: [R, K, H, M, Q]; own: [R, K, M], False where another model stood in; event: [R, K, H].
    """

    regions: tuple[str, ...]
    cutoffs: tuple[Any, ...]
    horizons: tuple[int, ...]
    models: tuple[str, ...]
    levels: tuple[float, ...]
    y: Floats
    point: Floats
    quantiles: Floats
    own: Flags
    event: Flags

    @property
    def naive(self) -> int:
        """Place of the seasonal naive among the models."""
        return self.models.index(NAIVE)

    def of_regions(self, chosen: Flags) -> Windows:
        """The windows of some regions; chosen: [R]."""
        names = tuple(name for name, here in zip(self.regions, chosen, strict=True) if here)
        parts = {part: getattr(self, part)[chosen] for part in ("y", "point", "quantiles", "own", "event")}
        return replace(self, regions=names, **parts)

    def with_model(self, name: str, point: Floats, quantiles: Floats) -> Windows:
        """The same with one more model: point [R, K, H], quantiles [R, K, H, Q]."""
        own = np.ones((*self.own.shape[:2], 1), dtype=bool)
        return replace(
            self,
            models=(*self.models, name),
            point=np.concatenate([self.point, point[..., None]], axis=3),
            quantiles=np.concatenate([self.quantiles, quantiles[:, :, :, None, :]], axis=3),
            own=np.concatenate([self.own, own], axis=2),
        )

    def made(self, r: int, k: int) -> Flags:
        """[M] models that made their own forecasts of all days that any model forecast in this window of a region."""
        known = np.isfinite(self.point[r, k])
        asked = known.any(axis=1)
        whole: Flags = known[asked].all(axis=0) & asked.any() & self.own[r, k]
        return whole

    def errors(self) -> Floats:
        """[R, K, H, M] forecast minus actual; NaN where either is not known."""
        return self.point - self.y[..., None]

    def apart(self, k: int) -> list[int]:
        """Windows before the k-th that do not overlap each other, counted back from the newest."""
        cutoff = np.array(self.cutoffs[:k], dtype="datetime64[D]").astype(np.int64)
        found: list[int] = []
        for place in reversed(range(k)):
            if not found or cutoff[found[-1]] - cutoff[place] >= max(self.horizons) - min(self.horizons) + 1:
                found.append(place)
        return found[::-1]

    def come(self, k: int) -> Flags:
        """[k, H] days of the windows before the k-th that had come by its cutoff: all, unless windows overlap."""
        cutoff = np.array(self.cutoffs, dtype="datetime64[D]")
        days = cutoff[:k, None] + np.asarray(self.horizons, dtype="timedelta64[D]")
        came: Flags = days <= cutoff[k]
        return came

    def before(self, values: Floats, k: int) -> Floats:
        """[R, k, H, ...] of values [R, K, H, ...]: what was known of earlier windows at the k-th's cutoff, else NaN."""
        came = self.come(k)
        return np.where(came.reshape(1, *came.shape, *[1] * (values.ndim - 3)), values[:, :k], np.nan)

    def scale(self) -> Floats:
        """[R, K] the seasonal naive's mean absolute error known at each cutoff; NaN before the first error.

        Regions of all sizes count alike when their errors are divided by it.
        """
        error = np.abs(self.errors()[..., self.naive])
        seen = [self.before(error, k) for k in range(len(self.cutoffs))]
        total = np.stack([np.nansum(part, axis=(1, 2)) for part in seen], axis=1)
        n = np.stack([np.isfinite(part).sum(axis=(1, 2)) for part in seen], axis=1)
        mean: Floats = np.divide(total, n, out=np.full(total.shape, np.nan), where=(n > 0) & (total > 0))
        return mean


@dataclass(frozen=True)
class Axes:
    """The order of cutoffs, days ahead, models and quantiles (levels and their columns) in all arrays."""

    cutoffs: tuple[Any, ...]
    horizons: tuple[int, ...]
    models: tuple[str, ...]
    levels: tuple[float, ...]

    @property
    def columns(self) -> list[str]:
        """The quantiles' columns."""
        return [quantile_column(q) for q in self.levels]


def to_windows(rows: pd.DataFrame, axes: Axes) -> Windows:
    """Long rows (region, cutoff, horizon, model, y, y_hat, fallback_used, event, quantile columns) as arrays.

    Rows of cutoffs, days and models that the axes lack are left out.
    """
    regions = sorted(rows["region"].unique())
    orders = (regions, axes.cutoffs, axes.horizons, axes.models)
    codes = [pd.Categorical(rows[key], categories=list(order)).codes for key, order in zip(KEYS, orders, strict=True)]
    known = np.all([c >= 0 for c in codes], axis=0)
    at = tuple(np.asarray(c[known], dtype=int) for c in codes)
    rows = rows[pd.Series(known, index=rows.index)]
    shape = tuple(len(order) for order in orders)
    point, y = np.full(shape, np.nan), np.full(shape[:3], np.nan)
    quantiles, event = np.full((*shape, len(axes.levels)), np.nan), np.zeros(shape[:3], dtype=bool)
    own = np.zeros((shape[0], shape[1], shape[3]), dtype=bool)
    point[at] = rows["y_hat"].to_numpy(dtype=float)
    quantiles[at] = rows[axes.columns].to_numpy(dtype=float)
    y[at[:3]] = rows["y"].to_numpy(dtype=float)
    event[at[:3]] = rows["event"].to_numpy(dtype=bool)
    own[at[0], at[1], at[3]] = rows["fallback_used"].isna().to_numpy()
    return Windows(
        tuple(map(str, regions)), axes.cutoffs, axes.horizons, axes.models, axes.levels,
        y, point, quantiles, own, event,
    )  # fmt: skip


def weeks(horizons: Sequence[int]) -> Flags:
    """[weeks, H] which days ahead belong to each week of the horizon."""
    week = (np.asarray(horizons) - 1) // 7
    return np.stack([week == w for w in np.unique(week)])
