"""Networks that see the regions in parts: what is read, what is learned, what a part knows of the others."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
from test_networks import Killed, small
from test_stcnn import DAYS, FIRST, HORIZON, REGIONS, cutoff, panel, trained, write

from stspark.errors import ConfigError
from stspark.models.deep.checkpoint import load_checkpoint, predict, trained_parts
from stspark.models.deep.windows import fit_scaler, make_inputs
from stspark.options import typed
from stspark.snapshot import WHOLE, cut, load_manifest, load_snapshot
from stspark.training import rank, state
from stspark.training.loop import train_rank
from stspark.training.parts import Panel, Regions
from stspark.training.plan import Launch, TrainingConfig

CPU = torch.device("cpu")
HALVES = (slice(0, 2), slice(2, 4))


@pytest.mark.parametrize(("regions", "most", "ranks", "sizes"), [
    pytest.param(10, 0, 2, None, id="any number at once"),
    pytest.param(10, 10, 2, None, id="they fit"),
    pytest.param(10, 9, 1, [5, 5], id="one more than fits"),
    pytest.param(10, 4, 2, [2, 3, 2, 3], id="two for each rank"),
    pytest.param(3, 1, 2, [1, 2], id="too few regions for two each"),
    pytest.param(3, 1, 4, None, id="fewer regions than ranks"),
])  # fmt: skip
def test_the_regions_are_cut_into_equal_parts_as_many_for_each_rank(regions, most, ranks, sizes):
    parts = cut(regions, most, ranks)
    if sizes is None:
        assert parts == [WHOLE]
        return
    assert [part.stop - part.start for part in parts] == sizes
    assert np.concatenate([np.arange(regions)[part] for part in parts]).tolist() == list(range(regions))


def test_a_part_is_read_as_it_lies_in_the_whole(tmp_path):
    """C and D: their rows of every array; B, their neighbour in the other half, is as if it were not there."""
    made = panel()
    path = write(made, tmp_path / "s")
    whole, part = load_snapshot(path), load_snapshot(path, HALVES[1])
    assert part.manifest.regions == whole.manifest.regions[2:]
    for name in ("y", "observed", "alive", "covariates"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:, 2:], err_msg=name)
    inside = whole.weights[2:, 2:]
    total = inside.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(part.weights, inside / np.where(total > 0, total, 1.0))
    assert load_snapshot(path, WHOLE).manifest == load_manifest(path)


def test_parts_are_scaled_as_the_whole_is(tmp_path):
    path = write(panel(), tmp_path / "s")
    manifest, now = load_manifest(path), cutoff(7)
    one = Panel(Regions(path, manifest, [WHOLE]), now, CPU)
    two = Panel(Regions(path, manifest, list(HALVES)), now, CPU)
    expected = fit_scaler(load_snapshot(path).known_on(now))
    assert one.scaler.to_dict() == expected.to_dict()
    for name in ("scale", "spread", "shift", "width"):
        np.testing.assert_allclose(getattr(two.scaler, name), getattr(expected, name), rtol=1e-12, err_msg=name)
    inputs = make_inputs(load_snapshot(path).known_on(now), expected)
    for number, part in enumerate(HALVES):
        share = two.share(number)
        torch.testing.assert_close(share.inputs.past, inputs.past[..., part])
        torch.testing.assert_close(share.inputs.known, inputs.known[:, part])
        assert share.part == part


@pytest.mark.parametrize("name", ["stcnn", "gru", "transformer"])
def test_it_learns_the_promotion_in_parts_as_well(tmp_path, name):
    """Demand without noise: weights are learned from all parts, each region's own rows from its part."""
    made = panel()
    t = np.arange(DAYS + HORIZON)
    week = 1 + 0.4 * np.sin(2 * np.pi * t / 7)
    truth = np.array([5.0, 20.0, 40.0, 80.0]) * week[:, None] * (1 + made.covariates[:, :, 0])
    exact = replace(made, y=np.where(made.alive, truth[:DAYS], 0.0))
    folder = trained(tmp_path, exact, [cutoff(0)], parted(name, epochs=60, learning_rate=1e-2))
    values = of_parts(tmp_path / "run-snapshot", folder, cutoff(0))[..., 0]
    assert np.abs(values - truth[DAYS:].T).sum() / truth[DAYS:].sum() < 0.1


def parted(name, **changes):
    return small(name, **{"regions_at_once": 2, "processes": 1} | changes)


def of_parts(path, folder, day):
    """[R, H, 1 + Q], each part's forecasts from its own snapshot, as the executors make them."""
    parts = trained_parts(folder, day)
    assert parts == list(HALVES)
    return np.concatenate([predict(folder, load_snapshot(str(path), part), day) for part in parts])


def test_a_part_knows_nothing_of_the_others_but_by_the_weights(tmp_path):
    """A checkpoint's forecasts for A and B do not change when the past of C and D does."""
    made = panel()
    folder = trained(tmp_path, made, [cutoff(0)], parted("stcnn"))
    other = replace(made, y=made.y.copy())
    other.y[-30:, 2:] *= 9.0
    changed = of_parts(write(other, tmp_path / "other"), folder, cutoff(0))
    same = of_parts(tmp_path / "run-snapshot", folder, cutoff(0))
    np.testing.assert_array_equal(changed[:2], same[:2])
    assert not np.array_equal(changed[2:], same[2:])


def test_the_first_checkpoint_of_parts_has_a_newcomers_rows_from_its_own_part(tmp_path):
    """C starts on day 60: within its part D is all it can learn from."""
    made = panel()
    day = FIRST + timedelta(days=50)
    folder = trained(tmp_path, made, [day], parted("stcnn", seeds=1))
    network = load_checkpoint(folder, made, day)[0].members[0]
    rows = network.region()
    torch.testing.assert_close(rows[2], rows[3])
    assert not torch.equal(rows[0], rows[1])


@pytest.mark.parametrize("after", [2, 5, 7])
def test_killed_it_goes_on_to_the_same_weights(tmp_path, monkeypatch, after):
    made, cutoffs = panel(), (cutoff(7), cutoff(0))
    config = parted("stcnn", epochs=4, patience=3, validation=7)
    whole = trained(tmp_path, made, cutoffs, config, name="whole")
    path = write(made, tmp_path / "broken-snapshot")
    (tmp_path / "broken").mkdir()
    launch = Launch(path, str(tmp_path / "broken"), config, cutoffs)
    monkeypatch.setattr(state, "SAVE_SECONDS", 0.0)
    add, told = rank.Report.add, []

    def count(self, row, samples):
        told.append(samples)
        if len(told) == after:
            raise Killed
        add(self, row, samples)

    monkeypatch.setattr(rank.Report, "add", count)
    with pytest.raises(Killed):
        train_rank(launch)
    train_rank(replace(launch, start=launch.finished(made.manifest)))
    assert all(samples % REGIONS == 0 for samples in told)
    for day in cutoffs:
        first, second = (load_checkpoint(f, made, day)[0].state_dict() for f in (whole, launch.checkpoints))
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_goes_on_from_yesterdays_weights_in_parts(tmp_path):
    made = panel()
    older = trained(tmp_path, made, [cutoff(14)], small("stcnn"), name="older")
    config = parted("stcnn", fine_tune_epochs=0, warm_start=str(older))
    first = load_checkpoint(older, made, cutoff(14))[0].state_dict()
    second = load_checkpoint(trained(tmp_path, made, [cutoff(7)], config), made, cutoff(7))[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_number_below_zero_is_a_mistake():
    with pytest.raises(ConfigError, match=r"models.gru.regions_at_once: Input should be greater than or equal to 0"):
        typed(TrainingConfig, {"regions_at_once": -1}, "models.gru")


def test_a_checkpoint_that_tells_of_no_parts_saw_all_at_once(tmp_path):
    file = tmp_path / f"{FIRST}.json"
    file.write_text(json.dumps({"regions": ["A", "B"]}))
    assert trained_parts(tmp_path, FIRST) == [WHOLE]
    file.write_text(json.dumps({"regions": ["A", "B"], "parts": 2}))
    assert trained_parts(tmp_path, FIRST) == [slice(0, 1), slice(1, 2)]
