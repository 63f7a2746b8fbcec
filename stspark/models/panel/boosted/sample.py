"""The rows that the boosted trees learn from: weekly origins of the past, every region, some of the days ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.boosted.features import LEVEL_DAYS, Design
from stspark.models.panel.boosted.transform import to_learn

ORIGIN_STEP = 7
"""Days between origins; all fall on the weekday of the cutoff."""


@dataclass(frozen=True)
class Sample:
    """x: [N, F]; z: [N] what is learned; weight: [N]."""

    x: Floats
    z: Floats
    weight: Floats


def origins(days: int) -> list[int]:
    """Day indices to look ahead from, newest first: at least a week before the last day, weeks apart."""
    return list(range(days - 1 - ORIGIN_STEP, LEVEL_DAYS - 1, -ORIGIN_STEP))


def draw(design: Design, most: int, half_life: float, seed: int) -> Sample:
    """At most about `most` rows, drawn evenly over all that were observed; weights halve every `half_life` days.

    Raise ValueError where the history is too short for a single row.
    """
    rng = np.random.default_rng(seed)
    days, horizon = len(design.y), design.panel.manifest.horizon
    regions = design.y.shape[1]
    chosen = origins(days)
    share = min(1.0, most / max(1, len(chosen) * regions * horizon))
    parts: list[tuple[Floats, Floats, Floats]] = []
    for origin in chosen:
        picked = rng.random((regions, horizon)) < share
        ahead = design.y[origin + 1 : origin + 1 + horizon].T  # [R, ≤ H]
        truth = np.full((regions, horizon), np.nan)
        truth[:, : ahead.shape[1]] = ahead
        level = design.level[origin]
        ready = design.age[origin] >= ORIGIN_STEP
        use = picked & ~np.isnan(truth) & ready[:, None]
        if use.any():
            z = to_learn(truth, level[:, None])[use]
            weight = np.full(len(z), 0.5 ** ((days - 1 - origin) / half_life))
            parts.append((design.rows(origin)[use], z, weight))
    if not parts:
        raise ValueError(f"{days} days of history give no example to learn from")
    x, z, weight = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return Sample(x, z, weight)
