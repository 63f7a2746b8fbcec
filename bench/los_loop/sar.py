"""The package's dynamic spatial autoregression on Los-loop: twelve lags of a detector and of its neighbours, pooled
over detectors, and ρ for what neighbours share at the same moment; on departures from the profile (see protocol).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.los_loop.protocol import STEPS_IN, STEPS_OUT, Floats, Forecaster, Traffic, profile
from stspark.models.panel.lags import Equations, iterate, lagged, residuals
from stspark.models.panel.spatial_lag import fit_spatial_lag

RIDGE = 1e-4


def autoregression(traffic: Traffic, end: int, *, neighbours: bool = True) -> Forecaster:
    """Forecaster that learnt from the steps before `end`; without neighbours W is left out."""
    usual = profile(traffic, end)
    z = traffic.speed - usual[: len(traffic.speed)]
    weights = traffic.weights if neighbours else np.zeros_like(traffic.weights)
    terms = np.eye(STEPS_IN)
    own = lagged(z[None, :end], terms)[0, :, STEPS_IN:]
    near = own @ weights.T if neighbours else own[:0]
    found = fit_spatial_lag(z[STEPS_IN:end], np.moveaxis(np.concatenate([own, near]), 0, -1), weights, RIDGE)
    beta = np.zeros(2 * STEPS_IN)
    beta[: len(found.beta)] = found.beta
    own_lags, near_lags = beta.reshape(2, 1, 1, STEPS_IN)
    equations = Equations(found.rho, own_lags, near_lags, np.zeros((1, 0)), np.zeros((1, z.shape[1])), terms)
    left = residuals(equations, z[None, :end], np.zeros((end, z.shape[1], 0)), weights)
    equations = replace(equations, alpha=left[:, STEPS_IN:].mean(axis=1))
    known, still = np.zeros((STEPS_OUT, z.shape[1], 0)), np.zeros((1, 1, STEPS_OUT, z.shape[1]))

    def forecast(first: int, count: int) -> Floats:
        paths = [
            iterate(equations, z[None, t - STEPS_IN + 1 : t + 1], known, weights, still)[0, 0]
            + usual[t + 1 : t + 1 + STEPS_OUT]
            for t in range(first, first + count)
        ]
        return np.stack(paths)

    return forecast
