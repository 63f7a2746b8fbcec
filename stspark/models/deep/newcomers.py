"""Regions that a network has learned nothing of yet take their own parameters from neighbours; torch, no Spark."""

from __future__ import annotations

import torch
from torch import Tensor

from stspark.models.deep.network import by_region
from stspark.models.deep.registry import Ensemble
from stspark.snapshot import Bools, Manifest, row_shares

ROUNDS = 3
"""How far from a known region a new one may lie, in neighbours."""


def settle_newcomers(network: Ensemble, taught: Bools, manifest: Manifest) -> None:
    """Set the embeddings and fusion of regions that no target day was seen of to their neighbours' weighted mean.

    taught: [R], the others are newcomers. One without any known neighbour takes the mean of all known regions.
    """
    known = torch.from_numpy(taught)
    if bool(known.all()) or not bool(known.any()):
        return
    graph = neighbours(manifest)
    for parameter in by_region(network).values():
        parameter.data.copy_(filled(parameter.detach().cpu(), known, graph))


def neighbours(manifest: Manifest) -> Tensor:
    """W: [R, R] sparse, rows sum to 1."""
    shares = row_shares(manifest)
    place = torch.tensor([(i, j) for i, j, _ in shares], dtype=torch.long).reshape(-1, 2).T
    size = (len(manifest.regions),) * 2
    return torch.sparse_coo_tensor(place, torch.tensor([w for *_, w in shares]), size, check_invariants=True).coalesce()


def filled(rows: Tensor, known: Tensor, graph: Tensor) -> Tensor:
    """[R, width] with the rows of regions that are not `known` replaced, outwards from the known ones."""
    rows, have = rows.clone(), known.clone()
    for _ in range(ROUNDS):
        weight = torch.mv(graph, have.float())
        new = ~have & (weight > 0)
        rows[new] = (torch.mm(graph, rows * have[:, None]) / weight.clamp_min(1e-12)[:, None])[new]
        have = have | new
    rows[~have] = rows[known].mean(0)
    return rows
