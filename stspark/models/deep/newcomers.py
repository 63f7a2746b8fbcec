"""Regions that a network has learned nothing of yet take their own parameters from neighbours; torch, no Spark."""

from __future__ import annotations

from torch import Tensor

from stspark.models.deep.network import by_region
from stspark.models.deep.registry import Ensemble
from stspark.models.deep.windows import Inputs

ROUNDS = 3
"""How far from a known region a new one may lie, in neighbours."""


def settle_newcomers(network: Ensemble, inputs: Inputs, weights: Tensor, part: slice = slice(None)) -> None:
    """Set the embeddings and fusion of regions that no target day was seen of to their neighbours' weighted mean.

    inputs, weights ([r, r], row-standardised): of the `part` of the regions that is settled. A newcomer without any
    known neighbour takes the mean of all known regions of the part.
    """
    known = inputs.targets_seen()  # [R]
    if bool(known.all()) or not bool(known.any()):
        return
    graph = weights.cpu()
    for parameter in by_region(network).values():
        rows = parameter.detach()[part]
        rows.copy_(filled(rows.cpu(), known, graph))


def filled(rows: Tensor, known: Tensor, graph: Tensor) -> Tensor:
    """[R, width] with the rows of regions that are not `known` replaced, outwards from the known ones."""
    rows, have = rows.clone(), known.clone()
    for _ in range(ROUNDS):
        reach = graph * have.float()
        weight = reach.sum(1, keepdim=True)
        new = ~have & (weight[:, 0] > 0)
        rows[new] = ((reach @ rows) / weight.clamp_min(1e-12))[new]
        have = have | new
    rows[~have] = rows[known].mean(0)
    return rows
