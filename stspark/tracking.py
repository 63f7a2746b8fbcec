"""One MLflow run per job run: parameters, metrics, report, model. The only module that imports mlflow."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from stspark.names import ALL_REGIONS
from stspark.settings import Settings

if TYPE_CHECKING:
    from stspark.job import Job
    from stspark.runs import Run

log = logging.getLogger("stspark")

os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")


def tracking_uri(configured: str | None, warehouse: str) -> str:
    """The configured tracking URI, else an SQLite file in the warehouse: no server needed."""
    return configured or f"sqlite:///{Path(warehouse).absolute()}/mlflow.db"


def log_run(job: Job, run: Run) -> str:
    """Log the run and return MLflow's id; the same run again continues its MLflow run."""
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(job.settings.tracking_uri, job.settings.warehouse))
    experiment = _experiment(job)
    found = mlflow.search_runs(
        [experiment], filter_string=f"tags.`stspark.run_id` = '{run.run_id}'", output_format="list", max_results=1
    )
    again = found[0].info.run_id if found else None
    with mlflow.start_run(run_id=again, experiment_id=experiment, run_name=None if again else run.run_id) as active:
        mlflow.set_tags({"stspark.run_id": run.run_id, "stspark.job": job.name})
        if again is None:
            mlflow.log_params(_parameters(job, run))
        mlflow.log_metrics(_metrics(job, run))
        if job.report is not None:
            mlflow.log_artifact(job.report, "report")
        for model in job.settings.global_models:
            _log_losses(job, run, model.folder)
            _register(job, run, model.folder, active.info.run_id)
        return str(active.info.run_id)


def _experiment(job: Job) -> str:
    """The data set's experiment; its artefacts lie in the warehouse when no server is configured."""
    import mlflow

    found = mlflow.get_experiment_by_name(job.settings.dataset)
    if found is not None:
        return str(found.experiment_id)
    location = None if job.settings.tracking_uri else (Path(job.settings.warehouse).absolute() / "mlartifacts").as_uri()
    return str(mlflow.create_experiment(job.settings.dataset, artifact_location=location))


def _parameters(job: Job, run: Run) -> dict[str, object]:
    settings = job.settings
    return {
        "as_of": str(run.as_of),
        "config_hash": run.config_hash,
        "data_version": run.data_version,
        "horizon": settings.time.horizon,
        "season": settings.time.season,
        "seed": settings.seed,
        "windows": settings.backtest.windows,
        "models": ",".join(m.name for m in settings.models),
    }


def _metrics(job: Job, run: Run) -> dict[str, float]:
    """Back-test metrics over all regions, per model, and seconds by step."""
    rows = job.store.read("metrics").where(
        (F.col("run_id") == run.run_id)
        & (F.col("source") == "backtest")
        & (F.col("region") == ALL_REGIONS)
        & (F.col("horizon") == 0)
    )
    measured = {f"{row['model']}.{row['metric']}": row["value"] for row in rows.collect()}
    return measured | {f"seconds.{step}": value for step, value in job.seconds.items()}


def _log_losses(job: Job, run: Run, model: str) -> None:
    """The training loss after every epoch, in order over all cutoffs (other lines of the file tell of starts)."""
    from mlflow import MlflowClient, active_run
    from mlflow.entities import Metric

    active = active_run()
    progress = Path(job.store.home) / "_models" / run.run_id / model / "progress.jsonl"
    if active is None or not progress.exists():
        return
    lines = [json.loads(line) for line in progress.read_text(encoding="utf-8").splitlines()]
    losses, now = [line["loss"] for line in lines if "loss" in line], int(1000 * time.time())
    points = [Metric(f"{model}.loss", loss, now, step) for step, loss in enumerate(losses)]
    MlflowClient().log_batch(active.info.run_id, metrics=points)


def _register(job: Job, run: Run, model: str, mlflow_run: str) -> None:
    """Log the checkpoint of the as-of day and register it as <dataset>-<model>, once per run."""
    import mlflow
    from mlflow import MlflowClient

    checkpoints = Path(job.store.home) / "_models" / run.run_id / model / "checkpoints"
    files = sorted(checkpoints.glob(f"{run.as_of}.*"))
    if not files:
        return
    for file in files:
        mlflow.log_artifact(str(file), f"models/{model}")
    client, name = MlflowClient(), f"{job.settings.dataset}-{model}"
    _ensure_registered(client, name)
    if not client.search_model_versions(f"name = '{name}' and run_id = '{mlflow_run}'"):
        uri = client.get_run(mlflow_run).info.artifact_uri
        client.create_model_version(name, source=f"{uri}/models/{model}", run_id=mlflow_run)


def forecaster_champion(settings: Settings) -> str | None:
    """run_id of the version of <dataset>-forecaster that has the alias champion; None where there is none."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(tracking_uri(settings.tracking_uri, settings.warehouse))
    try:
        version = MlflowClient().get_model_version_by_alias(f"{settings.dataset}-forecaster", "champion")
    except MlflowException:
        return None
    return version.tags.get("stspark.run_id")


def register_forecaster(job: Job, run: Run, alias: str, reason: str = "") -> None:
    """Give the run's version of <dataset>-forecaster (made where it is not there) the alias and the reason for it."""
    from mlflow import MlflowClient

    client, name = MlflowClient(), f"{job.settings.dataset}-forecaster"
    _ensure_registered(client, name)
    mine = [v for v in client.search_model_versions(f"name = '{name}'") if v.tags.get("stspark.run_id") == run.run_id]
    if mine:
        version = mine[0].version
    else:
        uri = client.get_run(str(job.mlflow_run)).info.artifact_uri
        tags = {"stspark.run_id": run.run_id, "stspark.as_of": str(run.as_of)}
        version = client.create_model_version(name, source=uri, run_id=job.mlflow_run, tags=tags).version
    client.set_registered_model_alias(name, alias, version)
    if alias == "champion" and _alias_of(client, name, "challenger") == version:
        client.delete_registered_model_alias(name, "challenger")
    if reason:
        client.update_model_version(name, version, description=reason)


def _alias_of(client: Any, name: str, alias: str) -> str | None:
    """The version that has the alias."""
    found = client.get_registered_model(name).aliases.get(alias)
    return None if found is None else str(found)


def _ensure_registered(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
