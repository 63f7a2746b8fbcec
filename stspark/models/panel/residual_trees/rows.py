"""The rows that the trees learn from: weekly origins of the past, every region, every day ahead that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stspark.models.base import Floats
from stspark.models.panel.boosted.features import LEVEL_DAYS, Design
from stspark.models.panel.boosted.transform import from_learnt, to_learn
from stspark.models.panel.residual_trees.events import surroundings
from stspark.models.panel.residual_trees.targets import pattern
from stspark.models.panel.seasons.earlier import Earlier

Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """x: [N, F] single precision, as xgboost reads it; error: [N]; pattern: [N], NaN where it is not known."""

    x: Singles
    error: Floats
    pattern: Floats


def seen_from(design: Design, events: tuple[int, ...], made: Earlier) -> Singles:
    """[R, H, F] features of a forecast: those of boosted trees, the forecast itself, and what surrounds the days."""
    level = design.level[made.origin][:, None]
    forecast = to_learn(from_learnt(made.values, made.size[:, None]), level)
    parts = [design.rows(made.origin), forecast[:, :, None], surroundings(design, events, made.origin)]
    return np.concatenate(parts, axis=2).astype(np.float32)


def draw(
    design: Design, events: tuple[int, ...], made: Sequence[tuple[Earlier, Floats]], most: int, seeds: Sequence[int]
) -> list[Rows]:
    """For each seed at most about `most` rows, drawn evenly over all; each origin's features are made once.

    made: forecasts with their errors [R, H], NaN where nothing is to be learned. Raise ValueError without a row.
    """
    total = sum(int(np.isfinite(errors).sum()) for _, errors in made)
    if not any(np.isfinite(pattern(errors)).any() for _, errors in made):
        raise ValueError(
            f"{len(design.y)} days of history give no example to learn from: a forecast made ten weeks or more after "
            f"their first, of a region with {LEVEL_DAYS} observed days, with enough known days behind it"
        )
    share = min(1.0, most / total)
    found: list[list[Rows]] = [[] for _ in seeds]
    for forecast, errors in made:
        x, shape = seen_from(design, events, forecast), pattern(errors)
        for seed, rows in zip(seeds, found, strict=True):
            rng = np.random.default_rng((seed, len(design.y) - forecast.origin))
            use = np.isfinite(errors) & (rng.random(errors.shape) < share)
            rows.append(Rows(x[use], errors[use], shape[use]))
    return [_joined(rows) for rows in found]


def _joined(rows: Sequence[Rows]) -> Rows:
    x, error, shape = (np.concatenate([getattr(part, name) for part in rows]) for name in ("x", "error", "pattern"))
    return Rows(x, error, shape)
