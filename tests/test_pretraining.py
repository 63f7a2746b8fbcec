"""Pretraining restores hidden weeks, sees no more than it may, survives a kill; its checkpoint starts a transformer."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_job
from test_networks import Killed, keep_and_save
from test_stcnn import FIRST, cutoff, panel, trained

from stspark.errors import ConfigError
from stspark.models.deep.checkpoint import load_checkpoint, predict
from stspark.models.deep.families import simulated_families
from stspark.models.deep.pretrained import check_pretrained, encoders, read_manifest
from stspark.models.deep.pretraining import (
    PretrainConfig,
    hidden_days,
    make_corpus,
    make_task,
)
from stspark.models.deep.transformer import TransformerConfig
from stspark.pretraining.fit import Pretraining, pretrain
from stspark.training import loop, state
from stspark.training.plan import Launch, TrainingConfig

AS_OF = FIRST + timedelta(days=70)
CONFIG = PretrainConfig(weeks=8, epochs=3, steps=4, series=4, families=0)
CPU = torch.device("cpu")


def work(seed=3, config=CONFIG, as_of=AS_OF):
    corpora = [make_corpus("a", panel().known_on(as_of)), make_corpus("b", simulated_families(16, 200, as_of, seed))]
    return Pretraining(corpora, config, seed, as_of, f"key-{seed}")


def quiet(epoch, loss):
    pass


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    path = tmp_path_factory.mktemp("pretrained") / "tiny.safetensors"
    pretrain(work(config=replace(CONFIG, epochs=2, steps=40)), path, CPU, quiet)
    return path


def test_it_learns_to_restore_hidden_weeks(pretrained):
    loss = read_manifest(str(pretrained))["masked_loss"]
    assert loss["after"] < 0.9 * loss["before"]


def test_the_manifest_tells_what_it_was_made_of(pretrained):
    manifest = read_manifest(str(pretrained))
    assert [corpus["name"] for corpus in manifest["corpora"]] == ["a", "b"]
    assert manifest["corpora"][0]["data_version"] == "data-0"
    assert max(corpus["last"] for corpus in manifest["corpora"]) <= manifest["as_of"] == str(AS_OF)
    assert (manifest["size"], manifest["seed"]) == ("tiny", 3)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_of_a_hidden_day_is_shown(seed):
    """Other numbers on the hidden days change what is to be restored, and nothing that the network is given."""
    g, snapshot = np.random.default_rng(seed), simulated_families(4, 90, AS_OF, seed)
    scaler = make_corpus("x", snapshot).scaler
    hidden = hidden_days(g.random((10, 4)) < 0.4, 90)
    other = replace(snapshot, y=np.where(hidden, g.gamma(1.0, 500.0, hidden.shape), snapshot.y))
    first, second = (make_task(s, scaler, hidden, (10, False)) for s in (snapshot, other))
    torch.testing.assert_close(first.past, second.past, rtol=0, atol=0)
    assert not torch.equal(first.truth * first.asked, second.truth * second.asked)
    assert first.asked.sum() <= hidden.sum()


def test_the_last_week_ends_with_the_last_day():
    assert hidden_days(np.array([[False], [True]]), 10)[:, 0].tolist() == [False] * 3 + [True] * 7
    assert (
        hidden_days(np.array([[False], [True], [False]]), 17)[:, 0].tolist() == [False] * 3 + [True] * 7 + [False] * 7
    )


def test_families_are_their_seeds_and_of_many_kinds():
    first, again, other = (simulated_families(60, 400, AS_OF, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.y, other.y)
    assert np.isfinite(first.y).all()
    assert (first.y >= 0).all()
    idle = (first.y == 0).mean(axis=0)
    assert (idle > 0.15).any()
    assert (idle == 0).any()


@pytest.mark.parametrize("after", [1, 2])
def test_killed_after_any_epoch_it_ends_with_the_same_encoder(tmp_path, monkeypatch, after):
    monkeypatch.setattr(state, "SAVE_SECONDS", 0.0)
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    pretrain(work(), whole, CPU, quiet)
    epochs = []

    def killed(epoch, loss):
        epochs.append(epoch)
        if len(epochs) == after + 1:
            raise Killed

    with pytest.raises(Killed):
        pretrain(work(), broken, CPU, killed)
    pretrain(work(), broken, CPU, lambda epoch, loss: epochs.append(epoch))
    assert whole.read_bytes() == broken.read_bytes()
    assert len(epochs) == CONFIG.epochs + 1, "it began again from the start"


def test_a_finished_one_is_kept_and_another_key_is_another_training(tmp_path):
    path, told = tmp_path / "x.safetensors", []
    pretrain(work(), path, CPU, quiet)
    pretrain(work(), path, CPU, lambda *row: told.append(row))
    assert not told
    pretrain(work(seed=4), path, CPU, lambda *row: told.append(row))
    assert len(told) == CONFIG.epochs


def fine_tuned(path, **changes):
    network = TransformerConfig(weeks=8, embedding=2, dropout=0.0)
    options = {"epochs": 2, "head_epochs": 2, "fine_tune_epochs": 1, "name": "transformer", "network": network}
    return TrainingConfig(**options | {"pretrained": str(path)} | changes)


def test_the_head_learns_first_and_then_everything(tmp_path, pretrained):
    """With no epoch for everything the encoder is the pretrained one to the last bit; with one it is not."""
    made, now = panel(), cutoff(0)
    weights = []
    for epochs in (0, 1):
        folder = trained(tmp_path, made, [now], fine_tuned(pretrained, epochs=epochs), name=f"run-{epochs}")
        weights.append(encoders(load_checkpoint(folder, made, now)[0])[0].state_dict())
    from safetensors.torch import load_file

    original = load_file(pretrained)
    assert all(torch.equal(weights[0][name], value) for name, value in original.items())
    assert not all(torch.equal(weights[1][name], value) for name, value in original.items())


def test_a_fine_tuned_checkpoint_forecasts_what_the_network_in_memory_did(tmp_path, monkeypatch, pretrained):
    from stspark.models.deep.forecast import forecast

    made, kept = panel(), {}
    monkeypatch.setattr(loop, "save_checkpoint", keep_and_save(kept, loop.save_checkpoint))
    folder = trained(tmp_path, made, [cutoff(7), cutoff(0)], fine_tuned(pretrained))
    np.testing.assert_array_equal(forecast(kept["network"], made, kept["scaler"]), predict(folder, made, cutoff(0)))


TRIAL = {"patience": 2, "validation": 7}


@pytest.mark.parametrize(("after", "trial"), [*((k, {}) for k in (1, 3, 4, 5)), *((k, TRIAL) for k in (2, 4, 5, 7, 9))])
def test_a_fine_tuning_that_is_killed_goes_on_to_the_same_weights(tmp_path, monkeypatch, pretrained, after, trial):
    """Two epochs of the head, two of everything, with a trial all that twice, one for the second cutoff."""
    from test_stcnn import write

    from stspark.training import rank

    made, cutoffs = panel(), (cutoff(7), cutoff(0))
    config = fine_tuned(pretrained, **trial)
    whole = trained(tmp_path, made, cutoffs, config, name="whole")
    (tmp_path / "broken").mkdir()
    launch = Launch(write(made, tmp_path / "s"), str(tmp_path / "broken"), config, cutoffs)
    monkeypatch.setattr(state, "SAVE_SECONDS", 0.0)
    rows, add = [], rank.Report.add

    def count(self, row, samples):
        rows.append(row)
        if len(rows) == after:
            raise Killed
        add(self, row, samples)

    monkeypatch.setattr(rank.Report, "add", count)
    with pytest.raises(Killed):
        loop.train_rank(launch)
    loop.train_rank(replace(launch, start=launch.finished(made.manifest)))
    for day in cutoffs:
        first, second = (load_checkpoint(f, made, day)[0].state_dict() for f in (whole, launch.checkpoints))
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_from_the_back_tests_future_is_refused(tmp_path, pretrained):
    with pytest.raises(ConfigError, match=r"knows days up to .*run jobs/pretrain.py with --as-of"):
        trained(tmp_path, panel(), [AS_OF - timedelta(days=1)], fine_tuned(pretrained))


def damaged(path: Path, folder: Path, how: str) -> Path:
    copy = folder / "copy.safetensors"
    copy.write_bytes(path.read_bytes())
    manifest = json.loads(path.with_suffix(".json").read_text())
    if how == "no manifest":
        return copy
    if how == "another file":
        copy.write_bytes(path.read_bytes()[:-4])
    if how == "format":
        manifest["format"] = 99
    copy.with_suffix(".json").write_text(json.dumps(manifest))
    return copy


@pytest.mark.parametrize(("how", "message"), [
    pytest.param("no manifest", "is no pretrained checkpoint with its manifest", id="no manifest"),
    pytest.param("format", "is no manifest of format 1", id="another format"),
])  # fmt: skip
def test_a_checkpoint_that_is_none_is_named(tmp_path, pretrained, how, message):
    with pytest.raises(ConfigError, match=message):
        check_pretrained(str(damaged(pretrained, tmp_path, how)), "tiny", "models.transformer.pretrained")


def test_another_size_is_named(pretrained):
    with pytest.raises(ConfigError, match="holds size 'tiny', the config asks for 'small'"):
        check_pretrained(str(pretrained), "small", "models.transformer.pretrained")


def test_a_file_that_was_swapped_is_named(tmp_path, pretrained):
    with pytest.raises(ConfigError, match="is not the file that its manifest speaks of"):
        trained(tmp_path, panel(), [cutoff(0)], fine_tuned(damaged(pretrained, tmp_path, "another file")))


def test_series_that_do_not_vary_are_left_out():
    snapshot = simulated_families(4, 90, date(2024, 1, 1), 1)
    flat = replace(snapshot, y=np.ones_like(snapshot.y))
    assert make_corpus("flat", flat) is None
    mixed = replace(snapshot, y=np.where(np.arange(4) == 2, 5.0, snapshot.y + np.arange(90)[:, None]))
    assert make_corpus("mixed", mixed).snapshot.manifest.regions == ("family-0", "family-1", "family-3")


@pytest.mark.parametrize(("override", "message"), [
    pytest.param("models=[{name: seasonal_naive}, {name: transformer, pretrained: nowhere.safetensors}]",
                 "models.transformer.pretrained: nowhere.safetensors is no pretrained checkpoint", id="no file"),
    pytest.param("pretrain.also=[nowhere.yaml]", "pretrain.also: nowhere.yaml: config file does not exist", id="also"),
    pytest.param("models=[{name: seasonal_naive}, {name: gru, pretrained: x.safetensors}]",
                 "models.gru.pretrained: gru has no pretraining", id="another network"),
    pytest.param("models=[{name: seasonal_naive}, {name: transformer, pretrained: x.safetensors, warm_start: older}]",
                 "models.transformer.pretrained: stands beside warm_start", id="two beginnings"),
    pytest.param("pretrain={sizes: tiny}", "pretrain.sizes: unknown option; did you mean 'size'", id="option"),
])  # fmt: skip
def test_a_mistake_in_the_config_is_one_line(override, message):
    ran = run_job("train", "--config", "conf/rohlik_orders.yaml", "--set", override)
    assert ran.code == 2
    assert message in ran.errors[-1]


@pytest.mark.spark
@pytest.mark.slow
def test_the_job_leaves_a_checkpoint_and_keeps_it(small_run):
    options = "pretrain={weeks: 8, epochs: 1, steps: 3, families: 8, items: 5}"
    as_of = ("--as-of", "2025-04-30")
    ran = run_job("pretrain", *small_run.arguments, *as_of, "--set", options)
    assert ran.code == 0, ran.err
    path = small_run.home / "_pretrained/tiny-2025-04-30.safetensors"
    manifest = read_manifest(str(path))
    own, families = manifest["corpora"]
    assert (own["name"], own["last"], families["series"]) == ("small", "2025-04-30", 8)
    assert own["series"] > 6 * 4  # target, orders, users, … of six regions, categories, items
    again = run_job("pretrain", *small_run.arguments, *as_of, "--set", options)
    assert "(kept)" in again.out
