"""Forecasts whose errors are those of the past, in whatever shape they came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stspark.models.base import Floats, Forecast
from stspark.models.regional.gaussian import checked


def empirical_forecast(
    mean: Floats, errors: Floats, quantiles: Sequence[float], spread: Floats | None = None
) -> Forecast:
    """Return mean + quantiles of past errors (actual minus forecast), widened by `spread` at each step.

    mean: [h]; errors: [n], none means a forecast without doubt; quantiles: [q] within (0, 1); spread: [h] factors,
    1 where left out. Of a series of mostly zeros the lower quantiles are mostly zero, which no bell curve shows.
    Raises ValueError when a number is not finite.
    """
    known = errors[np.isfinite(errors)]
    offsets = np.quantile(known, list(quantiles)) if len(known) else np.zeros(len(quantiles))
    factors = np.ones(len(mean)) if spread is None else spread
    return checked(Forecast(mean, mean[:, None] + factors[:, None] * offsets[None, :]))


def error_facts(errors: Floats) -> dict[str, float | None]:
    """Readable statistics of one-step errors: mean, standard deviation and autocorrelation at lag 1."""
    known = errors[np.isfinite(errors)]
    if len(known) < 3:
        return {"residual_mean": None, "residual_sd": None, "residual_acf1": None}
    centred = known - known.mean()
    total = float(centred @ centred)
    return {
        "residual_mean": float(known.mean()),
        "residual_sd": float(known.std(ddof=1)),
        "residual_acf1": float(centred[1:] @ centred[:-1] / total) if total > 0 else None,
    }
