"""A local run that `make run` has left and that is this very run: config, data, as-of and code."""

from datetime import UTC, datetime
from pathlib import Path

import yaml
from pipeline_run import PipelineRun, read_delta
from place import ROOT, say


def find_local_run(config: str, ours: PipelineRun) -> PipelineRun | None:
    """Return the newest run of the config's own warehouse if it has the cluster run's id and is newer than the code.

    A run that trained on a GPU does not count: the cluster's workers have none.
    """
    raw = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    tables = Path(raw.get("warehouse", "warehouse")) / ours.tables.name
    if not (tables / "runs" / "_delta_log").is_dir():
        return None
    runs = read_delta(tables / "runs").sort_values("started")
    found = PipelineRun(tables, runs.iloc[-1].to_dict(), fresh=False)
    if found.run_id != ours.run_id or found.row["status"] != "ok" or found.row["started"] < _code_changed():
        return None
    models = found.read("models")
    if models["parameters"].str.contains('"device": "cuda"', na=False).any():
        return None
    say(f"local: run {found.run_id} in {tables.parent} is the same and newer than the code; compared with it")
    return found


def _code_changed() -> datetime:
    files = [*ROOT.glob("stspark/**/*.py"), *ROOT.glob("jobs/*.py")]
    return datetime.fromtimestamp(max(file.stat().st_mtime for file in files), UTC)
