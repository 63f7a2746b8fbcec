"""What every global network must do: overfit a tiny panel, see no leak, survive its files and a kill."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
from test_stcnn import DAYS, FIRST, HORIZON, QUANTILES, REGIONS, a_network, cutoff, noiseless, panel, trained, write

from stspark.errors import ConfigError
from stspark.models.deep.checkpoint import load_checkpoint, predict
from stspark.models.deep.forecast import forecast
from stspark.models.deep.network import Shape, by_region
from stspark.models.deep.newcomers import settle_newcomers
from stspark.models.deep.registry import NETWORKS, build_ensemble, network_config
from stspark.models.deep.stcnn import STCNN, STCNNConfig
from stspark.models.deep.transformer import SIZES, Transformer, TransformerConfig
from stspark.models.deep.windows import fit_scaler, known_width, make_inputs, past_width, taught
from stspark.names import GLOBAL_MODELS
from stspark.training import fit, loop, rank, state
from stspark.training.loop import train_rank
from stspark.training.plan import Launch, TrainingConfig

SMALL = {
    "stcnn": STCNNConfig(channels=8, embedding=2),
    **{name: NETWORKS[name].config(channels=8) for name in ("stcnn_plain", "lstm", "gru")},
    "transformer": TransformerConfig(weeks=4, embedding=2),
}


def small(name, **changes):
    return TrainingConfig(**{"epochs": 8, "fine_tune_epochs": 2, "name": name, "network": SMALL[name]} | changes)


def test_every_network_has_its_name_in_the_list_of_global_models():
    assert set(NETWORKS) <= set(GLOBAL_MODELS)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_overfits_a_tiny_panel(tmp_path, name):
    """Demand without noise, in which the promotion doubles: a network must learn it nearly by heart."""
    exact, truth = noiseless(panel())
    folder = trained(tmp_path, exact, [cutoff(0)], small(name, epochs=80, learning_rate=1e-2))
    values = predict(folder, exact, cutoff(0))[..., 0]
    assert np.abs(values - truth[DAYS:].T).sum() / truth[DAYS:].sum() < 0.1


LEFT_OUT = [{"nodes": 0}, {"embedding": 0}, {"neighbours": False}, {"fusion": False}, {"covariates": False},
            {"nodes": 0, "embedding": 0, "neighbours": False, "fusion": False, "covariates": False}]  # fmt: skip


@pytest.mark.parametrize("network", [*SMALL.values(), *(STCNNConfig(channels=8, **less) for less in LEFT_OUT)],
                         ids=[*SMALL, *("without " + ", ".join(less) for less in LEFT_OUT)])  # fmt: skip
def test_every_parameter_takes_part(network):
    """Or ranks that train together would wait for its gradient for ever."""
    made = panel()
    name = next(name for name in NETWORKS if isinstance(network, NETWORKS[name].config))
    ensemble = build_ensemble(name, network, 2, made.manifest, made.weights)
    inputs = make_inputs(made, fit_scaler(made))
    past, known, base = (part[None] for part in inputs.window(80, 4, ensemble.context))
    ensemble(past, known, base).square().sum().backward()
    assert [n for n, parameter in ensemble.named_parameters() if parameter.grad is None] == []


def test_an_stcnn_without_a_block_is_refused():
    with pytest.raises(ConfigError, match=r"models.stcnn.dilations: .*at least 1"):
        network_config("stcnn", {"dilations": []}, "models.stcnn")


@pytest.mark.parametrize("days", [61, 75, 100, 119])
def test_the_rate_has_fallen_to_nothing_with_the_last_step(tmp_path, monkeypatch, days):
    """Epochs differ in their steps, for windows are cut anew in each."""
    made, taken, told = panel().known_on(FIRST + timedelta(days=days)), [], []
    monkeypatch.setattr(fit, "share_of_rate", lambda step, total: taken.append(step) or told.append(total) or 1.0)
    trained(tmp_path, made, [made.manifest.day(days)], small("stcnn_plain", batch=1, window=9))
    assert max(taken) == told[0]
    assert len(set(told)) == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_future_does_not_reach_an_earlier_forecast(tmp_path, name):
    made, now = panel(), cutoff(14)
    scrambled = replace(made, y=made.y.copy(), observed=made.observed.copy())
    scrambled.y[-14:] = np.random.default_rng(9).gamma(1.0, 500.0, size=(14, REGIONS))
    scrambled.observed[-14:] = ~scrambled.observed[-14:]
    config = small(name, epochs=2, fine_tune_epochs=1, patience=1, validation=7)
    forecasts = [
        predict(trained(tmp_path, snapshot, [now, cutoff(0)], config, name=which), snapshot, now)
        for which, snapshot in (("as-is", made), ("scrambled", scrambled))
    ]
    np.testing.assert_array_equal(*forecasts)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_forecasts_what_the_network_in_memory_did(tmp_path, monkeypatch, name):
    made, kept = panel(), {}
    monkeypatch.setattr(loop, "save_checkpoint", keep_and_save(kept, loop.save_checkpoint))
    folder = trained(tmp_path, made, [cutoff(0)], small(name, seeds=2))
    network, scaler = kept["network"], kept["scaler"]
    np.testing.assert_array_equal(forecast(network, made, scaler), predict(folder, made, cutoff(0)))


def keep_and_save(kept, save):
    def saved(file, network, scaler, *rest):
        kept.update(network=network, scaler=scaler)
        save(file, network, scaler, *rest)

    return saved


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


@pytest.mark.parametrize("after", [1, 4, 6, 8, 10, 12, 13])
def test_killed_after_any_epoch_it_ends_with_the_same_weights(tmp_path, monkeypatch, after):
    """A trial of at most six epochs, as many on all days as it says, then at most two for the later cutoff."""
    made, cutoffs = panel(), (cutoff(7), cutoff(0))
    config = small("stcnn", epochs=6, patience=3, validation=7, seeds=2)
    whole = trained(tmp_path, made, cutoffs, config, name="whole")
    path = write(made, tmp_path / "broken-snapshot")
    (tmp_path / "broken").mkdir()
    launch = Launch(path, str(tmp_path / "broken"), config, cutoffs)
    monkeypatch.setattr(state, "SAVE_SECONDS", 0.0)
    epochs = []
    add = rank.Report.add

    def count(self, row, samples):
        epochs.append(row)
        if len(epochs) == after:
            raise Killed
        add(self, row, samples)

    monkeypatch.setattr(rank.Report, "add", count)
    try:
        train_rank(launch)
    except Killed:
        train_rank(replace(launch, start=launch.finished(made.manifest)))
        assert len(epochs) <= 14, "it began again from the start"
    assert not launch.state.exists()
    for day in cutoffs:
        first, second = (load_checkpoint(f, made, day)[0].state_dict() for f in (whole, launch.checkpoints))
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_stops_when_held_out_days_gain_nothing(tmp_path):
    made = panel()
    noise = replace(made, y=np.random.default_rng(0).poisson(20.0, made.y.shape) * made.alive * 1.0)
    config = small("stcnn", epochs=60, patience=3, validation=14, learning_rate=3e-2)
    trained(tmp_path, noise, [cutoff(0)], config)
    rows = [json.loads(line) for line in (tmp_path / "run" / "progress.jsonl").read_text().splitlines()]
    trial = [row for row in rows if row.get("epochs") == 60]
    assert len(trial) < 30
    assert rows[-1]["epochs"] == len(trial) - 3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("build", "config"), [
    pytest.param(STCNN, STCNNConfig(channels=8, across=1, dropout=0.0), id="stcnn without a kernel across"),
    pytest.param(Transformer, TransformerConfig(weeks=2, dropout=0.0), id="transformer"),
])  # fmt: skip
def test_it_does_not_depend_on_the_order_of_regions(seed, build, config):
    """Regions permuted, and W, and the regions' own parameters along with them: the forecasts are permuted."""
    torch.manual_seed(seed)
    shape = Shape(5, past_width(1), known_width(1), HORIZON, (0.1, 0.5, 0.9), calendar=known_width(0))
    weights, order = torch.rand(5, 5), torch.randperm(5)
    network = build(shape, config, weights)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    moved = build(shape, config, weights[order][:, order])
    moved.load_state_dict(network.state_dict())
    for parameter in by_region(moved).values():
        parameter.data.copy_(parameter.data[order])
    past = torch.randn(1, shape.past, network.context + 4, 5)
    known, base = torch.randn(1, 4 + HORIZON - 1, 5, shape.known), torch.randn(1, 4, HORIZON, 5)
    expected = network(past, known, base)[:, :, :, order]
    torch.testing.assert_close(
        moved(past[..., order], known[:, :, order], base[..., order]), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("origins", [1, 3, 7, 8, 20])
def test_the_transformer_reads_nothing_after_an_origin(origins):
    """Origins of one weekday share their tokens: the last day must reach the last origin alone."""
    torch.manual_seed(0)
    shape = Shape(2, past_width(1), known_width(1), HORIZON, (0.5,), calendar=known_width(0))
    network = Transformer(shape, TransformerConfig(weeks=3), torch.eye(2)).eval()
    past = torch.randn(1, shape.past, network.context + origins, 2)
    other = past.clone()
    other[:, :, -1] += 1.0
    changed = (network.encode(past) != network.encode(other)).any(-1)[0]  # [T, R]
    assert changed[-1].all()
    assert not changed[:-1].any()
    first = network.encode(past[:, :, : network.context + 1])[:, 0]
    torch.testing.assert_close(network.encode(past)[:, 0], first)


@pytest.mark.parametrize("size", SIZES)
def test_the_transformer_takes_bf16_in_every_size(size):
    shape = Shape(2, past_width(1), known_width(1), HORIZON, (0.1, 0.5), calendar=known_width(0))
    network = Transformer(shape, TransformerConfig(size=size, weeks=2), torch.eye(2))
    past, known = torch.randn(1, shape.past, network.context + 3, 2), torch.randn(1, 3 + HORIZON - 1, 2, shape.known)
    with torch.autocast("cpu", torch.bfloat16):
        made = network(past, known, torch.randn(1, 3, HORIZON, 2))
    assert made.shape == (1, 3, HORIZON, 2, 2)
    assert made.isfinite().all()
    made.float().sum().backward()


def test_what_is_switched_off_has_no_parameters():
    shape = Shape(5, 6, 3, HORIZON, (0.5,), calendar=1)
    off = STCNNConfig(embedding=0, nodes=0, neighbours=False, fusion=False, covariates=False)
    network = STCNN(shape, off, torch.eye(5))
    assert sum(parameter.numel() for parameter in by_region(network).values()) == 0
    known = torch.randn(1, HORIZON, 5, 3)
    other = torch.cat([known[..., :1], torch.randn(1, HORIZON, 5, 2)], dim=3)
    past, base = torch.randn(1, 6, off.context + 1, 5), torch.randn(1, 1, HORIZON, 5)
    network.eval()
    torch.testing.assert_close(network(past, known, base), network(past, other, base))


def test_a_region_that_was_never_seen_takes_its_neighbours_embedding():
    made = panel()
    early = made.known_on(FIRST + timedelta(days=50))  # region C starts on day 60; its neighbours are B and D
    network = a_network(early, "stcnn", seeds=1)
    settle_newcomers(network, taught(early), early.manifest)
    rows = network.members[0].region()
    torch.testing.assert_close(rows[2], (rows[1] + rows[3]) / 2)


def test_an_ensemble_is_its_members_mean():
    made = panel()
    network = build_ensemble("gru", SMALL["gru"], 3, made.manifest, made.weights).eval()
    past, known, base = (x[None] for x in make_inputs(made, fit_scaler(made)).window(60, 1, network.context))
    alone = [member(past, known, base) for member in network.members]
    assert not torch.equal(alone[0], alone[1])
    torch.testing.assert_close(network(past, known, base).mean(0), torch.stack(alone).mean(0))
    assert len(QUANTILES) + 1 == network(past, known, base).shape[-1]


@pytest.fixture
def yesterdays(tmp_path):
    """A run on regions A, B, D, and today's panel, which has C too."""
    made = panel()
    keep = [0, 1, 3]
    manifest = replace(made.manifest, regions=("A", "B", "D"), edges=((0, 1, 1.0), (1, 0, 1.0), (2, 0, 1.0)))
    parts = {name: getattr(made, name)[:, keep] for name in ("y", "observed", "alive", "covariates")}
    weights = np.array([[0, 1, 0], [1, 0, 0], [1, 0, 0.0]])
    older = replace(made, manifest=manifest, weights=weights, **parts)
    return trained(tmp_path, older, [cutoff(14)], small("stcnn", epochs=30), name="older"), made


def test_it_goes_on_from_yesterdays_weights_and_a_new_region_takes_its_neighbours(tmp_path, yesterdays):
    folder, made = yesterdays
    config = small("stcnn", fine_tune_epochs=0, warm_start=str(folder))
    network = load_checkpoint(trained(tmp_path, made, [cutoff(7)], config), made, cutoff(7))[0].members[0]
    rows = network.region()
    torch.testing.assert_close(rows[2], (rows[1] + rows[3]) / 2)
    tuned = trained(tmp_path, made, [cutoff(7)], replace(config, fine_tune_epochs=2), name="tuned")
    assert np.isfinite(predict(tuned, made, cutoff(7))).all()


@pytest.mark.parametrize(("change", "cut", "message"), [
    pytest.param({}, 21, "has no checkpoint made by", id="from the future"),
    pytest.param({"network": STCNNConfig(channels=4)}, 7, "does not fit the network at", id="another size"),
    pytest.param({"base": "seasonal_mean"}, 7, "was trained with base 'shared_seasons'", id="another base"),
])  # fmt: skip
def test_weights_that_cannot_be_used_are_named(tmp_path, yesterdays, change, cut, message):
    folder, made = yesterdays
    config = replace(small("stcnn", warm_start=str(folder)), **change)
    with pytest.raises(ConfigError, match=message):
        trained(tmp_path, made, [cutoff(cut)], config)
