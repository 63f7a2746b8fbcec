"""What a network's forecast for a region comes from: integrated gradients and occlusion; torch, no Spark.

Sundararajan et al. 2017 (https://arxiv.org/abs/1703.01365): along the straight line from an input without news (every
region at its level, an ordinary day, its base at the level) to the real one, each input gathers its gradient times its
change. The parts sum to the difference of the two forecasts, but for the error of the sum over steps, which is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stspark.models.deep.registry import Ensemble
from stspark.models.deep.windows import Scaler, make_inputs
from stspark.names import SHARES
from stspark.snapshot import Snapshot

STEPS = 64
MOST = 30
"""Sources that are named one by one, by size; the rest is one row, `others`."""
NOT_A_SUM = float("nan")
CALENDAR = (("weekday", 7), ("time of year", 4))

Inputs3 = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Part:
    """kind: region, lag, covariate, base (in spreads over the region's level, mean over the horizon; region +
    covariate + base sum to the forecast's news, lag is the region parts by day); occlusion (what the forecast of all
    days together loses when that region's past is hidden, target's unit); weight, learned_weight (of W, where
    the network mixes by it, and A); share (of each of names.SHARES in the sizes of all parts).
    error: of the sum, as a share of the parts' sizes, or of the whole if that is more; NaN where there is no sum."""

    kind: str
    source: str
    value: float
    error: float


def attribute(network: Ensemble, snapshot: Snapshot, scaler: Scaler, region: int) -> list[Part]:
    """Parts of the median forecast for `region` from the last day of a snapshot cut at its cutoff."""
    network.eval()
    inputs = make_inputs(snapshot, scaler, since=len(snapshot.y) - 1)
    real: Inputs3 = tuple(x[None] for x in inputs.window(inputs.days - 1, 1, network.context))  # type: ignore[assignment]
    gathered, total = _integrate(network, real, region)
    past, known, base = gathered
    names = snapshot.manifest.regions
    by_region = past.sum(dim=(0, 1, 2)).tolist()
    by_day = past.sum(dim=(0, 1, 3)).flip(0).tolist()  # lag 0 is the origin
    by_covariate = _by_covariate(known.sum(dim=(0, 1, 2)), snapshot.manifest.covariates)
    told = [*by_region, *by_covariate[1], float(base.sum())]
    error = abs(sum(told) - total) / max(sum(map(abs, told)), abs(total), 1e-6)
    parts = [*_largest("region", names, by_region, error, region), *_largest("lag", range(len(by_day)), by_day, error)]
    parts += _largest("covariate", *by_covariate, error)
    parts.append(Part("base", "base", float(base.sum()), error))
    parts += _shares(by_region, region, by_covariate[1], float(base.sum()))
    hidden = _occluded(network, real, region, scaler, float(inputs.level[-1, region]))
    return [*parts, *_largest("occlusion", names, hidden, NOT_A_SUM, region), *_graphs(network, snapshot, region)]


def _shares(by_region: Sequence[float], region: int, by_covariate: Sequence[float], base: float) -> list[Part]:
    """Shares in the sizes of the parts, so that parts which cancel each other still count; none of a forecast without
    news."""
    own = abs(by_region[region])
    sizes = own, sum(map(abs, by_region)) - own, sum(map(abs, by_covariate)), abs(base)
    total = sum(sizes)
    return [Part("share", name, size / total, NOT_A_SUM) for name, size in zip(SHARES, sizes, strict=True) if total > 0]


def _news(network: Ensemble, given: Inputs3, region: int) -> Tensor:
    """[B] mean over the horizon of the median forecast, in spreads over the region's level."""
    middle = network.shape.levels.index(0.5)
    residual = network(*given).mean(0)[..., region, middle] + given[2][..., region]  # [B, T, H]
    out: Tensor = residual.mean(dim=(1, 2))
    return out


def _integrate(network: Ensemble, real: Inputs3, region: int) -> tuple[Inputs3, float]:
    """Gathered gradients times change, shaped as the inputs, and the difference that they should sum to."""
    sums = [torch.zeros_like(x) for x in real]
    for step in range(STEPS):
        share = (step + 0.5) / STEPS
        point = tuple((share * x).requires_grad_() for x in real)
        grads = torch.autograd.grad(_news(network, point, region).sum(), point, allow_unused=True)  # type: ignore[arg-type]
        sums = [s if g is None else s + g / STEPS for s, g in zip(sums, grads, strict=True)]
    with torch.no_grad():
        nothing = tuple(torch.zeros_like(x) for x in real)
        total = _news(network, real, region) - _news(network, nothing, region)  # type: ignore[arg-type]
    return tuple(s * x for s, x in zip(sums, real, strict=True)), float(total)  # type: ignore[return-value]


def _by_covariate(values: Tensor, covariates: Sequence[str]) -> tuple[list[str], list[float]]:
    """Names and values of the groups of a coming day's features: [F]."""
    names, sums, first = [], [], 0
    for name, width in (*CALENDAR, *((c, 1) for c in covariates)):
        names.append(name)
        sums.append(float(values[first : first + width].sum()))
        first += width
    return names, sums


def _occluded(network: Ensemble, real: Inputs3, region: int, scaler: Scaler, level: float) -> list[float]:
    """For every region, the sum over the horizon of the forecast minus the one made with that region's past at 0."""
    whole = _demand(network, real, region, scaler, level)
    found = []
    for hidden in range(real[0].shape[3]):
        past = real[0].clone()
        past[..., hidden] = 0.0
        found.append(whole - _demand(network, (past, *real[1:]), region, scaler, level))
    return found


def _demand(network: Ensemble, given: Inputs3, region: int, scaler: Scaler, level: float) -> float:
    with torch.no_grad():
        middle = network.shape.levels.index(0.5)
        spreads = (network(*given).mean(0)[0, 0, :, region, middle] + given[2][0, 0, :, region]).double().numpy()
    a = level + spreads[:, None] * scaler.spread[None, :]
    return float(scaler.backward(a)[:, region].sum())


def _graphs(network: Ensemble, snapshot: Snapshot, region: int) -> Iterator[Part]:
    """W's row of the region and the learned adjacency's, the mean over the ensemble, where there is one."""
    names = snapshot.manifest.regions
    mixes = [m for m in network.members if getattr(getattr(m, "config", None), "neighbours", False)]
    if mixes:
        yield from _largest("weight", names, snapshot.weights[region].tolist(), NOT_A_SUM)
    learned = [m.adjacency()[region] for m in network.members if getattr(getattr(m, "config", None), "nodes", 0)]  # type: ignore[operator]
    if learned:
        values = torch.stack(learned).mean(0).detach()
        yield from _largest("learned_weight", names, values.tolist(), NOT_A_SUM)


def _largest(kind: str, names: Sequence[object], values: Sequence[float], error: float, always: int = -1) -> list[Part]:
    """The largest parts by size and that at `always`, the others as one; nothing for parts of 0."""
    order = sorted(range(len(values)), key=lambda k: (k != always, -abs(values[k]), k))
    parts = [Part(kind, str(names[k]), values[k], error) for k in order[:MOST] if values[k] != 0.0]
    rest = sum(values[k] for k in order[MOST:])
    return parts + ([Part(kind, "others", rest, error)] if len(order) > MOST else [])
