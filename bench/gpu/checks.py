"""Whether the networks are right on a GPU: against the CPU, in bf16, through their files, killed, and in two ranks."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.distributed as dist

from bench.gpu.panels import HORIZON, line_panel
from bench.gpu.pretraining import AS_OF, corpus
from bench.networks import config as training_config
from bench.pretraining import write
from stspark.models.deep.checkpoint import load_checkpoint, predict, read_facts
from stspark.models.deep.forecast import at_last_origin
from stspark.models.deep.pretraining import PretrainConfig
from stspark.models.deep.registry import NETWORKS
from stspark.models.deep.windows import make_inputs
from stspark.pretraining.fit import Pretraining, pretrain
from stspark.snapshot import Snapshot
from stspark.training import rank, state
from stspark.training.loop import train_rank
from stspark.training.plan import Launch

Row = dict[str, Any]
REGIONS, DAYS = 24, 260


class Killed(BaseException):
    """Stands for a signal."""


class Checks:
    """A small panel in `home`, and trainings on it by the package's own ranks."""

    def __init__(self, home: Path, cuda: bool, short: bool) -> None:
        self.home, self.cuda, self.epochs = home, cuda, 2 if short else 6
        self.whole = line_panel(REGIONS, DAYS, seed=7)
        self.path = write(self.whole, home / "panel")
        self.cutoff = self.whole.manifest.day(DAYS - 1 - HORIZON)
        self.known = self.whole.known_on(self.cutoff)

    def launch(self, label: str, options: Row, cuda: bool) -> Launch:
        """One cutoff, a week before the end."""
        folder = self.home / label
        (folder / "checkpoints").mkdir(parents=True)
        config = training_config({"epochs": self.epochs} | options)
        return Launch(self.path, str(folder), config, (self.cutoff,), cuda=cuda)

    def train(self, label: str, options: Row, cuda: bool) -> tuple[Launch, float]:
        """The launch and its last loss."""
        launch = self.launch(label, options, cuda)
        train_rank(launch)
        return launch, float(read_facts(launch.checkpoints, self.cutoff)["loss"])

    def wape(self, values: Any) -> float:
        """Of the median, over the week after the cutoff."""
        y, seen = self.whole.y[-HORIZON:].T, self.whole.observed[-HORIZON:].T
        return float(np.abs(y - values[..., 0])[seen].sum() / y[seen].sum())

    def against_cpu(self, name: str) -> Row:
        """Loss and forecasts in fp32 beside the CPU's, WAPE of bf16 and compiled beside fp32; without dropout, which
        draws other numbers on each device."""
        ways: dict[str, tuple[bool, Row]] = {"cpu": (False, {}), "fp32": (self.cuda, {"precision": "fp32"})}
        ways |= {"bf16": (self.cuda, {}), "compiled": (self.cuda, {"compile": True, "precision": "fp32"})}
        if name not in ("stcnn", "transformer") or not self.cuda:
            del ways["compiled"]
        row: Row = {"check": f"{name} against CPU"}
        base = None
        for way, (cuda, options) in ways.items():
            began = time.perf_counter()
            launch, loss = self.train(f"{name}-{way}", options | {"name": name, "dropout": 0.0, "seeds": 1}, cuda)
            values = predict(launch.checkpoints, self.known, self.cutoff)
            base = values if base is None else base
            far = float(np.abs(values - base)[..., 0].sum() / np.abs(base[..., 0]).sum())
            row |= {f"loss_{way}": loss, f"wape_{way}": self.wape(values), f"forecasts_apart_{way}": far}
            row[f"seconds_{way}"] = time.perf_counter() - began
            if way == "fp32" and self.cuda:
                row["checkpoint_on_cpu_apart"] = self._scored_apart(launch)
        return row

    def _scored_apart(self, launch: Launch) -> float:
        """Largest difference, in spreads, between a checkpoint's forecasts made on the GPU and on the CPU."""
        network, scaler = load_checkpoint(launch.checkpoints, self.known, self.cutoff)
        inputs = make_inputs(self.known, scaler)
        here = at_last_origin(network, inputs)
        device = torch.device("cuda")
        return float((at_last_origin(network.to(device), inputs.to(device)).cpu() - here).abs().max())

    def killed(self, name: str, **options: Any) -> Row:
        """Unbroken twice, and killed after each of three epochs and gone on with: the weights' largest difference."""
        chosen = {"name": name, "epochs": 6, "patience": 3, "validation": 14, "fine_tune_epochs": 2} | options
        first, _ = self.train(f"{name}-unbroken", chosen, self.cuda)
        second, _ = self.train(f"{name}-again", chosen, self.cuda)
        add = rank.Report.add
        row: Row = {"check": f"{name} killed", "again_apart": self._weights_apart(first, second)}
        for after in (2, 5, 7):
            launch, seen = self.launch(f"{name}-killed-{after}", chosen, self.cuda), [0]

            def count(report: Any, fields: Row, samples: int, at: int = after, seen: list[int] = seen) -> None:
                seen[0] += 1
                if seen[0] == at:
                    raise Killed
                add(report, fields, samples)

            with patch.object(state, "SAVE_SECONDS", 0.0), patch.object(rank.Report, "add", count):
                try:
                    train_rank(launch)
                except Killed:
                    train_rank(launch)
            row[f"killed_in_epoch_{after}_apart"] = self._weights_apart(first, launch)
            row[f"killed_in_epoch_{after}_epochs"] = seen[0]
        return row

    def _weights_apart(self, *launches: Launch) -> float:
        a, b = (load_checkpoint(it.checkpoints, self.known, self.cutoff)[0].state_dict() for it in launches)
        return max(float((a[name] - b[name]).abs().max()) for name in a)

    def stops_early(self) -> Row:
        """A high rate on noise: both devices stop before their epochs are over."""
        g = np.random.default_rng(0)
        noise = replace(self.whole, y=g.poisson(20.0, self.whole.y.shape).astype(float))
        row: Row = {"check": "early stop"}
        for way, cuda in (("cpu", False), ("gpu", self.cuda)):
            options = {"name": "stcnn", "seeds": 1, "epochs": 60, "patience": 3, "learning_rate": 3e-2}
            launch = replace(self.launch(f"early-{way}", options, cuda), snapshot_path=self._written(noise, way))
            train_rank(launch)
            row[f"epochs_{way}"] = len(launch.progress.read_text().splitlines()) - 1
        return row

    def _written(self, snapshot: Snapshot, way: str) -> str:
        return write(snapshot, self.home / f"noise-{way}")

    def ranks(self) -> Row:
        """torchrun with one rank, and with two that share the GPU (gradients by gloo), beside this process alone."""
        options = {"name": "stcnn", "seeds": 1, "dropout": 0.0, "precision": "fp32"}
        _, alone = self.train("ranks-alone", options, self.cuda)
        row: Row = {"check": "ranks", "loss_alone": alone}
        for count in (1, 2):
            launch = self.launch(f"ranks-{count}", options, self.cuda)
            began = time.perf_counter()
            said = _torchrun(count, ["--rank", _pickled(launch)])
            lines = launch.progress.read_text().splitlines() if launch.progress.exists() else []
            if said.returncode or not lines:
                row[f"failed_{count}"] = (said.stderr or said.stdout)[-600:]
                continue
            row[f"loss_{count}"] = float(read_facts(launch.checkpoints, self.cutoff)["loss"])
            row |= {f"seconds_{count}": time.perf_counter() - began, f"device_{count}": json.loads(lines[0])["device"]}
            row[f"gradients_{count}"] = next((x for x in said.stdout.split() if x.startswith("gradients=")), "none")
        return row

    def nccl(self) -> Row:
        """One process, nccl of one rank: DDP's gradients are those without it."""
        said = _torchrun(1, ["--nccl"])
        return {"check": "nccl", "said": (said.stdout + said.stderr[-500:] * (said.returncode != 0)).strip()}

    def pretraining(self) -> Row:
        """tiny, killed after the first epoch and gone on with, beside unbroken, and beside the CPU."""
        config = PretrainConfig(epochs=3, steps=10, series=32, dropout=0.0)
        work, row = Pretraining(corpus(64), config, 1, AS_OF, "checks"), Row(check="pretraining")
        devices = {"cpu": torch.device("cpu"), "gpu": torch.device("cuda" if self.cuda else "cpu")}
        for way, device in devices.items():
            facts = pretrain(work, self.home / f"{way}.safetensors", device, lambda epoch, loss: None)
            row[f"masked_loss_{way}"] = facts["masked_loss"]

        def kill(epoch: int, loss: float) -> None:
            if epoch == 2:
                raise Killed

        broken = self.home / "broken.safetensors"
        with patch.object(state, "SAVE_SECONDS", 0.0):
            try:
                pretrain(work, broken, devices["gpu"], kill)
            except Killed:
                pretrain(work, broken, devices["gpu"], lambda epoch, loss: None)
        row["killed_is_bitwise_equal"] = broken.read_bytes() == (self.home / "gpu.safetensors").read_bytes()
        options = {"name": "transformer", "pretrained": str(self.home / "gpu.safetensors"), "head_epochs": 2}
        early = {"epochs": 2, "seeds": 1}
        row["fine_tuned_loss"] = self._fine_tuned(options | early)
        return row

    def _fine_tuned(self, options: Row) -> Any:
        try:
            return self.train("fine-tuned", options, self.cuda)[1]
        except Exception as error:  # noqa: BLE001 - a word in the row
            return repr(error)

    def all(self) -> list[Row]:
        """Every check that the device allows; one that fails is a row that says so."""
        wanted: list[Callable[[], Row]] = [lambda name=name: self.against_cpu(name) for name in NETWORKS]  # type: ignore[misc]
        wanted += [lambda: self.killed("stcnn"), lambda: self.killed("gru"), lambda: self.killed("transformer")]
        wanted += [self.stops_early, self.pretraining, self.ranks, *([self.nccl] if self.cuda else [])]
        rows = []
        for check in wanted:
            began = time.perf_counter()
            try:
                row = check()
            except Exception as error:  # noqa: BLE001 - a row that says so; the others go on
                row = {"check": getattr(check, "__name__", "check"), "failed": repr(error)[:600]}
            rows.append(row | {"seconds": round(time.perf_counter() - began, 1)})
            print(json.dumps({key: _short(value) for key, value in rows[-1].items()}), flush=True)
        return rows


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _pickled(launch: Launch) -> str:
    file = Path(launch.out) / "launch.pickle"
    file.write_bytes(pickle.dumps(launch))
    return str(file)


def _torchrun(count: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command += ["--no-python", sys.executable, "-m", "bench.gpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def as_rank(file: str) -> None:
    """What torchrun starts."""
    launch = pickle.loads(Path(file).read_bytes())
    join = rank.join

    def told(launch: Launch) -> rank.Rank:
        found = join(launch)
        if found.world > 1 and found.index == 0:
            print(f"gradients={dist.get_backend(found.gradients)}", flush=True)
        return found

    with patch("stspark.training.loop.join", told):
        train_rank(launch)


def as_nccl() -> None:
    """What torchrun starts for nccl: one rank."""
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    dist.init_process_group("gloo")
    group: Any = dist.new_group(backend="nccl")
    torch.manual_seed(0)
    plain = torch.nn.Linear(64, 64).to(device)
    x = torch.randn(128, 64, device=device)
    plain(x).square().mean().backward()
    expected = plain.weight.grad
    assert expected is not None
    expected = expected.clone()
    plain.zero_grad()
    torch.nn.parallel.DistributedDataParallel(plain, process_group=group)(x).square().mean().backward()
    total = torch.ones(4, device=device)
    dist.all_reduce(total, group=group)
    assert plain.weight.grad is not None
    apart = float((plain.weight.grad - expected).abs().max())
    print(f"backend={dist.get_backend(group)} gradients_apart={apart} all_reduce={total.tolist()}")
    dist.destroy_process_group()
