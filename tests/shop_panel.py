"""A small panel with a known structure, for models that see all regions."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from stspark.snapshot import Manifest, Snapshot

QUANTILES = (0.1, 0.5, 0.9)
HORIZON = 7


def shop_panel(days: int = 150, seed: int = 0, noise: float = 0.02) -> Snapshot:
    """Four regions of very different sizes with a weekly profile, promotions that double sales, and a late start."""
    rng = np.random.default_rng(seed)
    total, sizes = days + HORIZON, np.array([2000.0, 40.0, 300.0, 90.0])
    weekday = 1 + 0.4 * np.sin(2 * np.pi * np.arange(total) / 7)
    promotion = (rng.random((total, 4)) < 0.1).astype(float)
    y = sizes * weekday[:, None] * (1 + promotion) * np.exp(noise * rng.normal(size=(total, 4)))
    alive = np.ones((total, 4), dtype=bool)
    alive[: days - 20, 3] = False
    observed = alive & (rng.random((total, 4)) > 0.03)
    manifest = Manifest(
        data_version="test",
        regions=("oslo", "bergen", "turku", "aarhus"),
        first_date=date(2023, 1, 2),
        n_history=total,
        n_total=total,
        covariates=("promotion", "never"),
        edges=((0, 1, 1.0), (1, 0, 1.0), (2, 0, 0.5), (2, 1, 0.5), (3, 0, 1.0)),
        season=7,
        horizon=HORIZON,
        quantiles=QUANTILES,
    )
    weights = np.zeros((4, 4))
    for i, j, w in manifest.edges:
        weights[i, j] = w
    covariates = np.stack([promotion, np.zeros_like(promotion)], axis=2)
    return Snapshot(manifest, np.where(alive, y, 0.0), observed, alive, covariates, weights)


def cutoff_of(panel: Snapshot) -> date:
    return panel.manifest.first_date + timedelta(days=panel.manifest.n_history - HORIZON - 1)


def in_order(panel: Snapshot, index: list[int]) -> Snapshot:
    """The same panel with its regions in another order."""
    return Snapshot(
        replace(panel.manifest, regions=tuple(panel.manifest.regions[k] for k in index)),
        panel.y[:, index],
        panel.observed[:, index],
        panel.alive[:, index],
        panel.covariates[:, index],
        panel.weights[np.ix_(index, index)],
    )
