"""What surrounds a day: how far the events before and after it are, how many follow at once, Easter, Christmas.

An event is a day on which a covariate that is known ahead and only ever 0 or 1 is 1: a holiday, a closed shop, a
promotion. Trees see the covariate of single days already; distances tell a long weekend from a day off in few splits.
"""

from __future__ import annotations

import numpy as np

from stspark.models.base import Floats
from stspark.models.panel.boosted.features import Design
from stspark.models.panel.seasons.easter import days_from_easter
from stspark.snapshot import Bools

FARTHEST = 15
"""Days from which on the next or the last event is as far as any."""
NEAR = 4
"""Days after a day in which events are counted."""
EASTER = (-15, 8)
CHRISTMAS = (-20, 8)
"""Days around Easter Sunday and 24 December that are told apart."""


def events(design: Design) -> tuple[int, ...]:
    """Positions of those covariates of a design that are never anything but 0 and 1."""
    values = design.panel.covariates
    return tuple(k for k in design.covariates if np.isin(values[:, :, k], (0.0, 1.0))[~np.isnan(values[:, :, k])].all())


def surroundings(design: Design, chosen: tuple[int, ...], origin: int) -> Floats:
    """[R, H, F] of the days after day index `origin`; no event after its horizon is seen.

    chosen: positions of the covariates that are events, as `events` finds them.
    """
    horizon = design.panel.manifest.horizon
    regions = design.panel.covariates.shape[1]
    dates = design.dates[origin + 1 : origin + 1 + horizon]
    feasts = [np.clip(days_from_easter(dates), *EASTER), np.clip(_days_from_christmas_eve(dates), *CHRISTMAS)]
    out = [np.broadcast_to(feast[:, None], (horizon, regions)) for feast in feasts]
    for k in chosen:
        out.extend(_around(_flags(design, k, origin)))
    return np.stack(out, axis=-1, dtype=np.float64).transpose(1, 0, 2)


def _flags(design: Design, covariate: int, origin: int) -> Bools:
    """[FARTHEST + H, R] whether a day has the event: those up to the origin that can matter, and the horizon."""
    horizon = design.panel.manifest.horizon
    index = origin + 1 + np.arange(-FARTHEST, horizon)
    known = design.panel.covariates[:, :, covariate]
    inside = (index >= 0) & (index < len(known))
    return np.where(inside[:, None], known[np.clip(index, 0, len(known) - 1)] == 1.0, False)


def _around(flags: Bools) -> list[Floats]:
    """[H, R] each: days to the next event and since the last one (0 on its own day), events near after the day."""
    day = np.arange(len(flags))[:, None]
    ahead = np.minimum.accumulate(np.where(flags, day, len(flags) + FARTHEST)[::-1])[::-1] - day
    since = day - np.maximum.accumulate(np.where(flags, day, -FARTHEST))
    so_far = np.concatenate([np.zeros((1, flags.shape[1])), np.cumsum(flags, axis=0)])  # before each day
    end = np.minimum(day[:, 0] + NEAR + 1, len(flags))
    near = so_far[end] - so_far[1:]
    return [part[FARTHEST:] for part in (np.minimum(ahead, FARTHEST), np.minimum(since, FARTHEST), near)]


def _days_from_christmas_eve(dates: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> Floats:
    """[N] days since 24 December of the same year."""
    eve = dates.astype("datetime64[Y]").astype("datetime64[M]") + 11
    return np.asarray((dates - eve.astype("datetime64[D]")).astype(np.float64) - 23)
