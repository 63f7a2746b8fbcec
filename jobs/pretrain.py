"""Pretrains the transformer by masked self-supervision on every series at hand: a checkpoint in _pretrained.

spark-submit jobs/pretrain.py --config conf/DATASET.yaml [--as-of YYYY-MM-DD] [--set pretrain.size=small …]

Nothing after the as-of day is read. A network that begins with the checkpoint may only be back-tested from later
cutoffs. Started again after a crash it goes on; with the same data and config it keeps what is there.
"""

from __future__ import annotations

import sys

from stspark.job import Job, run_job
from stspark.pretraining.pretrain import pretrain_over_spark


def main(job: Job) -> None:
    with job.step("pretrain"):
        path, manifest, kept = pretrain_over_spark(job)
    series = ", ".join(f"{corpus['series']:,} of {corpus['name']}" for corpus in manifest["corpora"])
    loss = manifest["masked_loss"]
    job.summary["as of"] = manifest["as_of"]
    job.summary["series"] = series
    job.summary["masked loss"] = f"{loss['before']:.4f} before, {loss['after']:.4f} after"
    job.summary["checkpoint"] = f"{path}{' (kept)' if kept else ''}"
    job.summary["to use it"] = f"under models: - {{name: transformer, size: {manifest['size']}, pretrained: {path}}}"


if __name__ == "__main__":
    sys.exit(run_job("pretrain", main))
