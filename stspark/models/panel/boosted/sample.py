"""The rows that the boosted trees learn from: weekly origins of the past, every region, some of the days ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.boosted.features import LEVEL_DAYS, Design
from stspark.models.panel.boosted.rolling import days_at
from stspark.models.panel.boosted.transform import to_learn

ORIGIN_STEP = 7
"""Days between origins; all fall on the weekday of the cutoff."""


@dataclass(frozen=True)
class Sample:
    """x: [N, F]; z: [N] what is learned; weight: [N]."""

    x: Floats
    z: Floats
    weight: Floats


def origins(days: int, first: int = LEVEL_DAYS) -> list[int]:
    """Day indices to look ahead from, newest first: weeks apart, from `first` to a week before the last day."""
    return list(range(days - 1 - ORIGIN_STEP, first - 1, -ORIGIN_STEP))


def draw(design: Design, most: int, half_life: float, seed: int) -> Sample:
    """At most about `most` rows, drawn evenly over all that were observed; weights halve every `half_life` days.

    Raise ValueError where the history is too short for a single row.
    """
    days, horizon = len(design.y), design.panel.manifest.horizon
    chosen = origins(days)
    share = min(1.0, most / max(1, len(chosen) * design.y.shape[1] * horizon))
    parts = [seen_from(design, origin, share, half_life, seed) for origin in chosen]
    if not sum(len(part.z) for part in parts):
        raise ValueError(f"{days} days of history give no example to learn from")
    x, z, weight = (np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "z", "weight"))
    return Sample(x, z, weight)


def seen_from(design: Design, origin: int, share: float, half_life: float, seed: int) -> Sample:
    """The rows of one origin, this share of them; they do not depend on which other origins are drawn."""
    days, horizon, regions = len(design.y), design.panel.manifest.horizon, design.y.shape[1]
    picked = np.random.default_rng((seed, days - origin)).random((regions, horizon)) < share
    truth = days_at(design.y, origin + np.arange(1, horizon + 1)).T  # [R, H]
    ready = design.age[origin] >= ORIGIN_STEP
    use = picked & ~np.isnan(truth) & ready[:, None]
    x = design.rows(origin)[use]
    z = to_learn(truth, design.level[origin][:, None])[use]
    return Sample(x, z, np.full(len(z), 0.5 ** ((days - 1 - origin) / half_life)))
