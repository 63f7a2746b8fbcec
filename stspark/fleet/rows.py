"""The rows that leave a worker: forecasts of every cutoff, and one row for each region's model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql.types import StructType

from stspark.columns import schema_of
from stspark.fleet.attempt import Plan
from stspark.fleet.region import Outcome
from stspark.names import quantile_column

AT_ONCE = 100
"""Outcomes in one frame: pandas and Arrow take as long for a frame as a cheap model for its region."""
Labelled = tuple[str, str, Outcome]
"""Region, model, outcome."""


def output_schema(quantiles: Sequence[float]) -> StructType:
    """Rows of two kinds: `forecast` (one per cutoff and day) and `model` (one per region and model)."""
    texts = dict.fromkeys(("kind", "region", "model"), "string")
    values = dict.fromkeys(("y_hat", *map(quantile_column, quantiles)), "double")
    model = {"fallback_used": "string", "status": "string", "error": "string", "fit_seconds": "double", "n_fits": "int"}
    model |= {"fit_kind": "string"}
    stored = {"parameters": "string", "artefact": "string"}
    return schema_of((texts | {"cutoff": "date", "date": "date", "horizon": "int"} | values | model | stored).items())


def frames(outcomes: Iterable[Labelled], plan: Plan) -> Iterator[pd.DataFrame]:
    """Outcomes as rows of `output_schema`, AT_ONCE at a time."""
    left = iter(outcomes)
    while some := list(itertools.islice(left, AT_ONCE)):
        yield to_frame(some, plan)


def to_frame(outcomes: Sequence[Labelled], plan: Plan) -> pd.DataFrame:
    """Of each outcome its forecast's rows, cutoff by cutoff, and last the model's own row."""
    parts = [_columns(region, model, outcome, plan) for region, model, outcome in outcomes]
    joined: dict[str, Any] = {}
    for name, first in parts[0].items():
        values = [part[name] for part in parts]
        joined[name] = np.concatenate(values) if isinstance(first, np.ndarray) else list(itertools.chain(*values))
    return pd.DataFrame(joined)[output_schema(plan.quantiles).fieldNames()]


def _columns(region: str, model: str, outcome: Outcome, plan: Plan) -> dict[str, Any]:
    made, h = outcome.forecasts, plan.horizon
    cutoffs = np.repeat(np.array(list(made), dtype="datetime64[D]"), h)
    gaps = np.array([plan.gap(cutoff) for cutoff in made], dtype=int)
    steps = np.repeat(gaps, h) + np.tile(np.arange(1, h + 1), len(made))
    n = len(steps)
    means = np.concatenate([f.mean for f in made.values()]) if made else np.empty(0)
    quantiles = np.concatenate([f.quantiles for f in made.values()]) if made else np.empty((0, len(plan.quantiles)))
    columns: dict[str, Any] = {
        "kind": ["forecast"] * n + ["model"],
        "region": [region] * (n + 1),
        "model": [model] * (n + 1),
        "cutoff": [*cutoffs.astype(object), None],
        "date": [*(cutoffs + steps.astype("timedelta64[D]")).astype(object), None],
        "fallback_used": [outcome.fallbacks.get(c) for c in made for _ in range(h)],
    }
    columns["fallback_used"].append(outcome.fallbacks.get(plan.cutoffs[-1]))
    own: dict[str, object] = {
        "status": outcome.status,
        "error": outcome.error,
        "parameters": outcome.readable(),
        "artefact": outcome.artefact(),
        "fit_kind": outcome.fit_kind,
    }
    columns |= {name: [*([None] * n), value] for name, value in own.items()}
    numbers = {"horizon": steps, "y_hat": means}
    numbers |= {quantile_column(q): quantiles[:, i] for i, q in enumerate(plan.quantiles)}
    columns |= {name: np.append(values.astype(float), np.nan) for name, values in numbers.items()}
    measured = {"fit_seconds": outcome.seconds, "n_fits": outcome.fits}
    return columns | {name: np.append(np.full(n, np.nan), value) for name, value in measured.items()}
