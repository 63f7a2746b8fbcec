"""Erases a person from every table and old version, builds what depended on them anew, and shows that nothing is left.

spark-submit jobs/forget.py --config conf/DATASET.yaml --user ID [--set dotted.key=value …]

No other job may write meanwhile, and versions before this one can no longer be read. The raw input files are out of
reach: remove the person there too; until then, their rows are rejected as `forgotten`, without their text.
"""

from __future__ import annotations

import argparse
import sys

import features

from stspark.errors import InputError
from stspark.forget import Person, erase, refuse_if_running, search
from stspark.job import Job, run_job
from stspark.privacy import user_key
from stspark.store import Store


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="ID", help="the person's id as the raw files have it")


def main(job: Job) -> None:
    store, settings = job.store, job.settings
    if settings.source.kind != "events":
        raise InputError("source.kind", "is panel, which holds no people", "nothing is to be done")
    person = Person.of(job.options.user.strip(), user_key(settings.warehouse))
    with job.step("forget"):
        refuse_if_running(store)
        before = regions_with_days(store)
        events = erase(store, person)
        try:
            if store.exists("region_day"):
                job.full = True
                features.main(job)
        finally:  # where no day can be built any more, old versions must not keep the person either
            store.purge()
        lost = sorted(before - regions_with_days(store))
        files, found = search([settings.home, f"{settings.reports}/{settings.dataset}"], person)
    if found:
        raise RuntimeError(f"the person is still in {len(found)} of {files} files: {', '.join(found[:5])}")
    job.summary["person"] = f"{events:,} events erased; {files:,} files searched, none holds the person"
    if lost:
        job.summary["no event left"] = f"in {', '.join(lost)}: no longer in region_day"
    job.summary["raw files"] = f"out of reach: remove the person from {settings.source.path} too"
    job.summary["models"] = "run jobs/pipeline.py again: forecasts still rest on the days as they were"


def regions_with_days(store: Store) -> set[str]:
    if not store.exists("region_day"):
        return set()
    return {row["region"] for row in store.read("region_day").select("region").distinct().collect()}


if __name__ == "__main__":
    sys.exit(run_job("forget", main, more=options))
