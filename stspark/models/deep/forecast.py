"""Forecasts of a trained network from the last day of a snapshot; torch, no Spark."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stspark.models.deep.registry import Ensemble
from stspark.models.deep.windows import Inputs, Scaler, make_inputs
from stspark.snapshot import Floats, Snapshot


def forecast(network: Ensemble, snapshot: Snapshot, scaler: Scaler) -> Floats:
    """Forecast from the last day of a snapshot cut at its cutoff: [R, H, 1 + Q], in the target's unit.

    Column 0 is the point forecast, the median (it minimises the absolute error, hence WAPE); then the
    manifest's quantiles. Rows of regions that have not started are NaN.
    """
    inputs = make_inputs(snapshot, scaler, since=len(snapshot.y) - 1)
    predicted = at_last_origin(network, inputs).double().numpy()  # [H, R, Q]
    base = inputs.base(inputs.days - 1, 1)[0].double().numpy()  # [H, R]
    a = base[..., None] + predicted * scaler.spread[None, :, None]
    y = scaler.backward(a.transpose(0, 2, 1))  # [H, Q, R]
    wanted = [network.shape.levels.index(q) for q in (0.5, *snapshot.manifest.quantiles)]
    result = y[:, wanted].transpose(2, 0, 1)
    return np.where(snapshot.alive[-1][:, None, None], result, np.nan)


def at_last_origin(network: Ensemble, inputs: Inputs) -> Tensor:
    """[H, R, Q] scaled residuals from the last day of `inputs`, the mean of the ensemble's, made where it lies."""
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        window = inputs.window(inputs.days - 1, 1, network.context)
        predicted: Tensor = network(*(part[None].to(device) for part in window)).mean(0)
    return predicted[0, 0].cpu()
