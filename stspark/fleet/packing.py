"""Packs whole regions into tasks that take about the same time."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterator, Sequence

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def longest_first(seconds: Sequence[float], packs: int) -> list[int]:
    """The pack of each region: the dearest first, each to the pack that has least to do so far.

    Graham (1969), "Bounds on multiprocessing timing anomalies": the longest pack takes at most 4/3 of the best.
    """
    loads = [(0.0, pack) for pack in range(packs)]
    places = [0] * len(seconds)
    for index in sorted(range(len(seconds)), key=lambda i: (-seconds[i], i)):
        load, pack = heapq.heappop(loads)
        places[index] = pack
        heapq.heappush(loads, (load + seconds[index], pack))
    return places


def in_packs(frame: DataFrame, costs: DataFrame, packs: int) -> DataFrame:
    """Spread a learning frame over `packs` tasks by predicted cost; whole regions, sorted by region and date.

    costs: region, seconds. One small row per region is gathered in one task; nothing comes to the driver.
    """
    numbered = costs.repartition(1).mapInPandas(functools.partial(_numbered, packs=packs), "region string, _pack int")
    spread = frame.join(F.broadcast(numbered), "region").repartitionById(packs, F.col("_pack"))
    return spread.sortWithinPartitions("region", "date").drop("_pack")


def _numbered(batches: Iterator[pd.DataFrame], packs: int) -> Iterator[pd.DataFrame]:
    """All rows of the one task: region and its pack, the same whatever order they come in."""
    held = list(batches)
    if held:
        costs = pd.concat(held).sort_values("region", ignore_index=True)
        yield costs[["region"]].assign(_pack=longest_first(costs["seconds"].fillna(0.0).tolist(), packs))
