"""Boosted trees over all regions at once, direct for every day ahead, one booster for all quantiles.

Source: Chen & Guestrin 2016 (XGBoost); Friedman 2002 (stochastic gradient boosting: each booster learns from its own
draw of rows, each tree from half of them, each split from a few of the features); Koenker & Bassett 1978 (the pinball
loss). Several boosters' quantiles are averaged and sorted, so they do not cross.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xgboost

from stspark.models.base import Floats, Parameters
from stspark.models.panel.boosted.features import LEVEL_DAYS, Design
from stspark.models.panel.boosted.sample import ORIGIN_STEP, Sample, draw
from stspark.models.panel.boosted.transform import from_learnt
from stspark.snapshot import Snapshot

MEDIAN = 0.5
BINS = 64


@dataclass(frozen=True)
class BoostedTrees:
    """Options, with what they cost: time grows with boosters × rounds × quantiles × rows.

    rows: that one booster learns from, at most; boosters: that are averaged; rounds, learning_rate, leaves: of each;
    columns, sample: share of features that a split and of rows that a tree looks at; half_life: days after which a
    row weighs half; shrink_last_year: how much of last year's change is taken for granted (0 … 1).
    """

    rows: int = 10_000
    boosters: int = 3
    rounds: int = 150
    learning_rate: float = 0.07
    leaves: int = 15
    columns: float = 0.2
    sample: float = 0.5
    half_life: float = 365.0

    def __post_init__(self) -> None:
        for name in ("rows", "boosters", "rounds", "learning_rate", "half_life"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.leaves < 2:
            raise ValueError(f"leaves is {self.leaves}; a tree has at least 2")
        if not (0 < self.columns <= 1 and 0 < self.sample <= 1):
            raise ValueError("columns and sample are shares above 0, at most 1")

    @property
    def name(self) -> str:
        return "boosted_trees"

    @property
    def min_length(self) -> int:
        return LEVEL_DAYS + 2 * ORIGIN_STEP

    @property
    def carries_forward(self) -> bool:
        return False

    def fit(self, panel: Snapshot) -> Parameters:
        ordered, _ = by_name(panel)
        names = ordered.manifest.regions
        used = _varying(ordered)
        design = Design(ordered, np.arange(len(names), dtype=np.float64), used)
        levels = sorted({*panel.manifest.quantiles, MEDIAN})
        seeds = [1000 * panel.manifest.seed + k for k in range(self.boosters)]
        samples = (draw(design, self.rows, self.half_life, seed) for seed in seeds)
        trained = [self._train(s, levels, seed) for s, seed in zip(samples, seeds, strict=True)]
        return {
            "regions": list(names),
            "covariates": [panel.manifest.covariates[k] for k in used],
            "quantiles": levels,
            "rounds": self.rounds,
            "state": [pack(booster) for booster in trained],
        }

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        ordered, back = by_name(panel)
        place = {name: float(k) for k, name in enumerate(parameters["regions"])}
        code = np.array([place.get(name, np.nan) for name in ordered.manifest.regions])
        known = {name: k for k, name in enumerate(panel.manifest.covariates)}
        design = Design(ordered, code, tuple(known[name] for name in parameters["covariates"]))
        x = design.rows(len(design.y) - 1)  # [R, H, F]
        flat = x.reshape(-1, x.shape[-1])
        made = [unpack(text).inplace_predict(flat).reshape(len(flat), -1) for text in parameters["state"]]
        z = np.sort(np.mean(made, axis=0), axis=1).reshape(*x.shape[:2], -1)  # [R, H, levels]
        wanted = [MEDIAN, *quantiles]
        z = np.apply_along_axis(lambda row: np.interp(wanted, parameters["quantiles"], row), 2, z.astype(np.float64))
        y = from_learnt(z, design.level[-1][:, None, None])
        return np.where(ordered.alive[-1][:, None, None], y, np.nan)[back]

    def _train(self, sample: Sample, levels: Sequence[float], seed: int) -> xgboost.Booster:
        options = {
            "objective": "reg:quantileerror",
            "quantile_alpha": list(levels),
            "tree_method": "hist",
            "grow_policy": "lossguide",
            "max_depth": 0,
            "max_leaves": self.leaves,
            "max_bin": BINS,
            "learning_rate": self.learning_rate,
            "min_child_weight": 10,
            "colsample_bynode": self.columns,
            "subsample": self.sample,
            "nthread": 1,
            "seed": seed,
        }
        matrix = xgboost.QuantileDMatrix(sample.x, sample.z, weight=sample.weight, max_bin=BINS, nthread=1)
        return xgboost.train(options, matrix, self.rounds)


def by_name(panel: Snapshot) -> tuple[Snapshot, list[int]]:
    """The panel with its regions in order of their names, and where each region of `panel` went.

    So a forecast does not depend on the order of the regions, to the last bit.
    """
    names = panel.manifest.regions
    order = sorted(range(len(names)), key=names.__getitem__)
    manifest = replace(panel.manifest, regions=tuple(names[k] for k in order))
    ordered = Snapshot(
        manifest,
        panel.y[:, order],
        panel.observed[:, order],
        panel.alive[:, order],
        panel.covariates[:, order],
        panel.weights[np.ix_(order, order)],
    )
    return ordered, [int(k) for k in np.argsort(order)]


def pack(booster: xgboost.Booster) -> str:
    """A booster as text: xgboost's own format, which cannot run code, compressed."""
    return base64.b64encode(zlib.compress(bytes(booster.save_raw("ubj")))).decode("ascii")


def unpack(text: str) -> xgboost.Booster:
    """The booster of `pack`."""
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(zlib.decompress(base64.b64decode(text))))
    return booster


def _varying(panel: Snapshot) -> tuple[int, ...]:
    """Positions of the covariates that are not one and the same value wherever they are known."""
    return tuple(k for k in range(panel.covariates.shape[2]) if len(np.unique(panel.covariates[:, :, k])) > 1)
