"""A champion's members: itself, or the models of a combination with their weights; each explained. No Spark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stspark.explain import components as c
from stspark.fleet.attempt import Plan, Region
from stspark.models.base import Floats, Forecaster
from stspark.names import BORROWED, COMBINATION, NAIVE

NEGLIGIBLE = 1e-9
"""A component that is smaller on all days, in units of the largest, is left out."""
ROUNDED = 1e-3
"""Share of the forecast that weights as they are written down may miss it by; it counts as level."""


@dataclass(frozen=True)
class Member:
    """A model of the champion: its weight and own forecast [h] each, what stood in for it, and its stored fit."""

    name: str
    weight: Floats
    path: Floats
    stand_in: str | None = None
    artefact: str | None = None


def members_of(
    told: pd.DataFrame, stored: Mapping[str, str], weeks: Sequence[Mapping[str, float]]
) -> tuple[str, list[Member]]:
    """The champion's name and its members.

    told: model, date, y_hat, fallback_used, is_champion of one region's coming days; stored: model -> JSON of its fit;
    weeks: the combination's weights, week by week. A combination whose weights are not those of this day (the run took
    an earlier run's models) is its own only member.
    """
    told = told.sort_values(["model", "date"])
    published = told[told["is_champion"]]
    champion, path = str(published["model"].iloc[0]), published["y_hat"].to_numpy(float)
    alone = told[told["model"] == champion]["fallback_used"].iloc[0]
    itself = Member(champion, np.ones(len(path)), path, _text(alone), stored.get(champion) or None)
    if champion != COMBINATION or not weeks:
        return champion, [itself]
    week = np.minimum(np.arange(len(path)) // 7, len(weeks) - 1)
    members = []
    for name, rows in told[told["model"] != COMBINATION].groupby("model"):
        weight = np.array([weeks[w].get(str(name), 0.0) for w in week])
        if weight.any() and len(rows) == len(path):
            own, stand_in = rows["y_hat"].to_numpy(float), _text(rows["fallback_used"].iloc[0])
            members.append(Member(str(name), weight, own, stand_in, stored.get(str(name)) or None))
    total = np.sum([m.weight * m.path for m in members], axis=0) if members else np.zeros(len(path))
    if np.abs(total - path).max() > ROUNDED * max(float(np.abs(path).max()), 1.0):
        return champion, [itself]
    scale = np.divide(path, total, out=np.ones(len(path)), where=np.abs(total) > 0)
    return champion, [Member(m.name, m.weight * scale, m.path, m.stand_in, m.artefact) for m in members]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def parts_of_all(
    region: Region, members: Sequence[Member], models: Mapping[str, Forecaster], known: tuple[Plan, Sequence[str]]
) -> pd.DataFrame:
    """member, component, date, value, weight: what each member's forecast is made of, times its weight."""
    plan = known[0]
    future, _ = region.future(plan.cutoffs[-1], plan.horizon)
    dates = [pd.Timestamp(day).date() for day in future.dates]
    frames = []
    for member in members:
        parts = {name: member.weight * v for name, v in _parts(region, member, models, known).items()}
        largest = max(float(np.abs(v).max()) for v in parts.values())
        for name, value in parts.items():
            if name == c.LEVEL or np.abs(value).max() > NEGLIGIBLE * max(largest, 1.0):
                frame = {"date": dates, "value": value, "weight": member.weight}
                frames.append(pd.DataFrame(frame).assign(member=member.name, component=name))
    return pd.concat(frames, ignore_index=True)


def _parts(
    region: Region, member: Member, models: Mapping[str, Forecaster], known: tuple[Plan, Sequence[str]]
) -> dict[str, Floats]:
    """component -> [h] of a member's own forecast; by its path alone where the model cannot be asked again."""
    plan, events = known
    cutoff = plan.cutoffs[-1]
    history = region.series.until(cutoff)
    future, closed = region.future(cutoff, plan.horizon)
    name = member.stand_in or member.name
    if name == BORROWED or not len(history):
        return c.to_published(c.by_donors(member.path, history), member.path, closed.astype(np.float64))
    model = models.get(name)
    try:
        if model is None:
            raise KeyError(name)
        stored = None if member.stand_in or name == NAIVE else member.artefact
        parameters: Any = model.fit(history) if stored is None else json.loads(stored)
        at = c.usual(history)
        found = c.active(c.groups_of(history.names, events), future, at)

        def again(out: Sequence[c.Group]) -> Floats:
            return model.predict(parameters, history, c.without(future, out, at), (0.5,)).mean

        rest, effects = c.shapley(again, found)
        parts = c.over_time(rest, history) | effects
    except Exception:  # noqa: BLE001  a model that cannot be asked again is explained by its path
        path = np.where(closed, float(history.y[-history.season :].mean()), member.path)
        parts = c.by_weekday(path, history)
    return c.to_published(parts, member.path, closed.astype(np.float64))
