"""Raw files to cleaned rows in Delta: events or panel, rejected rows, one account per file.

spark-submit jobs/ingest.py --config conf/DATASET.yaml [--set dotted.key=value …]
"""

from __future__ import annotations

import sys

from stspark.ingest import account
from stspark.ingest.build import KINDS, classify, kept_before
from stspark.ingest.events import to_events
from stspark.ingest.files import list_files
from stspark.ingest.ledger import describe, not_yet_ingested, refuse_replaced, remove_unfinished
from stspark.ingest.panel_rows import covariate_columns, to_panel
from stspark.job import Job, run_job
from stspark.privacy import user_key


def main(job: Job) -> None:
    settings, store = job.settings, job.store
    kind = KINDS[settings.source.kind]
    with job.step("ingest"):
        files = list_files(settings.source, covariate_columns(settings))
        new = not_yet_ingested(store, files)
        if new:
            refuse_replaced(store, new, kind.table)
            remove_unfinished(store, [kind.table, "events_rejected"])
            ingest = classify(job.spark, new, settings, kept_before(store, kind))
            if kind.table == "events":
                rows = to_events(ingest.classified, ingest.ingest_id, user_key(settings.warehouse))
            else:
                rows = to_panel(ingest.classified, ingest.ingest_id)
            mine = f"ingest_id = '{ingest.ingest_id}'"
            store.replace(kind.table, rows, mine)
            store.replace("events_rejected", account.to_rejected(ingest.classified, ingest.ingest_id), mine)
            store.replace("ingested_files", ingest.file_counts, mine)
            ingest.classified.unpersist()
    job.summary |= describe(store, new)


if __name__ == "__main__":
    sys.exit(run_job("ingest", main))
