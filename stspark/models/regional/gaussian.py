"""Forecasts whose error at each step is Gaussian, and the check that every forecast passes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from stspark.models.base import Floats, Forecast


def gaussian_forecast(mean: Floats, sd: Floats, quantiles: Sequence[float]) -> Forecast:
    """Return mean + z * sd at each quantile, z from the standard normal; 0.5 gives the mean itself.

    mean, sd: [h] in the target's unit, sd >= 0; quantiles: [q] ascending, within (0, 1).
    Raises ValueError when a number is not finite.
    """
    z = np.array([NormalDist().inv_cdf(q) for q in quantiles])
    return checked(Forecast(mean, mean[:, None] + sd[:, None] * z[None, :]))


def checked(forecast: Forecast) -> Forecast:
    """Return the forecast as it came; raise ValueError naming the first step that is not finite."""
    sound = np.isfinite(forecast.mean) & np.isfinite(forecast.quantiles).all(axis=1)
    if not sound.all():
        step = int(np.argmin(sound))
        row = [forecast.mean[step], *forecast.quantiles[step]]
        raise ValueError(f"the forecast of step {step + 1} is not finite: {[float(v) for v in row]}")
    return forecast
