"""Colours of data: a diverging scale for changes, and one colour and dash per model (Okabe & Ito 2008)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stspark.names import CHAMPION, NAIVE

DIVERGING = ((0, 114, 178), (205, 208, 212), (213, 94, 0))
"""Blue, grey, vermilion: told apart by all kinds of colour vision."""
UNKNOWN = "none"
MODELS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
DASHES = ("", "7 3", "2 3")


def diverging(value: float, reach: float) -> str:
    """Blue at -reach and below, grey at 0, vermilion at +reach and above."""
    if not math.isfinite(value):
        return UNKNOWN
    share = max(-1.0, min(1.0, value / reach))
    end = DIVERGING[0] if share < 0 else DIVERGING[2]
    mixed = (round(a + (b - a) * abs(share)) for a, b in zip(DIVERGING[1], end, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def model_styles(models: Sequence[str]) -> dict[str, str]:
    """model -> CSS of its line: the champion thick, the naive grey and dashed, colours by name so that they stay."""
    others = sorted(set(models) - {CHAMPION, NAIVE})
    styles = {
        model: f"stroke:{MODELS[k % len(MODELS)]};stroke-dasharray:{DASHES[k // len(MODELS) % len(DASHES)] or 'none'}"
        for k, model in enumerate(others)
    }
    return {
        CHAMPION: "stroke:var(--ink);stroke-width:3",
        NAIVE: "stroke:var(--muted);stroke-dasharray:5 4;stroke-width:2.4",
    } | styles
