"""What the boosted trees learn: each day relative to the region's recent level, on a scale where zeros are numbers.

z = asinh(10 · y / level) − asinh(10). Near and above the level this is log(y / level) within 1%; below a tenth of it
it turns linear, so zeros and net returns need no special case. It rises with y, so quantiles of z are quantiles of y.
"""

from __future__ import annotations

import numpy as np

from stspark.models.base import Floats

SHARPNESS = 10.0


def to_learn(y: Floats, level: Floats) -> Floats:
    """Relative size of y (its own unit) at a positive level (the same unit)."""
    return np.asarray(np.arcsinh(SHARPNESS * y / level) - np.arcsinh(SHARPNESS))


def from_learnt(z: Floats, level: Floats) -> Floats:
    """Inverse of `to_learn`."""
    return np.asarray(np.sinh(z + np.arcsinh(SHARPNESS)) / SHARPNESS * level)
