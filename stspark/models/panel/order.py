"""The order of regions in which sums and draws are made, so that a forecast does not depend on the panel's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stspark.snapshot import Snapshot


def by_name(panel: Snapshot) -> tuple[Snapshot, list[int]]:
    """The panel with its regions in order of their names, and where each region of `panel` went.

    So a forecast does not depend on the order of the regions, to the last bit. Past-only columns are left out.
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
