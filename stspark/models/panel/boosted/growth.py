"""How boosters grow: the options that every model of boosted trees shares, and what xgboost is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BINS = 64


@dataclass(frozen=True)
class Growth:
    """Options, with what they cost: time grows with boosters × rounds × rows.

    rows: that one booster learns from, at most; boosters: that are averaged; rounds, learning_rate, leaves: of each;
    columns, sample: share of features that a split and of rows that a tree looks at.
    """

    rows: int = 10_000
    boosters: int = 3
    rounds: int = 150
    learning_rate: float = 0.07
    leaves: int = 31
    columns: float = 0.2
    sample: float = 0.5

    def __post_init__(self) -> None:
        for name in ("rows", "boosters", "rounds", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.leaves < 2:
            raise ValueError(f"leaves is {self.leaves}; a tree has at least 2")
        if not (0 < self.columns <= 1 and 0 < self.sample <= 1):
            raise ValueError("columns and sample are shares above 0, at most 1")

    def seeds(self, seed: int) -> list[int]:
        """One seed for each booster's rows and trees."""
        return [1000 * seed + k for k in range(self.boosters)]

    def growing(self, seed: int) -> dict[str, Any]:
        """xgboost's own parameters, less the objective."""
        return {
            "tree_method": "hist",
            "grow_policy": "lossguide",
            "max_depth": 0,
            "max_leaves": self.leaves,
            "max_bin": BINS,
            "learning_rate": self.learning_rate,
            "min_child_weight": 10,
            "colsample_bynode": self.columns,
            "subsample": self.sample,
            "seed": seed,
        }
