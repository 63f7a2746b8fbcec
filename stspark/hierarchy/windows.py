"""Base forecasts of all nodes as arrays, window by window. No Spark.

A window is a cutoff and the days forecast from it. The regions' base forecasts are their champions'; a node above them
has its own, made of the hierarchy's models as the ensemble makes regions' forecasts: from earlier windows only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stspark.ensemble import finish
from stspark.ensemble.windows import Axes, to_windows
from stspark.hierarchy.tree import Floats, Tree
from stspark.names import NAIVE, quantile_column

CHAMPION_ROW = "champion"
"""Model name of the regions' rows: what was or will be published."""
OWN = finish.Plan("stacked", "none", "wape", 1.0, 4, non_negative=True)
"""How a node's own models become one forecast; quantiles of sums come from paths, so none are calibrated."""


@dataclass(frozen=True)
class Window:
    """One cutoff: y, base [n, days]; quantiles [days, regions, q]; closed [regions, days]; judged: not a warm-up;
    new: [regions] those that no earlier window knows, whose level is what is uncertain."""

    cutoff: date
    dates: list[date]
    y: Floats
    base: Floats
    quantiles: Floats
    closed: NDArray[np.bool_]
    new: NDArray[np.bool_]
    judged: bool = True


def windows_of(rows: pd.DataFrame, tree: Tree, levels: tuple[float, ...], as_of: date) -> list[Window]:
    """Windows, oldest first, of long rows; the last is the forecast from the as-of day.

    rows: node, model, cutoff, date, horizon, y, closed, warm_up, y_hat, fallback_used, quantile columns; levels: the
    quantiles. Windows in which a node lacks a day are left out, except that a region which no earlier window knows has
    not begun: it counts as closed there; and a node without any forecast of its own is the sum of its regions'.
    """
    upper = rows["model"] != CHAMPION_ROW
    regional = [_regions(part, tree, levels) for _, part in rows[~upper].groupby("cutoff", sort=True)]
    own = _own(rows[upper], _sums(rows[~upper], tree), tree)
    return list(_joined(regional, own, tree, as_of))


def _joined(regional: list[Window], own: dict[date, Floats], tree: Tree, as_of: date) -> Iterator[Window]:
    begun = np.zeros(tree.n_regions, dtype=bool)
    for window in regional:
        known = np.isfinite(window.base)
        new = known.any(axis=1) & ~begun & begun.any()
        begun |= known.any(axis=1)
        above = own.get(window.cutoff)
        days = len(window.dates)
        if above is None or above.shape[1] != days or not known[begun].all():
            continue
        without = np.isnan(above).all(axis=1, keepdims=True)  # no region of it has a past: it is what they sum to
        above = np.where(without, tree.summing[: tree.n_upper] @ np.nan_to_num(window.base), above)
        if np.isnan(above).any():
            continue
        closed = window.closed | ~known
        y = np.where(np.isnan(window.y) & closed, 0.0, window.y)
        y = tree.summing @ y if window.cutoff < as_of else np.full((len(tree.nodes), days), np.nan)
        base = np.vstack([above, np.nan_to_num(window.base)])
        yield Window(window.cutoff, window.dates, y, base, np.nan_to_num(window.quantiles), closed, new, window.judged)


def _regions(rows: pd.DataFrame, tree: Tree, levels: tuple[float, ...]) -> Window:
    """A cutoff's regions in the tree's order; y, base [regions, days], NaN where there is none."""
    dates = sorted(rows["date"].unique())
    place = pd.MultiIndex.from_product([list(tree.regions), dates], names=["node", "date"])
    table = rows.set_index(["node", "date"]).reindex(place)
    shape = (tree.n_regions, len(dates))
    columns = [quantile_column(q) for q in levels]
    return Window(
        rows["cutoff"].iloc[0],
        dates,
        table["y"].to_numpy(float).reshape(shape),
        table["y_hat"].to_numpy(float).reshape(shape),
        table[columns].to_numpy(float).reshape(*shape, -1).transpose(1, 0, 2),
        table["closed"].eq(True).to_numpy().reshape(shape),
        np.zeros(tree.n_regions, dtype=bool),
        not rows["warm_up"].eq(True).any(),
    )


def _sums(rows: pd.DataFrame, tree: Tree) -> pd.DataFrame:
    """node, cutoff, date, y of the nodes above the regions: unknown where a region's day is missing."""
    column = {region: k for k, region in enumerate(tree.regions)}
    days = rows[rows["node"].isin(column)]
    lost = days["y"].isna() & ~days["closed"].eq(True)
    parts = []
    for row, node in enumerate(tree.nodes[: tree.n_upper]):
        below = {region for region, k in column.items() if tree.summing[row, k]}
        known = days[days["node"].isin(below)].assign(y=days["y"].fillna(0.0), lost=lost)
        summed = known.groupby(["cutoff", "date"], as_index=False).agg(y=("y", "sum"), lost=("lost", "any"))
        parts.append(summed.assign(node=node, y=summed["y"].where(~summed["lost"])))
    return pd.concat(parts, ignore_index=True)


def _own(rows: pd.DataFrame, sums: pd.DataFrame, tree: Tree) -> dict[date, Floats]:
    """cutoff -> [upper, days]: each node's champion, chosen by the windows before."""
    cutoffs, horizons = (tuple(sorted(rows[c].unique())) for c in ("cutoff", "horizon"))
    names = (NAIVE, *sorted(set(rows["model"]) - {NAIVE}))
    beside = rows.drop(columns="y").merge(sums[["node", "cutoff", "date", "y"]], how="left")
    beside = beside.rename(columns={"node": "region"}).assign(event=False)
    windows = to_windows(beside, Axes(cutoffs, horizons, names, ()))
    pool = finish.learn(windows, {}, OWN)
    nodes = list(windows.regions)
    made = np.full((len(cutoffs), tree.n_upper, len(horizons)), np.nan)
    for row, node in enumerate(tree.nodes[: tree.n_upper]):
        if node in nodes:
            alone = windows.of_regions(np.array([name == node for name in nodes]))
            done = finish.finish(alone, finish.EVERYBODY, pool, OWN)
            for k in range(len(cutoffs)):
                made[k, row] = done.windows.point[0, k, :, done.champion[0, k]]
    days = [np.isfinite(values).any(axis=0) for values in made]
    return {cutoff: values[:, here] for cutoff, values, here in zip(cutoffs, made, days, strict=True)}
