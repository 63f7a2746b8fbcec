"""Published checkpoints are loaded from a folder, offline; tiny ones, written here, stand for them."""

import json

import numpy as np
import pytest
from conftest import run_job
from test_stcnn import DAYS, HORIZON, QUANTILES, REGIONS, panel

from stspark.errors import ConfigError
from stspark.models.panel import foundation
from stspark.models.panel.foundation import Foundation, at_levels

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def tiny_bolt(folder):
    bolt = pytest.importorskip("chronos.chronos_bolt", reason="extra 'chronos' is not installed")
    from transformers import T5Config

    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
    own = {"context_length": 64, "prediction_length": 4, "input_patch_size": 8, "input_patch_stride": 8}
    config = T5Config(**sizes, dropout_rate=0.0, architectures=["ChronosBoltModelForForecasting"], pad_token_id=0,
                      decoder_start_token_id=0)  # fmt: skip
    config.chronos_config = own | {"quantiles": LEVELS, "use_reg_token": True}
    config.chronos_pipeline_class = "ChronosBoltPipeline"
    bolt.ChronosBoltModelForForecasting(config).save_pretrained(folder)


def tiny_chronos_2(folder):
    chronos = pytest.importorskip("chronos.chronos2", reason="extra 'chronos' is not installed")
    config = chronos.Chronos2CoreConfig(d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.0)
    config.chronos_config = {"context_length": 64, "output_patch_size": 8, "input_patch_size": 8,
                             "input_patch_stride": 8, "quantiles": LEVELS, "use_reg_token": True,
                             "use_arcsinh": True, "max_output_patches": 4, "time_encoding_scale": 64}  # fmt: skip
    config.chronos_pipeline_class = "Chronos2Pipeline"
    config.architectures = ["Chronos2Model"]
    chronos.Chronos2Model(config).save_pretrained(folder)


def tiny_timesfm(folder):
    transformers = pytest.importorskip("transformers", reason="extra 'timesfm' is not installed")
    config = transformers.TimesFmConfig(
        patch_length=8, context_length=64, horizon_length=4, num_hidden_layers=1, hidden_size=16, intermediate_size=16,
        head_dim=8, num_attention_heads=2, quantiles=LEVELS,
    )  # fmt: skip
    transformers.TimesFmModelForPrediction(config).save_pretrained(folder)


def tiny_timesfm_2_5(folder):
    transformers = pytest.importorskip("transformers", reason="extra 'timesfm' is not installed")
    config = transformers.TimesFm2_5Config(
        patch_length=8, context_length=64, horizon_length=8, num_hidden_layers=1, hidden_size=16, intermediate_size=16,
        head_dim=8, num_attention_heads=2, num_key_value_heads=2, quantiles=LEVELS, output_quantile_len=8,
    )  # fmt: skip
    transformers.TimesFm2_5ModelForPrediction(config).save_pretrained(folder)


@pytest.fixture(scope="module", params=[tiny_bolt, tiny_chronos_2, tiny_timesfm, tiny_timesfm_2_5])
def checkpoint(request, tmp_path_factory):
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("published")
    request.param(folder)
    return str(folder)


def asked(path, snapshot):
    model = Foundation(path)
    return model.predict(model.fit(snapshot), snapshot, QUANTILES)


def test_a_local_checkpoint_forecasts_every_region_in_order(checkpoint, monkeypatch):
    import socket

    def refused(*_):
        raise AssertionError("it tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    values = asked(checkpoint, panel())
    assert values.shape == (REGIONS, HORIZON, 1 + len(QUANTILES))
    assert np.isfinite(values).all()
    assert (np.diff(values[..., 1:], axis=2) >= 0).all()
    np.testing.assert_array_equal(values, asked(checkpoint, panel()))


def test_it_knows_nothing_after_the_cutoff_and_no_region_that_has_not_started(checkpoint):
    made = panel()
    now = made.manifest.day(50)  # region C starts on day 60
    scrambled = made.known_on(now)
    later = np.array(made.y)
    later[51:] = 1e6
    other = type(made)(made.manifest, later, made.observed, made.alive, made.covariates, made.weights).known_on(now)
    values = asked(checkpoint, scrambled)
    np.testing.assert_array_equal(values, asked(checkpoint, other))
    assert np.isnan(values[2]).all()
    assert np.isfinite(values[[0, 1, 3]]).all()
    assert DAYS > 60


def test_levels_between_and_beyond_those_of_the_checkpoint():
    """A normal distribution's quantiles come out at any level: mean 10, deviation 2."""
    from scipy.stats import norm

    values = 10 + 2 * norm.ppf(LEVELS)
    wanted = [0.025, 0.1, 0.4, 0.5, 0.8, 0.975]
    np.testing.assert_allclose(at_levels(LEVELS, values, wanted), 10 + 2 * norm.ppf(wanted))


@pytest.mark.parametrize(("config", "weights", "message"), [
    pytest.param(None, True, "config.json is not there; .*nothing is downloaded", id="no folder"),
    pytest.param({"model_type": "bert"}, True, "is of kind 'bert'", id="another model"),
    pytest.param({"chronos_config": {}}, False, "holds no .safetensors file", id="pickled weights"),
])  # fmt: skip
def test_a_folder_that_is_none_is_named(tmp_path, config, weights, message):
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    if weights:
        (tmp_path / "model.safetensors").touch()
    with pytest.raises(ConfigError, match=message):
        Foundation(str(tmp_path))


def test_a_library_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps({"chronos_config": {}}))
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setattr(foundation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the library 'chronos', .*pip install 'stspark\[chronos\]'"):
        Foundation(str(tmp_path))


def test_a_path_that_is_not_there_ends_the_job_in_one_line():
    models = "models=[{name: seasonal_naive}, {name: foundation, path: amazon/chronos-bolt-tiny}]"
    ran = run_job("train", "--config", "conf/rohlik_orders.yaml", "--set", models)
    assert ran.code == 2
    assert "amazon/chronos-bolt-tiny/config.json is not there" in ran.errors[-1]
