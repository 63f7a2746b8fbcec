"""All regions through one panel model: fits, forecasts from every cutoff, and what is kept of failures. No Spark."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from stspark.fleet.attempt import EXPLOSIVE, FitTimeout, storable, time_limit
from stspark.models.base import Floats, Parameters
from stspark.models.panel.base import PanelForecaster, TooLittle, is_partial
from stspark.snapshot import Snapshot


@dataclass
class Attempt:
    """What became of one cutoff.

    values: [R, H, 1 + Q], NaN where a region has not started or its forecast is not sound; None = no forecast at all.
    parameters: of the forecast that was made, None where there is none. partial: the model is for some regions only.
    """

    cutoff: date
    values: Floats | None = None
    parameters: Parameters | None = None
    status: str = "ok"
    error: str | None = None
    seconds: float = 0.0
    fits: int = 0
    partial: bool = False


def run_cutoffs(model: PanelForecaster, snapshot: Snapshot, cutoffs: Sequence[date], fit_seconds: int) -> list[Attempt]:
    """Fit and forecast from each cutoff, oldest first; one that fails costs only itself and says so.

    A model that carries forward keeps the parameters of its first fit; others are fitted at every cutoff. Nothing
    after a cutoff is seen by its fit or forecast.
    """
    attempts: list[Attempt] = []
    kept: Parameters | None = None
    for cutoff in cutoffs:
        attempt, begun = Attempt(cutoff, partial=is_partial(model)), time.monotonic()
        try:
            with time_limit(fit_seconds):
                _forecast(model, snapshot.known_on(cutoff), attempt, kept if model.carries_forward else None)
        except TooLittle as reason:
            attempt.status, attempt.error = "skipped", f"{reason} on {cutoff}"
        except FitTimeout:
            attempt.status, attempt.error = "timeout", f"longer than {fit_seconds} s at cutoff {cutoff}"
        except Exception as error:  # noqa: BLE001  whatever a model raises costs only itself, and is written down
            attempt.status, attempt.error = "failed", f"{error!r} at cutoff {cutoff}"
        if attempt.values is None:
            attempt.parameters = None
        kept = attempt.parameters or kept
        attempt.seconds = time.monotonic() - begun
        attempts.append(attempt)
    return attempts


def _forecast(model: PanelForecaster, panel: Snapshot, attempt: Attempt, kept: Parameters | None) -> None:
    if len(panel.y) < model.min_length:
        attempt.status = "skipped"
        attempt.error = f"needs {model.min_length} days of history, has {len(panel.y)} on {attempt.cutoff}"
        return
    if kept is None:
        attempt.fits = 1
        attempt.parameters = storable(model.fit(_lent(panel)))
    else:
        attempt.parameters = kept
    score(model, panel, attempt)


def score(model: PanelForecaster, panel: Snapshot, attempt: Attempt) -> None:
    """Forecast from a panel cut at its cutoff with the attempt's parameters; raise ValueError for a wrong shape.

    Regions that have started and have no sound forecast are noted as a failure.
    """
    assert attempt.parameters is not None
    quantiles = panel.manifest.quantiles
    made = np.asarray(model.predict(attempt.parameters, _lent(panel), quantiles), dtype=np.float64)
    wanted = (panel.y.shape[1], panel.manifest.horizon, 1 + len(quantiles))
    if made.shape != wanted:
        raise ValueError(f"forecast has shape {made.shape}, wanted {wanted}")
    partial = is_partial(model)
    attempt.values = sound(made, panel, partial=partial)
    asked = np.asarray(model.covers(_lent(panel))) if partial else panel.alive[-1]  # type: ignore[attr-defined]
    lost = asked & np.isnan(attempt.values[:, 0, 0])
    if lost.any():
        first = panel.manifest.regions[int(np.flatnonzero(lost)[0])]
        attempt.status = "failed"
        attempt.error = (
            f"forecast of {lost.sum()} of {asked.sum()} regions is not finite or explodes, "
            f"'{first}' for one, at cutoff {attempt.cutoff}"
        )


def sound(made: Floats, panel: Snapshot, *, partial: bool = False) -> Floats:
    """made [R, H, 1 + Q] with rising quantiles, and NaN for regions that are not finite, explode or have not begun.

    partial: a region with few days or none is held to the largest past of all regions, and need not have begun.
    """
    largest = np.maximum(np.abs(panel.y).max(axis=0), 1.0)
    if partial:
        largest = np.full_like(largest, largest.max())
    with np.errstate(invalid="ignore"):
        reach = np.abs(made).max(axis=(1, 2))
        good = (panel.alive[-1] | partial) & np.isfinite(made).all(axis=(1, 2)) & (reach <= EXPLOSIVE * largest)
    rising = np.concatenate([made[:, :, :1], np.sort(made[:, :, 1:], axis=2)], axis=2)
    return np.where(good[:, None, None], rising, np.nan)


def to_rows(cutoff: date, regions: Sequence[str], values: Floats, columns: Sequence[str]) -> pd.DataFrame:
    """values: [R, H, 1 + Q] -> one row per region and day; regions whose values are NaN are left out."""
    count, steps, _ = values.shape
    rows = pd.DataFrame(values.reshape(count * steps, -1), columns=list(columns))
    ahead = np.tile(np.arange(1, steps + 1, dtype=np.int32), count)
    rows.insert(0, "cutoff", [cutoff] * len(rows))
    rows.insert(1, "region", np.repeat(np.array(regions, dtype=object), steps))
    rows.insert(2, "date", [cutoff + timedelta(days=int(k)) for k in ahead])
    rows.insert(3, "horizon", ahead)
    return rows.dropna(subset=["y_hat"])


def _lent(panel: Snapshot) -> Snapshot:
    """A copy that a model may spoil."""
    return Snapshot(
        panel.manifest,
        panel.y.copy(),
        panel.observed.copy(),
        panel.alive.copy(),
        panel.covariates.copy(),
        panel.weights.copy(),
        panel.past.copy(),
    )
