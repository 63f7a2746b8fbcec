"""The global network and its checkpoints, without Spark: one process, small panels."""

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from stspark.errors import EnvironmentMistake, InputError
from stspark.models.deep.checkpoint import load_checkpoint, predict
from stspark.models.deep.network import pinball
from stspark.models.deep.registry import NETWORKS, build_ensemble
from stspark.models.deep.stcnn import Block, STCNNConfig
from stspark.models.deep.windows import Scaler, fit_scaler, make_inputs
from stspark.snapshot import Manifest, Snapshot, load_snapshot, local_path, write_atomically
from stspark.training.loop import train_rank
from stspark.training.plan import Launch, TrainingConfig

FIRST = date(2023, 1, 2)
REGIONS, DAYS, HORIZON = 4, 120, 7
QUANTILES = (0.1, 0.25, 0.75, 0.9)
SMALL = TrainingConfig(epochs=12, fine_tune_epochs=2, network=STCNNConfig(channels=8, embedding=2))


def panel(seed=0, days=DAYS, horizon=HORIZON):
    """Weekly demand, a known promotion that adds half, one late region, a few unobserved days."""
    g = np.random.default_rng(seed)
    total, t = days + horizon, np.arange(days + horizon)
    promotion = (g.random((total, REGIONS)) < 0.15).astype(float)
    mean = np.array([5.0, 20.0, 40.0, 80.0]) * (1 + 0.4 * np.sin(2 * np.pi * t / 7))[:, None] * (1 + 0.5 * promotion)
    y = g.poisson(mean).astype(float)[:days]
    alive = np.ones((days, REGIONS), dtype=bool)
    alive[:60, 2] = False
    observed = alive & (g.random((days, REGIONS)) > 0.03)
    ring = tuple((i, (i + step) % REGIONS, 0.5) for i in range(REGIONS) for step in (1, -1))
    weights = np.zeros((REGIONS, REGIONS))
    for i, j, w in ring:
        weights[i, j] = w
    manifest = Manifest(
        f"data-{seed}", tuple("ABCD"), FIRST, days, total, ("promotion",), ring, 7, horizon, QUANTILES, seed=3
    )
    return Snapshot(manifest, np.where(alive, y, 0.0), observed, alive, promotion[:, :, None], weights)


def write(snapshot, folder):
    """Write a snapshot as Spark would, in shuffled rows."""
    manifest, days = snapshot.manifest, snapshot.manifest.n_history
    rows = [
        (
            r,
            t,
            snapshot.y[t, r] if t < days else None,
            bool(t < days and snapshot.observed[t, r]),
            snapshot.covariates[t, r, 0],
        )
        for t in range(manifest.n_total)
        for r in range(len(manifest.regions))
        if t >= days or snapshot.alive[t, r]
    ]
    np.random.default_rng(0).shuffle(rows)
    names = ["region_index", "date_index", "y", "observed", "promotion"]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    columns["region_index"] = [int(v) for v in columns["region_index"]]
    (folder / "panel").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "panel" / "part-0.parquet")
    write_atomically(folder / "manifest.json", manifest.to_json().encode())
    return str(folder)


def noiseless(made):
    """The panel's demand without noise, in which the promotion doubles, and all of its days [T + H, R]."""
    t = np.arange(DAYS + HORIZON)
    week = 1 + 0.4 * np.sin(2 * np.pi * t / 7)
    truth = np.array([5.0, 20.0, 40.0, 80.0]) * week[:, None] * (1 + made.covariates[:, :, 0])
    return replace(made, y=np.where(made.alive, truth[:DAYS], 0.0)), truth


def cutoff(before_end):
    return FIRST + timedelta(days=DAYS - 1 - before_end)


def trained(tmp_path, snapshot, cutoffs, config=SMALL, name="run"):
    """Train in this process and return the folder of checkpoints."""
    path = write(snapshot, tmp_path / f"{name}-snapshot")
    (tmp_path / name).mkdir()
    launch = Launch(path, str(tmp_path / name), config, tuple(cutoffs))
    train_rank(launch)
    return launch.checkpoints


def test_snapshot_survives_its_files(tmp_path):
    made = panel()
    read = load_snapshot(write(made, tmp_path / "s"))
    assert read.manifest == made.manifest
    for name in ("y", "observed", "alive", "weights"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name), err_msg=name)
    started = np.concatenate([made.alive, np.ones((HORIZON, REGIONS), dtype=bool)])
    np.testing.assert_array_equal(read.covariates[started], made.covariates[started])


def test_a_hole_in_the_target_is_named(tmp_path):
    made = panel()
    made.y[70, 1] = np.nan
    with pytest.raises(InputError, match="y is missing for region 'B', day 70"):
        load_snapshot(write(made, tmp_path / "s"))


def test_an_unfinished_snapshot_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no finished snapshot"):
        load_snapshot(str(tmp_path))


@pytest.mark.parametrize(("path", "local"), [("/a/b", "/a/b"), ("file:/a/b%20c", "/a/b c"), ("file:///a", "/a")])
def test_local_paths(path, local):
    assert str(local_path(path)) == local


def test_other_file_systems_are_refused():
    with pytest.raises(EnvironmentMistake, match="cannot train from s3a://"):
        local_path("s3a://bucket/x")


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e6])
def test_scaling_is_undone_for_negative_demand_too(scale):
    scaler = Scaler(np.full(3, scale), np.ones(3), np.zeros(0), np.ones(0), floor=False)
    y = np.array([-5.0, 0.0, 12.0]) * scale
    np.testing.assert_allclose(scaler.backward(scaler.forward(y)), y)
    assert Scaler.from_dict(json.loads(json.dumps(scaler.to_dict()))).scale.tolist() == [scale] * 3


def test_the_base_is_the_mean_of_the_same_weekday():
    """a counts days, so four seasons before day t are t - 7, -14, -21, -28: on average t - 17.5."""
    made = panel(days=60, horizon=10)
    made = replace(made, observed=np.ones_like(made.observed), alive=np.ones_like(made.alive))
    inputs = make_inputs(made, fit_scaler(made))
    days = torch.arange(60.0)[:, None].expand(60, REGIONS)
    counted = replace(made, y=days.double().numpy())
    scaler = replace(fit_scaler(counted), scale=np.full(REGIONS, 1e9))  # arcsinh is a straight line there
    base = make_inputs(counted, scaler).base(50, 1)[0] * 1e9
    first_week = [50 + k - 17.5 for k in range(1, 8)]
    second_week = [50 + k - 24.5 for k in range(8, 11)]
    np.testing.assert_allclose(base[:, 0], first_week + second_week, rtol=1e-4)
    assert inputs.past.shape[1:] == (60, REGIONS)


def test_targets_are_masked_where_nothing_was_seen():
    made = panel()
    inputs = make_inputs(made, fit_scaler(made))
    _, mask = inputs.targets(50, 20)
    assert mask[:10, :, 2].sum() == 0  # region C starts on day 60: origins before it do not count
    assert mask[10:, :, 2].sum() > 0
    unseen = ~made.observed[51:78, 1]
    assert mask[0, :, 1].tolist() == [float(not u) for u in unseen[:HORIZON]]


def a_block(dilation):
    block = Block(STCNNConfig(channels=4, dropout=0.0), dilation, graphs=1)
    torch.nn.init.normal_(block.second.conv.weight)
    return block


def test_a_convolution_does_not_see_later_days():
    torch.manual_seed(0)
    block, weights = a_block(dilation=2), torch.eye(5)
    h = torch.randn(1, 12, 5, 4)
    later = h.clone()
    later[:, 7:] = torch.randn(1, 5, 5, 4)
    with torch.no_grad():
        torch.testing.assert_close(block(h, [weights])[:, :7], block(later, [weights])[:, :7], rtol=0, atol=0)


def test_a_neighbour_far_along_the_line_is_heard_through_w():
    torch.manual_seed(0)
    block, weights = a_block(dilation=1), torch.zeros(9, 9)
    weights[0, 8] = 1.0
    h = torch.randn(1, 6, 9, 4)
    changed = h.clone()
    changed[:, :, 8] += 1.0
    with torch.no_grad():
        moved = (block(changed, [weights]) - block(h, [weights])).abs().amax(dim=(0, 1, 3)) > 0
    assert moved.tolist() == [True, True, False, False, False, False, True, True, True]


def a_network(snapshot, name, seeds=2):
    config = NETWORKS[name].config()
    return build_ensemble(name, config, seeds, snapshot.manifest, snapshot.weights)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_quantiles_never_cross_whatever_the_weights(name, seed):
    torch.manual_seed(seed)
    made = panel()
    network = a_network(made, name)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    past, known, base = make_inputs(made, fit_scaler(made)).window(40, 20, network.context)
    predicted = network(past[None], known[None], base[None])
    assert predicted.shape == (2, 1, 20, HORIZON, REGIONS, 5)
    assert bool((predicted.diff(dim=-1) >= 0).all())


@pytest.mark.parametrize("name", ["stcnn", "stcnn_plain"])
def test_an_origin_depends_on_its_context_only(name):
    """The same origin, once at the end of a long window and once alone."""
    made = panel()
    network = a_network(made, name).eval()
    inputs = make_inputs(made, fit_scaler(made))
    long = network(*(x[None] for x in inputs.window(60, 30, network.context)))[:, 0, -1]
    alone = network(*(x[None] for x in inputs.window(89, 1, network.context)))[:, 0, 0]
    torch.testing.assert_close(long, alone, rtol=1e-4, atol=1e-5)


def test_pinball_loss_of_a_known_case():
    """Residual 2, forecasts 0 and 3 for levels 0.1 and 0.9: (0.1 * 2 + 0.1 * 1) / 2; half the days are masked."""
    residual, mask = torch.full((1, 1, 2, 1), 2.0), torch.tensor([1.0, 0.0]).view(1, 1, 2, 1)
    predicted = torch.tensor([0.0, 3.0]).expand(1, 1, 2, 1, 2)
    assert pinball(residual, mask, predicted, [0.1, 0.9]).item() == pytest.approx(0.15 / 2)


def test_it_learns_the_week_and_the_promotion(tmp_path):
    made = panel()
    folder = trained(tmp_path, made, [cutoff(0)], replace(SMALL, epochs=60))
    values = predict(folder, made, cutoff(0))
    assert values.shape == (REGIONS, HORIZON, 1 + len(QUANTILES))
    days = np.arange(DAYS, DAYS + HORIZON)
    week = 1 + 0.4 * np.sin(2 * np.pi * days / 7)
    truth = np.array([5.0, 20.0, 40.0, 80.0])[:, None] * week * (1 + 0.5 * made.covariates[DAYS:, :, 0].T)
    assert np.abs(values[..., 0] - truth).sum() / truth.sum() < 0.12
    assert bool((np.diff(values[..., 1:], axis=-1) >= 0).all())
    assert bool((values >= 0).all())


def test_the_future_does_not_reach_an_earlier_forecast(tmp_path):
    made, now = panel(), cutoff(14)
    scrambled = replace(made, y=made.y.copy(), observed=made.observed.copy())
    scrambled.y[-14:] = np.random.default_rng(9).gamma(1.0, 500.0, size=(14, REGIONS))
    scrambled.observed[-14:] = ~scrambled.observed[-14:]
    forecasts = [
        predict(trained(tmp_path, snapshot, [now, cutoff(0)], name=name), snapshot, now)
        for name, snapshot in (("as-is", made), ("scrambled", scrambled))
    ]
    np.testing.assert_array_equal(*forecasts)


def test_two_runs_are_identical_and_a_restart_goes_on_from_the_last_cutoff(tmp_path):
    made, cutoffs = panel(), (cutoff(14), cutoff(7), cutoff(0))
    folders = [trained(tmp_path, made, cutoffs, name=name) for name in ("one", "two")]
    launch = Launch(str(tmp_path / "two-snapshot"), str(tmp_path / "two"), SMALL, cutoffs)
    (folders[1] / f"{cutoffs[2]}.json").unlink()
    assert launch.finished(made.manifest) == 2
    train_rank(replace(launch, start=2))
    for day in cutoffs:
        first, second = (load_checkpoint(folder, made, day)[0].state_dict() for folder in folders)
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda launch, manifest: (launch, replace(manifest, data_version="new")), id="data"),
        pytest.param(lambda launch, manifest: (replace(launch, config=SMALL), manifest), id="config"),
        pytest.param(lambda launch, manifest: (replace(launch, cutoffs=(cutoff(9),)), manifest), id="cutoffs"),
    ],
)
def test_a_checkpoint_of_other_data_or_config_is_not_kept(tmp_path, change):
    made = panel()
    trained(tmp_path, made, [cutoff(7)], replace(SMALL, epochs=1), name="run")
    launch = Launch(str(tmp_path), str(tmp_path / "run"), replace(SMALL, epochs=1), (cutoff(7),))
    assert launch.finished(made.manifest) == 1
    changed, manifest = change(launch, made.manifest)
    assert changed.finished(manifest) == 0


def test_a_region_that_has_not_started_gets_no_forecast_and_one_with_a_day_does(tmp_path):
    made = panel()
    early, opened = FIRST + timedelta(days=50), FIRST + timedelta(days=60)
    folder = trained(tmp_path, made, [early, opened], replace(SMALL, epochs=2))
    assert np.isnan(predict(folder, made, early)[2]).all()
    assert np.isfinite(predict(folder, made, opened)).all()


def test_negative_demand_can_be_forecast(tmp_path):
    made = panel()
    returns = replace(made, y=-made.y)
    values = predict(trained(tmp_path, returns, [cutoff(0)]), returns, cutoff(0))
    assert (values[..., 0] < 0).mean() > 0.9


def test_a_failure_leaves_its_traceback(tmp_path):
    (tmp_path / "run").mkdir()
    launch = Launch(str(tmp_path / "nowhere"), str(tmp_path / "run"), SMALL, (cutoff(0),))
    with pytest.raises(InputError):
        train_rank(launch)
    assert "holds no finished snapshot" in (launch.errors / "rank-0.txt").read_text()
