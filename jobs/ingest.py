"""Raw files to cleaned rows in Delta: events or panel, rejected rows, one account per file.

spark-submit jobs/ingest.py --config conf/DATASET.yaml [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark.ingest import account
from stspark.ingest.build import classify
from stspark.ingest.events import to_events
from stspark.ingest.files import list_files
from stspark.ingest.ledger import describe, not_yet_ingested, refuse_replaced
from stspark.ingest.panel_rows import to_panel
from stspark.job import Job, run_job
from stspark.privacy import user_key


def main(job: Job) -> None:
    with job.step("ingest"):
        files = list_files(job.settings.source)
        new = not_yet_ingested(job.store, files)
        if new:
            refuse_replaced(job.store, new, job.settings.source.kind)
            ingest = classify(job.spark, new, job.settings)
            slice_ = f"ingest_id = '{ingest.ingest_id}'"
            if job.settings.source.kind == "events":
                rows = to_events(ingest.classified, ingest.ingest_id, user_key(job.settings.warehouse))
                job.store.replace("events", rows, slice_)
            else:
                job.store.replace("panel", to_panel(ingest.classified, ingest.ingest_id), slice_)
            job.store.replace("events_rejected", account.to_rejected(ingest.classified, ingest.ingest_id), slice_)
            job.store.replace("ingested_files", ingest.file_counts, slice_)
            ingest.classified.unpersist()
    job.summary |= describe(job.store, new)


if __name__ == "__main__":
    sys.exit(run_job("ingest", main))
