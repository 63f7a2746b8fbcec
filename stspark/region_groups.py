"""Features and groups of regions, made by an autoencoder in one task on an executor, as rows of `region_groups`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stspark.errors import InputError
from stspark.global_model import snapshot_folder
from stspark.models.deep.autoencoder import AutoencoderConfig, describe
from stspark.snapshot import load_manifest, load_snapshot, local_path

if TYPE_CHECKING:
    import pandas as pd

    from stspark.job import Job
    from stspark.runs import Run


def group_regions(job: Job, run: Run) -> DataFrame:
    """A row per region that has started by the as-of day, from the run's learning snapshot."""
    panel, cutoff, config = str(local_path(snapshot_folder(job, run))), run.as_of, AutoencoderConfig()
    if not job.settings.global_models:
        fix = "add a network or a panel model to models and run jobs/train.py with the same config and --as-of"
        raise InputError(f"run {run.run_id}", "has no snapshot", fix)
    days = load_manifest(panel).days_until(cutoff)
    if days < config.days:
        fix = f"choose an --as-of {config.days - days} days later or more"
        raise InputError(f"run {run.run_id}", f"has {days} days of history, groups need {config.days}", fix)

    def describe_all(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import pandas as pd
        import torch

        torch.set_num_threads(1)
        for _ in batches:
            snapshot = load_snapshot(panel)
            made = describe(snapshot.known_on(cutoff), config)
            features = {f"feature_{k + 1}": made.features[:, k] for k in range(config.features)}
            rows = pd.DataFrame({"region": snapshot.manifest.regions, "group_number": made.group + 1, **features})
            yield rows[made.group >= 0].assign(restored=made.restored)

    features = ", ".join(f"feature_{k + 1} double" for k in range(config.features))
    schema = f"region string, group_number int, {features}, restored double"
    made = job.spark.range(1).coalesce(1).mapInPandas(describe_all, schema).withColumn("run_id", F.lit(run.run_id))
    return made.withColumn("restored", F.when(~F.isnan("restored"), F.col("restored")))
