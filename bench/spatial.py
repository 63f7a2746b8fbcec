"""Does knowing the neighbours pay? Simulated panels with known spill-over, and the same with it switched off. No Spark.

.venv/bin/python -m bench.spatial [--regions 24] [--days 730] [--cutoffs 26] [--network]

Demand z (on a log scale) follows (I - ρW) z_t = τ z_(t-1) + η W z_(t-1) + week + ε. W is either a road (each region
hears the one before it: demand travels) or the four nearest of random places (demand mixes, and a region's own past
holds most of what its neighbours know). A second variable (visitors) follows the same day's demand with noise. Each
model forecasts seven days from weekly cutoffs. Reported: WAPE, and its ratio to the best model that cannot see
neighbours, with a 95% interval from a bootstrap over cutoffs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from stspark.models.base import Floats, Future, Series
from stspark.models.panel.base import PanelForecaster
from stspark.models.panel.dynamic_sar import DynamicSar
from stspark.models.panel.spatial_lag import fit_spatial_lag
from stspark.models.panel.stv import Stv
from stspark.models.regional.auto_ets import AutoEts
from stspark.models.regional.seasonal_naive import SeasonalNaive
from stspark.snapshot import Manifest, Snapshot

HORIZON, SEASON, NEIGHBOURS, BURN_IN = 7, 7, 4, 200
QUANTILES = (0.1, 0.5, 0.9)
BLIND = ("seasonal_naive", "auto_ets", "ridge_ar")
"""Models that see one region only, or no neighbours."""


@dataclass(frozen=True)
class Spill:
    """ρ: share of the neighbours' same day; eta: of their day before; tau: of a region's own day before."""

    rho: float
    eta: float
    tau: float
    road: bool = True
    noise: float = 0.2


CASES = {
    "spill-over along a road": Spill(0.15, 0.7, 0.1),
    "spill-over among four neighbours": Spill(0.3, 0.5, 0.1, road=False),
    "spill-over off": Spill(0.0, 0.0, 0.6),
}


def nearest_weights(regions: int, generator: np.random.Generator) -> Floats:
    """[R, R]: the nearest of random places, equal weights."""
    place = generator.random((regions, 2))
    distance = ((place[:, None] - place) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    weights = np.zeros((regions, regions))
    for region, row in enumerate(np.argsort(distance, axis=1)[:, :NEIGHBOURS]):
        weights[region, row] = 1 / NEIGHBOURS
    return weights


def simulate(spill: Spill, regions: int, days: int, seed: int) -> Snapshot:
    """A panel of demand and visitors with this spill-over."""
    g = np.random.default_rng(seed)
    weights = np.roll(np.eye(regions), -1, axis=1) if spill.road else nearest_weights(regions, g)
    multiplier = np.linalg.inv(np.eye(regions) - spill.rho * weights).T
    z = np.zeros((BURN_IN + days, regions))
    for t in range(1, len(z)):
        pushed = spill.tau * z[t - 1] + spill.eta * weights @ z[t - 1] + spill.noise * g.normal(size=regions)
        z[t] = pushed @ multiplier
    week = 0.25 * np.sin(2 * np.pi * (np.arange(len(z)) % SEASON) / SEASON + 1.0)
    level = g.normal(4.0, 0.7, size=regions)
    y = g.poisson(np.exp(level + z + week[:, None]))[BURN_IN:].astype(float)
    visitors = g.poisson(10.0 * np.exp(level + z + week[:, None]))[BURN_IN:, :, None].astype(float)
    edges = tuple((i, int(j), float(weights[i, j])) for i in range(regions) for j in np.flatnonzero(weights[i]))
    manifest = Manifest(
        f"spill-{seed}",
        tuple(f"r{i:03d}" for i in range(regions)),
        date(2022, 1, 3),
        days,
        days,
        (),
        edges,
        SEASON,
        HORIZON,
        QUANTILES,
        seed=seed,
        past_only=("visitors",),
    )
    seen = np.ones(y.shape, dtype=bool)
    return Snapshot(manifest, y, seen, seen, np.zeros((days, regions, 0)), weights, visitors)


def rho_error(seeds: Sequence[int] = range(5), rhos: Sequence[float] = (-0.3, 0.0, 0.4, 0.7)) -> float:
    """Largest |estimated - true ρ| of the static panel over seeds and values: 27 regions, one year, two covariates."""
    worst = 0.0
    for seed in seeds:
        for rho in rhos:
            g = np.random.default_rng([seed, round(100 * (rho + 1))])
            weights = nearest_weights(27, g)
            x = g.normal(size=(365, 27, 2))
            right = x @ [1.0, -0.5] + g.normal(size=27) + g.normal(size=(365, 27))
            y = right @ np.linalg.inv(np.eye(27) - rho * weights).T
            worst = max(worst, abs(fit_spatial_lag(y, x, weights).rho - rho))
    return worst


def compare(panel: Snapshot, cutoffs: int, network: bool) -> dict[str, Floats]:
    """Absolute errors [C, H, R] of every model from weekly cutoffs, and the truth as "y"."""
    last = panel.manifest.n_history
    ends = [last - HORIZON * k for k in range(cutoffs, 0, -1)]
    truth = np.stack([panel.y[end : end + HORIZON] for end in ends])
    made: dict[str, Floats] = {
        "seasonal_naive": regional(SeasonalNaive(), panel, ends),
        "auto_ets": regional(AutoEts(), panel, ends),
        "ridge_ar": pooled(DynamicSar(neighbours=False, paths=50), panel, ends),
        "dynamic_sar": pooled(DynamicSar(paths=50), panel, ends),
        "stv": pooled(Stv(second="visitors", paths=50), panel, ends),
    }
    if network:
        made["stcnn"] = trained(panel, ends)
    return {name: np.abs(values - truth) for name, values in made.items()} | {"y": truth}


def pooled(model: PanelForecaster, panel: Snapshot, ends: Sequence[int]) -> Floats:
    """[C, H, R] point forecasts, fitted at every cutoff."""
    made = []
    for end in ends:
        cut = panel.known_on(panel.manifest.day(end - 1))
        made.append(model.predict(model.fit(cut), cut, QUANTILES)[:, :, 0].T)
    return np.stack(made)


def regional(model: AutoEts | SeasonalNaive, panel: Snapshot, ends: Sequence[int]) -> Floats:
    """[C, H, R] point forecasts, fitted at the first cutoff and carried forward, region by region."""
    days, regions = panel.y.shape
    dates = np.datetime64(panel.manifest.first_date, "D") + np.arange(days)
    made = np.zeros((len(ends), HORIZON, regions))
    for r in range(regions):
        whole = Series(dates, panel.y[:, r], panel.observed[:, r], np.zeros((days, 0)), (), SEASON)
        parameters = model.fit(whole.until(dates[ends[0] - 1]))
        for c, end in enumerate(ends):
            future = Future(dates[end : end + HORIZON], np.zeros((HORIZON, 0)))
            made[c, :, r] = model.predict(parameters, whole.until(dates[end - 1]), future, QUANTILES).mean
    return made


def trained(panel: Snapshot, ends: Sequence[int]) -> Floats:
    """[C, H, R] medians of the ST-CNN, trained at the first cutoff and fine-tuned at every later one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from stspark.models.deep.checkpoint import predict
    from stspark.snapshot import write_atomically
    from stspark.training.loop import train_rank
    from stspark.training.plan import Launch, TrainingConfig

    days, regions = panel.y.shape
    day, region = (v.ravel() for v in np.indices((days, regions)))
    columns = {"region_index": region, "date_index": day, "y": panel.y.ravel(), "observed": panel.observed.ravel()}
    columns["visitors"] = panel.past[:, :, 0].ravel()
    cutoffs = tuple(panel.manifest.day(end - 1) for end in ends)
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "snapshot/panel").mkdir(parents=True)
        (Path(home) / "run").mkdir()
        pq.write_table(pa.table(columns), Path(home) / "snapshot/panel/part-0.parquet")
        write_atomically(Path(home) / "snapshot/manifest.json", panel.manifest.to_json().encode())
        launch = Launch(f"{home}/snapshot", f"{home}/run", TrainingConfig(gpu="never", processes=1), cutoffs)
        train_rank(launch)
        return np.stack([predict(launch.checkpoints, panel, cutoff)[:, :, 0].T for cutoff in cutoffs])


def table(errors: dict[str, Floats], draws: int = 2000) -> tuple[list[str], dict[str, tuple[float, float, float]]]:
    """Lines of a Markdown table, and for every model its ratio to the best blind one with its 95% interval."""
    total = errors["y"].sum(axis=(1, 2))  # [C]
    sums = {name: value.sum(axis=(1, 2)) for name, value in errors.items() if name != "y"}
    best = min(BLIND, key=lambda name: sums[name].sum())
    pick = np.random.default_rng(0).integers(0, len(total), size=(draws, len(total)))
    lines, ratios = ["| model | WAPE | to the best blind model |", "|---|---|---|"], {}
    for name, value in sums.items():
        drawn = value[pick].sum(axis=1) / sums[best][pick].sum(axis=1)
        ratio = value.sum() / sums[best].sum()
        low, high = np.quantile(drawn, [0.025, 0.975])
        ratios[name] = (float(ratio), float(low), float(high))
        lines.append(f"| {name} | {value.sum() / total.sum():.4f} | {ratio:.3f} ({low:.3f} to {high:.3f}) |")
    return lines, ratios


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("regions", 24), ("days", 730), ("cutoffs", 26), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--network", action="store_true", help="the ST-CNN too (minutes)")
    options = parser.parse_args(arguments)
    for title, spill in CASES.items():
        panel = simulate(spill, options.regions, options.days, options.seed)
        lines, _ = table(compare(panel, options.cutoffs, options.network))
        found = DynamicSar(paths=50).fit(panel)
        say(f"\n{title}: true ρ {spill.rho:g}, found {found['rho']:.3f} ± {found['rho_error']:.3f}\n")
        say("\n".join(lines))
    say(f"\nrho_error={rho_error():.4f}")


if __name__ == "__main__":
    main()
