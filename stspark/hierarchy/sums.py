"""A hierarchy's windows: forecasts that add up, and quantiles of sums from joint paths. No Spark.

All that a window is reconciled with (weights, the method, correlations, widening) is learnt from earlier windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from stspark.hierarchy import paths, widths
from stspark.hierarchy.reconcile import BOTTOM_UP, METHODS
from stspark.hierarchy.reconcile import reconcile as reconciled
from stspark.hierarchy.subtree import LARGE, by_subtrees
from stspark.hierarchy.tree import Floats, Tree
from stspark.hierarchy.weights import WEIGHTS
from stspark.hierarchy.windows import Window
from stspark.names import quantile_column

CANDIDATES = (BOTTOM_UP, "wls_var", "mint_shrink")
"""Methods among which `auto` chooses; the first unless another is clearly better."""
FEWEST = 4
"""Earlier windows by which a method is chosen."""
FEWEST_JOINT = 2
"""Earlier windows from which a band counts: before, nothing is known of how errors move together."""
MOST_VALUES = 50_000_000
"""Values that all paths of a window may hold together; a large hierarchy draws fewer."""


@dataclass(frozen=True)
class SumsTask:
    """What the worker needs to know; plain values only."""

    tree: Tree
    method: str
    quantiles: tuple[float, ...]
    as_of: date
    non_negative: bool
    draws: int
    seed: int


@dataclass(frozen=True)
class Settled:
    """A window's regions [regions, days] as they add up, and by which method."""

    bottom: Floats
    method: str


def sums(windows: Sequence[Window], task: SumsTask) -> Iterator[pd.DataFrame]:
    """Rows of every judged window and of the forecast; windows: oldest first."""
    upper, record, held = task.tree.n_upper, _Record(task), widths.Record(task.tree, task.quantiles)
    under_way: list[tuple[Window, dict[str, Floats], widths.Band, int]] = []
    earlier: list[Window] = []  # those whose days have all come
    for window in windows:
        for past, made, band, known in [one for one in under_way if one[0].dates[-1] <= window.cutoff]:
            if known:
                record.add(past, made)
            if known >= FEWEST_JOINT:
                held.add(band, past.y)
            earlier.append(past)
        under_way = [one for one in under_way if one[0].dates[-1] > window.cutoff]
        chosen = record.choose() if earlier else BOTTOM_UP
        coming = window.cutoff >= task.as_of
        made = {method: settle(method, window, earlier, task) for method in _tried(chosen, coming, task)}
        moved = _moved(window, made[chosen], upper, task.non_negative)
        joint, plain = _dependence(window, earlier, task)
        band = _band(window, moved, joint, task)
        if window.judged:
            quantiles = held.stretched(band, plain)
            quantiles = np.maximum(quantiles, 0.0) if task.non_negative else quantiles
            quantiles[upper:, 1:] = moved.transpose(1, 0, 2)  # the regions' own stay theirs
            yield from _rows(window, Settled(made[chosen], chosen), quantiles, task)
            if not coming:
                yield from _others(window, made, task)
        under_way.append((window, made, band, len(earlier)))


def _tried(chosen: str, coming: bool, task: SumsTask) -> tuple[str, ...]:
    """Methods that a window is reconciled by: for back-tests all, as long as there are few nodes."""
    if coming:
        return (chosen,)
    return METHODS if len(task.tree.nodes) <= LARGE else tuple(dict.fromkeys((*CANDIDATES, chosen)))


def _moved(window: Window, bottom: Floats, upper: int, non_negative: bool) -> Floats:
    """The regions' quantiles [days, regions, q] about the reconciled forecasts [regions, days].

    Where nothing is below zero they are scaled, so that a quantile of zero stays: zero days are as likely as before.
    """
    base = window.base[upper:].T[:, :, None]
    made = bottom.T[:, :, None]
    shifted = window.quantiles + made - base
    if non_negative:
        scaled = window.quantiles * made / np.where(base > 0, base, 1.0)
        shifted = np.where((base > 0) & (made > 0), scaled, np.maximum(shifted, 0.0))
    return np.where(window.closed.T[:, :, None], 0.0, shifted)


class _Record:
    """What each candidate for `auto` has cost in the windows so far: WAPE of the days, summed over the levels."""

    def __init__(self, task: SumsTask) -> None:
        self.task = task
        self.levels = [task.tree.of_level(level) for level in sorted(set(task.tree.levels))]
        self.costs: list[list[float]] = []

    def add(self, window: Window, made: Mapping[str, Floats]) -> None:
        """Note a window; made: method -> the regions' forecasts [regions, days]."""
        size = [float(np.nansum(np.abs(window.y[level]))) for level in self.levels]
        if min(size) > 0:
            errors = [np.abs(window.y - self.task.tree.summing @ made[method]) for method in CANDIDATES]
            self.costs.append(
                [sum(float(np.nansum(e[lv])) / n for lv, n in zip(self.levels, size, strict=True)) for e in errors]
            )

    def choose(self) -> str:
        """The configured method; for `auto` bottom-up, unless another was better by more than a standard error."""
        if self.task.method != "auto":
            return self.task.method
        if len(self.costs) < FEWEST or self.task.tree.n_regions < 2:
            return BOTTOM_UP
        costs = np.array(self.costs)
        best = int(costs.mean(axis=0).argmin())
        gain = costs[:, 0] - costs[:, best]
        return CANDIDATES[best] if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else BOTTOM_UP


def settle(method: str, window: Window, earlier: Sequence[Window], task: SumsTask) -> Floats:
    """Regions' reconciled forecasts [regions, days] of a window."""
    upper = task.tree.n_upper
    if not earlier:
        return window.base[upper:]
    errors = np.hstack([w.y - w.base for w in earlier]).T
    if method in WEIGHTS and len(task.tree.nodes) > LARGE:
        return by_subtrees(method, task.tree, window.base, window.closed, errors)
    actual = np.hstack([w.y[upper:] for w in earlier]).T
    return reconciled(method, task.tree, window.base, window.closed, (errors, actual))


def _dependence(window: Window, earlier: Sequence[Window], task: SumsTask) -> tuple[paths.Dependence, Floats]:
    """How errors move together, by earlier windows, and by how much that fell short [n, 2]: of horizons, of days."""
    tree, days = task.tree, len(window.dates)
    alike = [w for w in earlier if len(w.dates) == days]
    if not alike:
        return paths.Dependence(np.eye(tree.n_regions), np.eye(days)), np.ones((len(tree.nodes), 2))
    errors = np.stack([(w.y - w.base)[tree.n_upper :].T for w in alike])
    joint = paths.dependence(errors)
    spreads = np.stack([paths.spread_of(w.quantiles, task.quantiles) for w in alike])
    daily, whole = paths.inflation(joint, spreads, errors, tree.summing)
    return joint, np.stack([_by_level(whole, tree), _by_level(daily, tree)], axis=1)


def _band(window: Window, moved: Floats, joint: paths.Dependence, task: SumsTask) -> widths.Band:
    """Every node's sums by joint paths of the regions' quantiles [days, regions, q] about the reconciled forecast."""
    tree = task.tree
    draws = min(task.draws, max(100, MOST_VALUES // (len(window.dates) * len(tree.nodes))))
    drawn = paths.sample(joint, (moved, task.quantiles), draws, task.seed, window.new)
    if task.non_negative:
        drawn = np.maximum(drawn, 0.0)
    drawn = np.where(window.closed.T[None], 0.0, drawn)
    summed = drawn @ tree.summing.T  # [draws, days, n]
    every = np.concatenate([summed.sum(axis=1, keepdims=True), summed], axis=1)
    return widths.Band(np.quantile(every, task.quantiles, axis=0).transpose(2, 1, 0), np.median(every, axis=0).T)


def _by_level(factors: Floats, tree: Tree) -> Floats:
    """The median factor over the nodes of a level, at least 1, for each node [n]."""
    pooled = {level: float(np.median(factors[tree.of_level(level)])) for level in set(tree.levels)}
    return np.array([max(1.0, pooled[level]) for level in tree.levels])


def _rows(window: Window, settled: Settled, quantiles: Floats, task: SumsTask) -> Iterator[pd.DataFrame]:
    """What is or would have been published."""
    kind = "forecast" if window.cutoff >= task.as_of else "backtest"
    columns = {quantile_column(q): quantiles[..., k].ravel() for k, q in enumerate(task.quantiles)}
    made = _frame(window, task.tree.summing @ settled.bottom, task.tree)
    yield made.assign(kind=kind, model="reconciled", method=settled.method, **columns)


def _others(window: Window, made: Mapping[str, Floats], task: SumsTask) -> Iterator[pd.DataFrame]:
    """The same window by the nodes' own forecasts, and by every method; without quantiles."""
    ways = {"base": window.base, **{method: task.tree.summing @ bottom for method, bottom in made.items()}}
    none = dict.fromkeys(map(quantile_column, task.quantiles), np.nan)
    for model, values in ways.items():
        yield _frame(window, values, task.tree).assign(kind="backtest", model=model, method=model, **none)


def _frame(window: Window, made: Floats, tree: Tree) -> pd.DataFrame:
    """Rows node by node, the whole horizon first, then the days."""
    days = len(window.dates)

    def with_sum(values: Floats) -> Floats:
        joined: Floats = np.hstack([values.sum(axis=1, keepdims=True), values])
        return joined.ravel()

    above = [None if k < 0 else tree.nodes[k] for k in tree.above]
    ahead = [(day - window.cutoff).days for day in window.dates]
    return pd.DataFrame(
        {
            "level": np.repeat(tree.levels, days + 1),
            "node": np.repeat(tree.nodes, days + 1),
            "parent": np.repeat(np.array(above, dtype=object), days + 1),
            "cutoff": window.cutoff,
            "date": [window.dates[-1], *window.dates] * len(tree.nodes),
            "horizon": [0, *ahead] * len(tree.nodes),
            "y": with_sum(window.y),
            "y_base": with_sum(window.base),
            "y_hat": with_sum(made),
        }
    )
