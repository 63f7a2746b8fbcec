"""What kind of demand a region has: how often, and how evenly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stspark.diagnostics.finding import Finding, NotApplicable, described

SELDOM, UNEVEN = 1.32, 0.49
"""Cut-offs of the mean interval between demands and of the squared variation of their size (Syntetos, Boylan & Croston
2005, J. Oper. Res. Soc. 56)."""
WORDS = {
    "smooth": "sells nearly every day in like amounts",
    "intermittent": "sells on some days only, in like amounts",
    "erratic": "sells nearly every day in very unlike amounts",
    "lumpy": "sells on some days only, in very unlike amounts",
}


def demand_class(interval: float, variation: float) -> str:
    """smooth, intermittent, erratic or lumpy.

    >>> demand_class(1.0, 0.1), demand_class(1.4, 0.1), demand_class(1.0, 0.5), demand_class(2.0, 0.9)
    ('smooth', 'intermittent', 'erratic', 'lumpy')
    """
    if interval < SELDOM:
        return "smooth" if variation < UNEVEN else "erratic"
    return "intermittent" if variation < UNEVEN else "lumpy"


def demand_findings(observed: NDArray[np.float64]) -> list[Finding]:
    """Interval, variation and class of the observed days' target [n]; zeros count, closed and missing days do not."""
    sizes = observed[observed != 0]
    if not len(sizes):
        raise NotApplicable("nothing was ever sold")
    interval = len(observed) / len(sizes)
    variation = float(np.var(sizes) / np.mean(sizes) ** 2) if np.mean(sizes) != 0 else np.inf
    kind = demand_class(interval, variation)
    return [
        described("demand_class", interval, f"{kind}: {WORDS[kind]}"),
        described("demand_interval", interval, f"a sale every {interval:.1f} open days"),
        described("demand_variation", variation, f"squared variation of the size {variation:.2f}"),
    ]
