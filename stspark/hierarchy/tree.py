"""The hierarchy of regions: who is whose parent, and the matrix that sums regions up to all nodes. No Spark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stspark.errors import InputError
from stspark.names import ALL_REGIONS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

REGION, PARENT, TOTAL = "region", "parent", "total"
"""Levels: regions, their parents (further up parent_2, parent_3 …), and the total over all regions."""


@dataclass(frozen=True)
class Tree:
    """All nodes: first the nodes above the regions (the total first, parents before children), then the regions.

    nodes: [n] names; levels: [n]; above: [n] index of each node's parent, -1 for the total.
    """

    nodes: tuple[str, ...]
    levels: tuple[str, ...]
    above: tuple[int, ...]

    @property
    def n_upper(self) -> int:
        """Number of nodes above the regions."""
        return len(self.nodes) - self.n_regions

    @cached_property
    def n_regions(self) -> int:
        """Number of regions (bottom nodes)."""
        return self.levels.count(REGION)

    @property
    def regions(self) -> tuple[str, ...]:
        return self.nodes[self.n_upper :]

    def of_level(self, level: str) -> NDArray[np.bool_]:
        """[n] which nodes are of this level."""
        return np.asarray(np.array(self.levels) == level)

    @cached_property
    def summing(self) -> Floats:
        """S [n, regions]: 1 where the region is, or lies below, the node (Hyndman et al. 2011)."""
        matrix = np.zeros((len(self.nodes), self.n_regions))
        for column in range(self.n_regions):
            node = self.n_upper + column
            while node >= 0:
                matrix[node, column] = 1.0
                node = self.above[node]
        return matrix

    def children(self, node: int) -> list[int]:
        """Indices of a node's children."""
        return [child for child, parent in enumerate(self.above) if parent == node]


def build_tree(parents: Mapping[str, str | None], groups: Mapping[str, str] | None = None) -> Tree:
    """The tree of regions (keys of `parents`, with their parent's name or None) under one total.

    groups: parents of parents. A node without a parent lies right below the total; a parent of one region only is a
    node all the same. Raises InputError where a name is both a region and a parent, or where groups run in a circle.
    """
    links = dict(groups or {})
    known = sorted({p for p in parents.values() if p is not None})
    upper: dict[str, str] = {}
    for name in known:
        trail = [name]
        while trail[-1] in links and trail[-1] not in upper:
            upper[trail[-1]] = links[trail[-1]]
            if links[trail[-1]] in trail:
                circle = " → ".join([*trail, links[trail[-1]]])
                raise InputError("hierarchy.parents", f"run in a circle: {circle}", "give each node one way up")
            trail.append(links[trail[-1]])
    names = sorted({*known, *upper.values()})
    for name in names:
        if name in parents or name == ALL_REGIONS:
            raise InputError("regions: parent", f"'{name}' is the name of a region too", "name the parent otherwise")
    return _ordered(parents, upper, names)


def _ordered(parents: Mapping[str, str | None], upper: Mapping[str, str], names: list[str]) -> Tree:
    depth = {name: _steps_up(name, upper) for name in names}
    above_regions = sorted(names, key=lambda name: (depth[name], name))
    nodes = [ALL_REGIONS, *above_regions, *sorted(parents)]
    place = {name: index for index, name in enumerate(nodes)}
    links = [-1, *(place[upper.get(n, ALL_REGIONS)] for n in above_regions)]
    links += [place[parents[region] or ALL_REGIONS] for region in sorted(parents)]
    height = [0] * len(nodes)
    for index in range(len(nodes) - 1, 0, -1):
        height[links[index]] = max(height[links[index]], height[index] + 1)
    levels = [TOTAL, *(PARENT if height[place[n]] == 1 else f"{PARENT}_{height[place[n]]}" for n in above_regions)]
    return Tree(tuple(nodes), (*levels, *[REGION] * len(parents)), tuple(links))


def _steps_up(name: str, upper: Mapping[str, str]) -> int:
    steps = 0
    while name in upper:
        name, steps = upper[name], steps + 1
    return steps
