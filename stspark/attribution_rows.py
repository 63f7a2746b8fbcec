"""Attributions of the stored networks' forecasts, a region at a time on the executors, as rows of `attributions`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.errors import InputError
from stspark.global_model import snapshot_folder
from stspark.models.deep.attribution import attribute
from stspark.models.deep.checkpoint import load_checkpoint, trained_parts
from stspark.models.deep.registry import NETWORKS
from stspark.session import slots
from stspark.snapshot import load_manifest, load_snapshot, local_path

if TYPE_CHECKING:
    import pandas as pd

    from stspark.job import Job
    from stspark.runs import Run

SCHEMA = "region string, kind string, source string, value double, completeness_error double"


def attribute_networks(job: Job, run: Run) -> DataFrame:
    """Rows of all networks of the run that have a checkpoint of the as-of day; InputError where there is none."""
    networks = trained_networks(job, run)
    found = [_of_network(job, run, model, checkpoints) for model, checkpoints in networks.items()]
    return reduce(DataFrame.unionByName, found).withColumn("run_id", F.lit(run.run_id))


def trained_networks(job: Job, run: Run) -> dict[str, str]:
    """Folder of checkpoints of each network that the run has trained; InputError where there is none."""
    models = job.store.read("models").where((F.col("run_id") == run.run_id) & F.col("artefact").isNotNull())
    chosen = models.where(F.col("model").isin(*NETWORKS)).select("model", "artefact").orderBy("model")
    found = {row["model"]: row["artefact"] for row in chosen.collect()}
    if not found:
        fix = f"add one of {', '.join(NETWORKS)} to models and run jobs/train.py with the same config and --as-of"
        raise InputError(f"run {run.run_id}", "has no trained network", fix)
    return found


def _of_network(job: Job, run: Run, model: str, checkpoints: str) -> DataFrame:
    folder, cutoff = local_path(checkpoints), run.as_of
    panel = str(local_path(snapshot_folder(job, run)))
    count = len(load_manifest(panel).regions)
    parts = [(part, part.indices(count)) for part in trained_parts(folder, cutoff)]
    wanted = [(part, region) for part, (first, end, _) in parts for region in range(end - first)]

    def of_regions(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import pandas as pd
        import torch

        torch.set_num_threads(1)
        seen: slice | None = None
        for batch in batches:
            for position in batch["id"]:
                part, region = wanted[position]
                if part != seen:
                    known, seen = load_snapshot(panel, part).known_on(cutoff), part
                    network, scaler = load_checkpoint(folder, known, cutoff)
                if known.alive[-1, region]:
                    rows = pd.DataFrame([asdict(part) for part in attribute(network, known, scaler, region)])
                    rows.insert(0, "region", known.manifest.regions[region])
                    yield rows.rename(columns={"error": "completeness_error"})

    made = job.spark.range(0, len(wanted), 1, min(len(wanted), slots(job.spark))).mapInPandas(of_regions, SCHEMA)
    error = F.when(~F.isnan("completeness_error"), F.col("completeness_error"))
    return made.withColumns({"model": F.lit(model), "completeness_error": error})
