"""A training's regions, in parts where they are many: each part is read when its turn comes; torch, no Spark.

A panel that is too large for a process's memory is seen a part at a time, as Cluster-GCN sees a graph (Chiang et al.
2019, https://arxiv.org/abs/1905.07953): the regions, in spatial order, are cut into equal parts, and within one the
others are as if they were not there. Where there are as many parts as ranks or more, each rank takes its own ones of an
epoch, and a step is over one part of each; else all look at the same part and share its windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from torch import Tensor

from stspark.models.deep.seasons_ahead import Solved
from stspark.models.deep.windows import Base, Inputs, Scaler, fit_scaler, make_inputs, taught, usable_width
from stspark.snapshot import WHOLE, Bools, Floats, Manifest, Snapshot, load_snapshot


class Regions:
    """A snapshot folder's regions in parts; the part read last is kept, and of each what its seasons expected."""

    def __init__(self, path: str, manifest: Manifest, parts: list[slice]) -> None:
        self.path, self.manifest, self.parts = path, manifest, parts
        self.solved: list[Solved] = [{} for _ in parts]
        self._kept: tuple[int, Snapshot] | None = None

    @classmethod
    def of(cls, snapshot: Snapshot) -> Regions:
        """All regions of a snapshot that is in memory."""
        made = cls("", snapshot.manifest, [WHOLE])
        made._kept = 0, snapshot
        return made

    def read(self, part: int) -> Snapshot:
        """The part's snapshot."""
        if self._kept is None or self._kept[0] != part:
            self._kept = None  # before the next one is read: there is room for one
            self._kept = part, load_snapshot(self.path, self.parts[part])
        return self._kept[1]


@dataclass(frozen=True)
class Share:
    """One part of the regions, r of R, at a cutoff: their places [r] (None: all), tensors and weights [r, r]."""

    place: Tensor | None
    inputs: Inputs
    weights: Tensor


class Panel:
    """What a network learns from at one cutoff; the share that was made last is kept."""

    def __init__(self, regions: Regions, cutoff: date, device: torch.device, base: Base) -> None:
        self.regions, self.cutoff, self.device, self.base = regions, cutoff, device, base
        manifest = regions.manifest
        self.days, self.horizon, self.period = manifest.days_until(cutoff), manifest.horizon, manifest.season
        self.size, self.parts = len(manifest.regions), len(regions.parts)
        self.scaler, self.taught = self._look_through()
        self._kept: tuple[int, Share] | None = None

    def share(self, part: int) -> Share:
        """The part's tensors, on the device."""
        if self._kept is None or self._kept[0] != part:
            self._kept = None
            known = self.regions.read(part).known_on(self.cutoff)
            which = self.regions.parts[part]
            scaler, solved = self.scaler.of(which), self.regions.solved[part]
            inputs = make_inputs(known, scaler, solved=solved).to(self.device)
            weights = torch.from_numpy(known.weights).float().to(self.device)
            place = None if which == WHOLE else torch.arange(which.start, which.stop, device=self.device)
            self._kept = part, Share(place, inputs, weights)
        return self._kept[1]

    def unseen(self, parts: Sequence[int]) -> Tensor | None:
        """[R] whether a region is in none of these parts, on the device; None where there is only one."""
        if self.parts == 1:
            return None
        found = torch.ones(self.size, dtype=torch.bool)
        for part in parts:
            found[self.regions.parts[part]] = False
        return found.to(self.device)

    def _look_through(self) -> tuple[Scaler, Bools]:
        """The scaler, as if all regions had been read at once but for the last bits of the covariates' shift and width;
        and which regions can teach something."""
        if self.parts == 1:
            known = self.regions.read(0).known_on(self.cutoff)
            return fit_scaler(known, self.base), taught(known)
        fitted, moments, learned = zip(*map(self._look_at, range(self.parts)), strict=True)
        return _joined(fitted, np.stack(moments)), np.concatenate(learned)

    def _look_at(self, part: int) -> tuple[Scaler, Floats, Bools]:
        known = self.regions.read(part).known_on(self.cutoff)
        return fit_scaler(known, self.base), _moments(known.covariates[: self.days]), taught(known)


def _moments(covariates: Floats) -> Floats:
    """[3, K] of [T, r, K]: how many values are known, their mean and variance (0 where none is)."""
    values = np.ma.masked_invalid(covariates)
    mean, variance = (of(axis=(0, 1)).filled(0.0) for of in (values.mean, values.var))
    return np.stack([values.count(axis=(0, 1)), mean, variance])


def _joined(fitted: Sequence[Scaler], moments: Floats) -> Scaler:
    """One scaler from those of the parts and their covariates' moments [parts, 3, K]."""
    count, mean, variance = moments.swapaxes(0, 1)
    share = count / np.maximum(count.sum(axis=0), 1.0)
    shift = (share * mean).sum(axis=0)
    width = usable_width(np.sqrt((share * (variance + (mean - shift) ** 2)).sum(axis=0)))
    scale, spread = (np.concatenate([getattr(scaler, name) for scaler in fitted]) for name in ("scale", "spread"))
    return Scaler(scale, spread, shift, width, all(scaler.floor for scaler in fitted), fitted[0].base)
