"""Networks that see the regions in parts: what is read, what is learned, what a part knows of the others."""

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_networks import Killed, small
from test_stcnn import DAYS, FIRST, REGIONS, a_network, cutoff, noiseless, panel, trained, write

from stspark.errors import ConfigError
from stspark.models.deep.checkpoint import load_checkpoint, predict, trained_parts
from stspark.models.deep.windows import fit_scaler, make_inputs
from stspark.options import typed
from stspark.snapshot import WHOLE, cut, load_manifest, load_snapshot, weights_of
from stspark.training import rank, state
from stspark.training.fit import Batches, Fit, rising_and_falling
from stspark.training.loop import train_rank
from stspark.training.parts import Panel, Regions
from stspark.training.plan import Launch, TrainingConfig
from stspark.training.rank import Rank

CPU = torch.device("cpu")
HALVES = (slice(0, 2), slice(2, 4))


@pytest.mark.parametrize(("regions", "most", "sizes"), [
    pytest.param(10, 0, None, id="any number at once"),
    pytest.param(10, 10, None, id="they fit"),
    pytest.param(10, 9, [5, 5], id="one more than fits"),
    pytest.param(10, 4, [3, 3, 4], id="three parts"),
    pytest.param(3, 1, [1, 1, 1], id="one by one"),
])  # fmt: skip
def test_the_regions_are_cut_into_equal_parts(regions, most, sizes):
    parts = cut(regions, most)
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
    one = Panel(Regions(path, manifest, [WHOLE]), now, CPU, "seasonal_mean")
    two = Panel(Regions(path, manifest, list(HALVES)), now, CPU, "seasonal_mean")
    expected = fit_scaler(load_snapshot(path).known_on(now))
    assert one.scaler.to_dict() == expected.to_dict()
    for name in ("scale", "spread", "shift", "width"):
        np.testing.assert_allclose(getattr(two.scaler, name), getattr(expected, name), rtol=1e-12, err_msg=name)
    inputs = make_inputs(load_snapshot(path).known_on(now), expected)
    for number, part in enumerate(HALVES):
        share = two.share(number)
        torch.testing.assert_close(share.inputs.past, inputs.past[..., part])
        torch.testing.assert_close(share.inputs.known, inputs.known[:, part])
        assert share.place.tolist() == list(range(part.start, part.stop))
    assert two.unseen([1]).tolist() == [True, True, False, False]
    assert one.unseen([0]) is None


@pytest.mark.parametrize("name", ["stcnn", "gru", "transformer"])
def test_it_learns_the_promotion_in_parts_as_well(tmp_path, name):
    """Demand without noise: weights are learned from all parts, each region's own rows from its part."""
    exact, truth = noiseless(panel())
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


def test_a_newcomer_takes_its_rows_from_neighbours_of_other_parts_too(tmp_path):
    """C starts on day 60; its neighbours are B, of the other part, and D."""
    made = panel()
    day = FIRST + timedelta(days=50)
    folder = trained(tmp_path, made, [day], parted("stcnn", seeds=1))
    network = load_checkpoint(folder, made, day)[0].members[0]
    rows = network.region()
    torch.testing.assert_close(rows[2], (rows[1] + rows[3]) / 2)


def test_a_step_moves_the_rows_of_the_regions_that_it_looks_at(tmp_path):
    """With momentum and decay of weights AdamW would move all of them."""
    made = panel()
    fit = Fit(Panel(Regions(write(made, tmp_path / "s"), made.manifest, list(HALVES)), cutoff(0), CPU, "seasonal_mean"),
              parted("stcnn", weight_decay=0.5), Rank(0, 1, CPU), (0, 1))  # fmt: skip
    network = a_network(made, "stcnn", seeds=1)
    by = rising_and_falling(network, 1e-2, 0.5, 100)
    rows = network.members[0].region.rows
    for parts in ((0,), (1,), (1,), (0,)):
        before, common = rows.detach().clone(), network.members[0].enter.weight.detach().clone()
        fit._epoch(network, network, Batches(np.array([[20, 40], [30, 50]]), 10, 0, (parts,)), by)
        moved = (rows.detach() != before).any(dim=1)
        assert moved.tolist() == [parts == (0,)] * 2 + [parts == (1,)] * 2
        assert not torch.equal(common, network.members[0].enter.weight)


@pytest.mark.parametrize(("parts", "world", "seen"), [
    pytest.param(4, 2, [[0, 2], [1, 3]], id="each its own"),
    pytest.param(3, 2, [[0, 2], [1, 0]], id="the last round takes the first one again"),
    pytest.param(2, 3, [[0, 1], [0, 1], [0, 1]], id="fewer parts than ranks: all look at each, and share its windows"),
    pytest.param(1, 2, [[0], [0]], id="one part"),
])  # fmt: skip
def test_which_parts_a_rank_looks_at(parts, world, seen):
    fits = [Fit(SimpleNamespace(parts=parts), TrainingConfig(), Rank(k, world, CPU), (0, 1)) for k in range(world)]
    rounds = [[fit._mine(together) for together in fit._together(np.arange(parts))] for fit in fits]
    assert rounds == seen
    alone = parts > 1 and parts >= world
    assert [fit._sharing for fit in fits] == [(0, 1) if alone else (k, world) for k in range(world)]


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


def test_a_part_of_new_regions_only_begins_with_the_mean_of_those_known(tmp_path):
    """Yesterday's run knew A and B, today there is another country with C and D: D's neighbours are unknown too."""
    made = panel()
    both = {name: getattr(made, name)[:, :2] for name in ("y", "observed", "alive", "covariates")}
    manifest = made.manifest.of(slice(0, 2))
    older = trained(tmp_path, replace(made, manifest=manifest, weights=weights_of(manifest), **both), [cutoff(14)],
                    small("stcnn", seeds=1), name="older")  # fmt: skip
    apart = replace(made, manifest=replace(made.manifest, edges=((0, 1, 1.0), (1, 0, 1.0), (2, 3, 1.0), (3, 2, 1.0))))
    for epochs in (0, 1):
        config = parted("stcnn", seeds=1, fine_tune_epochs=epochs, warm_start=str(older))
        folder = trained(tmp_path, apart, [cutoff(7)], config, name=f"today-{epochs}")
        rows = load_checkpoint(folder, apart, cutoff(7))[0].members[0].region()
        assert rows.isfinite().all()
        if epochs == 0:
            torch.testing.assert_close(rows[2:], rows[:2].mean(0).expand(2, -1))


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
