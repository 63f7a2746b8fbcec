"""What shared seasons expect of the coming days, from earlier days of a panel: a base for networks; no Spark, no torch.

A network that starts from the mean of the last same weekdays has to learn the year, holidays and every covariate from a
few years of a few regions, and learns last year's accidents with them. `shared_seasons` (structural regression,
Harvey 1989, chapter 7) say all that by a few hundred coefficients, and leave to the network what it is good at. Each
forecast is made from the targets up to its own day, so a network learns from errors like those it will meet.

Seasons are solved every GRID days of history and on its last day; in between, the last solution serves on, with the
covariates that an origin knows: none beyond its own horizon. Shapes: T days, H horizon, R regions, W solutions, G of
GRID.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stspark.models.panel.boosted.transform import from_learnt
from stspark.models.panel.order import by_name
from stspark.models.panel.seasons.arrow import fitted, robust
from stspark.models.panel.seasons.columns import columns, covariates
from stspark.models.panel.seasons.earlier import SHORTEST
from stspark.models.panel.seasons.model import STRENGTH, scaled, size
from stspark.snapshot import Floats, Snapshot

GRID = 7
"""Days between two solutions."""

Solved = dict[int, NDArray[np.float32]]
"""Day index -> [G, H, R] forecasts for origins 0 … G - 1 days later, in the target's unit; NaN for a region seen on
fewer than SHORTEST days by then."""


def expected(panel: Snapshot, since: int, solved: Solved) -> tuple[Floats, NDArray[np.int64]]:
    """Forecasts that serve the origins `since` … T - 1 of a panel cut at its cutoff.

    [W + 1, G, H, R] in the target's unit, of which the first is all NaN, and for each origin of the panel [T, 2] which
    of them is the last one made by then (0: none) and how many days before. solved: those found before, of the same
    regions; the new ones are added, but for those that a later cutoff knows more covariates for.
    """
    days = len(panel.y)
    made = [*range(-(-(SHORTEST - 1) // GRID) * GRID, days - 1, GRID), days - 1] if days >= SHORTEST else []
    made = [day for k, day in enumerate(made) if day == days - 1 or made[k + 1] > since]
    ordered = by_name(panel)
    kept = {day: solved[day] if day in solved else _ahead(ordered, day) for day in made}
    solved.update((day, values) for day, values in kept.items() if day + GRID <= days)
    found = np.stack([np.full((GRID, panel.manifest.horizon, panel.y.shape[1]), np.nan), *kept.values()])
    which = np.searchsorted(made, np.arange(days), side="right")
    age = np.arange(days) - np.array([0, *made])[which]
    return found, np.stack([which, np.where(which > 0, age, 0)], axis=1)


def _ahead(ordered: tuple[Snapshot, list[int]], day: int) -> NDArray[np.float32]:
    """One of `Solved`; ordered: what `by_name` makes of the panel."""
    panel, back = ordered
    manifest, horizon = panel.manifest, panel.manifest.horizon
    longer = replace(panel, manifest=replace(manifest, horizon=horizon + GRID - 1)).known_on(manifest.day(day))
    seen = longer.observed.sum(axis=0)
    if not seen.any():
        return np.full((GRID, horizon, len(seen)), np.nan, dtype=np.float32)

    def known(age: int) -> Snapshot:
        """With covariates up to the horizon of the origin that is so old."""
        return replace(longer, covariates=longer.covariates[: day + 1 + age + horizon])

    shown = columns(known(0))
    found = robust(shown, *scaled(longer), STRENGTH)
    values = []
    for age in range(GRID):
        coming = slice(day + 1 + age, day + 1 + age + horizon)
        values.append(fitted(replace(shown, varying=covariates(known(age))).rows(coming), *found))
    with np.errstate(over="ignore"):
        y = np.where(seen >= SHORTEST, from_learnt(np.stack(values), size(longer)), np.nan)
    return np.asarray(y[:, :, back], dtype=np.float32)
