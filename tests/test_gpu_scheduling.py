"""Scheduling on GPU resources: a cluster whose discovery script names addresses of devices that do not exist."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_networks import small
from test_stcnn import cutoff, panel, write

from stspark.errors import EnvironmentMistake
from stspark.training.launch import find_failure
from stspark.training.loop import train_rank
from stspark.training.plan import Launch

ROOT = Path(__file__).resolve().parents[1]
TRAIN = """
import json, logging, sys
from datetime import date
from pyspark.sql import SparkSession
from stspark.training import train as training
from stspark.errors import EnvironmentMistake
from stspark.models.deep.stcnn import STCNNConfig
from stspark.training.plan import TrainingConfig

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
snapshot, out, discovery, day = sys.argv[1:]
settings = {
    "spark.worker.resource.gpu.amount": "1", "spark.worker.resource.gpu.discoveryScript": discovery,
    "spark.executor.resource.gpu.amount": "1", "spark.task.resource.gpu.amount": "1",
    "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.executor.memory": "512m",
}
builder = SparkSession.builder.master("local-cluster[2,1,512]")
for key, value in settings.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
for gpu in ("auto", "always"):
    network = STCNNConfig(channels=4, embedding=2)
    config = TrainingConfig(gpu=gpu, processes=2, epochs=1, network=network)
    try:
        result = training.train(spark, snapshot, f"{out}/{gpu}", config, [date.fromisoformat(day)])
        print("RESULT", json.dumps([gpu, result.barrier, result.device]))
    except EnvironmentMistake as error:
        print("RESULT", json.dumps([gpu, "mistake", str(error)]))
spark.stop()
"""


def a_launch(tmp_path, gpu):
    made = panel()
    (tmp_path / "run").mkdir()
    config = replace(small("stcnn", epochs=1), gpu=gpu)
    return Launch(write(made, tmp_path / "snapshot"), str(tmp_path / "run"), config, (cutoff(0),), cuda=True)


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def test_a_promised_gpu_that_is_not_there_is_an_error_under_always(tmp_path, no_device):
    launch = a_launch(tmp_path, "always")
    with pytest.raises(EnvironmentMistake, match=r"training.gpu: is 'always', but rank 0 on \S+ sees no CUDA device"):
        train_rank(launch)
    mistake = find_failure(launch.errors).mistake
    assert mistake is not None
    assert "mend its driver or discovery script, or set it to auto" in str(mistake)


def test_and_under_auto_the_training_goes_on_without_it(tmp_path, no_device):
    launch = a_launch(tmp_path, "auto")
    train_rank(launch)
    first = json.loads(launch.progress.read_text().splitlines()[0])
    assert (first["device"], first["gpu_missing"]) == ("cpu", True)


@pytest.mark.cluster
@pytest.mark.slow
def test_ranks_are_scheduled_on_the_addresses_that_the_discovery_script_names(tmp_path):
    made = panel()
    discovery = tmp_path / "discover.sh"
    discovery.write_text("""#!/bin/sh\necho '{"name": "gpu", "addresses": ["7"]}'\n""")
    discovery.chmod(0o755)
    (tmp_path / "train.py").write_text(TRAIN)
    arguments = [write(made, tmp_path / "snapshot"), str(tmp_path), str(discovery), cutoff(0).isoformat()]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "train.py"), *arguments],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert results[0] == ["auto", True, "cpu"]
    assert "Spark gave out GPUs, but a rank sees no CUDA device: all train on CPU" in done.stdout
    assert results[1][:2] == ["always", "mistake"]
    assert "sees no CUDA device (given: 7)" in results[1][2]
