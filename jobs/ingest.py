"""Raw files to cleaned rows in Delta: events or panel, rejected rows, one account per file.

spark-submit jobs/ingest.py --config conf/DATASET.yaml [--full] [--follow SECONDS] [--set dotted.key=value …]

--full cleans every file that is there anew. --follow runs on, and looks for new files every so many seconds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stspark.ingest.commit import take_in
from stspark.ingest.files import list_files
from stspark.ingest.ledger import describe
from stspark.ingest.panel_rows import covariate_columns
from stspark.ingest.stream import checkpoint, on_new_files
from stspark.job import Job, run_job


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", type=int, metavar="SECONDS", help="run on; look for new files every SECONDS")


def main(job: Job) -> None:
    settings, store, source = job.settings, job.store, job.settings.source
    read = []

    def take() -> None:
        files = list_files(source, covariate_columns(settings))
        read.append(take_in(job.spark, store, settings, files, again=job.full))

    with job.step("ingest"):
        follow = getattr(job.options, "follow", None)
        folder = Path(source.path).is_dir() and not (Path(source.path) / "_delta_log").is_dir()
        came = folder and on_new_files(job.spark, source, checkpoint(store.home, source), take, follow)
        if not came:  # nothing is new by name; contents or rules may be
            take()
    job.summary |= describe(store, sum(read))


if __name__ == "__main__":
    sys.exit(run_job("ingest", main, more=options))
