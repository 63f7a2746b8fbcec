"""Boosted trees over all regions at once, direct for every day ahead, one booster for all quantiles.

Source: Chen & Guestrin 2016 (XGBoost); Friedman 2002 (stochastic gradient boosting: each booster learns from its own
draw of rows, each tree from half of them, each split from a few of the features); Koenker & Bassett 1978 (the pinball
loss). Several boosters' quantiles are averaged and sorted, so they do not cross.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from stspark.models.base import Floats, Parameters
from stspark.models.panel.boosted.features import LEVEL_DAYS, Design
from stspark.models.panel.boosted.growth import BINS, Growth
from stspark.models.panel.boosted.sample import ORIGIN_STEP, Sample, draw
from stspark.models.panel.boosted.transform import from_learnt
from stspark.models.panel.order import by_name
from stspark.snapshot import Snapshot

MEDIAN = 0.5


@dataclass(frozen=True)
class BoostedTrees(Growth):
    """Options beside those of growth; time grows with the quantiles too.

    half_life: days after which a row weighs half; distributed: executors make the rows and grow each tree together
    (stspark.boosting), which then says by `fitted` in which folder the parameters of each cutoff lie.
    """

    half_life: float = 3650.0
    distributed: bool = False
    fitted: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.half_life <= 0:
            raise ValueError(f"half_life is {self.half_life}; it must be above 0")

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
        if self.fitted:
            return self._fitted_before(panel.manifest.day(len(panel.y) - 1))
        design = learning_design(panel)
        trained = [
            self._train(draw(design, self.rows, self.half_life, seed), levels(panel), seed)
            for seed in self.seeds(panel.manifest.seed)
        ]
        return self.parameters(design, trained)

    def _fitted_before(self, cutoff: date) -> Parameters:
        file = Path(self.fitted) / f"{cutoff}.json"
        if not file.exists():
            raise ValueError(f"the executors' training left nothing for cutoff {cutoff}; its log says why")
        kept: Parameters = json.loads(file.read_text(encoding="utf-8"))
        return kept

    def parameters(self, design: Design, trained: Sequence[xgboost.Booster]) -> Parameters:
        """What is kept of boosters that learned from this design."""
        manifest = design.panel.manifest
        return {
            "regions": list(manifest.regions),
            "covariates": [manifest.covariates[k] for k in design.covariates],
            "quantiles": levels(design.panel),
            "rounds": self.rounds,
            "state": [pack(booster) for booster in trained],
        }

    def predict(self, parameters: Parameters, panel: Snapshot, quantiles: Sequence[float]) -> Floats:
        ordered, back = by_name(panel)
        design = forecasting_design(parameters, ordered)
        x = design.rows(len(design.y) - 1)  # [R, H, F]
        flat = x.reshape(-1, x.shape[-1])
        made = [unpack(text).inplace_predict(flat).reshape(len(flat), -1) for text in parameters["state"]]
        z = np.sort(np.mean(made, axis=0), axis=1).reshape(*x.shape[:2], -1)  # [R, H, levels]
        wanted = [MEDIAN, *quantiles]
        z = np.apply_along_axis(lambda row: np.interp(wanted, parameters["quantiles"], row), 2, z.astype(np.float64))
        y = from_learnt(z, design.level[-1][:, None, None])
        return np.where(ordered.alive[-1][:, None, None], y, np.nan)[back]

    def training_options(self, wanted: Sequence[float], seed: int) -> dict[str, Any]:
        """xgboost's own parameters for a booster of these quantiles."""
        return {"objective": "reg:quantileerror", "quantile_alpha": list(wanted)} | self.growing(seed)

    def _train(self, sample: Sample, wanted: Sequence[float], seed: int) -> xgboost.Booster:
        options = self.training_options(wanted, seed) | {"nthread": 1}
        matrix = xgboost.QuantileDMatrix(sample.x, sample.z, weight=sample.weight, max_bin=BINS, nthread=1)
        return xgboost.train(options, matrix, self.rounds)


def learning_design(panel: Snapshot) -> Design:
    """Features of a panel to learn from: regions in order of their names, numbered by it; covariates that vary."""
    ordered, _ = by_name(panel)
    return Design(ordered, np.arange(len(ordered.manifest.regions), dtype=np.float64), _varying(ordered))


def forecasting_design(parameters: Parameters, ordered: Snapshot) -> Design:
    """The same features of a panel to forecast (regions in order of their names), by what the parameters kept."""
    place = {name: float(k) for k, name in enumerate(parameters["regions"])}
    code = np.array([place.get(name, np.nan) for name in ordered.manifest.regions])
    known = {name: k for k, name in enumerate(ordered.manifest.covariates)}
    return Design(ordered, code, tuple(known[name] for name in parameters["covariates"]))


def levels(panel: Snapshot) -> list[float]:
    """The quantiles that are learned: those wanted, and the median for the point forecast."""
    return sorted({*panel.manifest.quantiles, MEDIAN})


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
    columns = (panel.covariates[:, :, k] for k in range(panel.covariates.shape[2]))
    return tuple(k for k, c in enumerate(columns) if len(np.unique(c[~np.isnan(c)])) > 1)
