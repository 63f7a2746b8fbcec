"""The config file: typed, checked at the door, every mistake one line with its place and remedy."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import pytest

from stspark.config_file import check_files, load_settings
from stspark.errors import ConfigError, InputError
from stspark.names import NAIVE

SMALLEST = """
dataset: shop
source: {kind: events, path: events, columns: {event_time: time, region: city}}
target: {name: sales}
models: [{name: seasonal_naive}, {name: theta}]
"""


@pytest.fixture
def config(tmp_path: Path):
    """Writes a config file: the smallest one with these lines after it."""

    def write(more: str = "", text: str = SMALLEST) -> Path:
        path = tmp_path / "shop.yaml"
        path.write_text(text + more, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", ["simulated", "online_retail", "rohlik_orders", "olist"])
def test_the_configs_that_come_along_are_valid(name):
    settings = load_settings(Path(__file__).parents[1] / "conf" / f"{name}.yaml")
    assert settings.dataset == name
    assert NAIVE in [m.name for m in settings.models]


def test_defaults_are_filled_in(config):
    settings = load_settings(config())
    assert (settings.time.horizon, settings.time.season, settings.backtest.windows) == (7, 7, 4)
    assert settings.quantile_columns == ("q2_5", *(f"q{k}0" for k in range(1, 10)), "q97_5")
    assert settings.home == "warehouse/shop"


@pytest.mark.parametrize(
    ("more", "where", "fix"),
    [
        pytest.param("horizn: 7", "horizn: unknown key", "known keys are dataset", id="top level, nothing near"),
        pytest.param("quantile: [0.5]", "quantile: unknown key", "did you mean 'quantiles'?", id="top level"),
        pytest.param("time: {horizn: 7}", "time.horizn: unknown key", "did you mean 'horizon'?", id="in a section"),
        pytest.param("closed: {weekday: [sat]}", "closed.weekday: unknown key", "'weekdays'?", id="plural"),
        pytest.param(
            "covariates: [{name: a, known: past, colum: x}]",
            "covariates.0.colum: unknown key",
            "'column'?",
            id="in a list",
        ),
        pytest.param("fleet: {}\nXX: 1", "XX: unknown key", "known keys are dataset, title", id="far from all"),
    ],
)
def test_an_unknown_key_names_the_nearest(config, more, where, fix):
    with pytest.raises(ConfigError) as caught:
        load_settings(config(more))
    assert f"shop.yaml: {where}; " in str(caught.value)
    assert fix in str(caught.value)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        pytest.param("time: {horizon: seven}", ["time.horizon", "valid integer", "'seven'"], id="text for a number"),
        pytest.param("time: {horizon: 0}", ["time.horizon", "greater than or equal to 1", "(got 0)"], id="too small"),
        pytest.param("time: {horizon: 1.5}", ["time.horizon", "integer", "1.5"], id="a fraction of a day"),
        pytest.param("time: {end: soon}", ["time.end", "valid date", "'soon'"], id="no day"),
        pytest.param("time: 7", ["time", "got 7"], id="a number for a section"),
        pytest.param("closed: {weekdays: [saturday]}", ["closed.weekdays.0", "'sat'", "'saturday'"], id="weekday"),
        pytest.param("quantiles: [0.5, 0.1]", ["quantiles", "must rise strictly within (0, 1)"], id="falling"),
        pytest.param("quantiles: [0.1, 0.1]", ["quantiles", "must rise strictly"], id="repeated"),
        pytest.param("quantiles: [0, 0.5]", ["quantiles", "within (0, 1)"], id="zero is no quantile"),
        pytest.param("quantiles: [10, 90]", ["quantiles", "within (0, 1)"], id="percent"),
        pytest.param("training: {gpu: maybe}", ["training.gpu", "'always'", "'maybe'"], id="gpu"),
        pytest.param("fleet: {fit_seconds: 0}", ["fleet.fit_seconds", "(got 0)"], id="no time to fit"),
        pytest.param(
            "covariates: [{name: promo, known: future}]", ["'promo' has no file", "source of events"], id="no file"
        ),
        pytest.param(
            "covariates: [{name: holiday, known: future, file: x}]", ["'holiday' is a column of region_day"], id="taken"
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_key(config, more, says):
    with pytest.raises(ConfigError) as caught:
        load_settings(config(more))
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in ["shop.yaml", *says]), message


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param("{name: seasonal_naive}, ", "", "lacks 'seasonal_naive', which every comparison", id="no naive"),
        pytest.param("{name: theta}", "{name: seasonal_naive}", "names 'seasonal_naive' twice", id="twice"),
        pytest.param("dataset: shop", "dataset: My Shop", "dataset: String should match pattern", id="dataset"),
        pytest.param("target: {name: sales}", "", "target: is required and missing", id="no target"),
        pytest.param("kind: events", "kind: event", "source.kind: Input should be 'events' or 'panel'", id="kind"),
        pytest.param(", region: city", "", "has no entry for region; a source of kind events needs it", id="no region"),
        pytest.param("event_time: time", "event_tim: time", "event_time", id="their key misspelt"),
        pytest.param("region: city", "region: city, sum: s", "has unknown entry 'sum'; known are", id="unknown entry"),
    ],
)
def test_a_config_that_cannot_work_is_refused(config, old, new, says):
    assert old in SMALLEST
    with pytest.raises(ConfigError) as caught:
        load_settings(config(text=SMALLEST.replace(old, new)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"dataset: [shop", "is not valid YAML", id="unclosed"),
        pytest.param(b"dataset:\n\t- shop", "is not valid YAML", id="tab"),
        pytest.param("dataset: café".encode("latin-1"), "is not valid YAML", id="not UTF-8"),
        pytest.param(b"", "holds no keys", id="empty"),
        pytest.param(b"# only a comment\n", "holds no keys", id="comment"),
        pytest.param(b"- a\n- b\n", "holds no keys", id="a list"),
    ],
)
def test_a_file_that_is_no_config_is_one_line(tmp_path, content, says):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load_settings(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_no_config_file_lists_those_there_are(tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/shop.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"conf/shp.yaml: config file does not exist; give --config one of: conf/shop"):
        load_settings("conf/shp.yaml")


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        pytest.param("time.horizon=14", lambda s: s.time.horizon, 14, id="a key of a section"),
        pytest.param("calendar.holidays=false", lambda s: s.calendar.holidays, False, id="a section that was absent"),
        pytest.param("models.1.name=auto_ets", lambda s: s.models[1].name, "auto_ets", id="an entry of a list"),
        pytest.param("models.theta.x=7", lambda s: s.models[1].options, {"x": 7}, id="an entry of a list by its name"),
        pytest.param("models.1.season_length=7", lambda s: s.models[1].options, {"season_length": 7}, id="an option"),
        pytest.param("time={horizon: 3, season: 2}", lambda s: s.time.season, 2, id="a section whole"),
        pytest.param("hierarchy.method=off", lambda s: s.hierarchy.method, "off", id="off is a word"),
        pytest.param("quantiles=[0.025, 0.975]", lambda s: s.quantile_columns, ("q2_5", "q97_5"), id="a list"),
        pytest.param("time.end=2024-02-29", lambda s: s.time.end, date(2024, 2, 29), id="a date"),
        pytest.param("title=a=b", lambda s: s.title, "a=b", id="a value with ="),
        pytest.param("title=", lambda s: s.title, None, id="no value"),
        pytest.param("regions.country=NO", lambda s: s.regions.country, "NO", id="Norway is not false"),
    ],
)
def test_set_overrides_the_file(config, override, read, value):
    if override == "title=":
        with pytest.raises(ConfigError, match="title: Input should be a valid string"):
            load_settings(config(), [override])
    elif override == "regions.country=NO":  # YAML 1.1 reads NO as false: an error that names the key, never a silent no
        with pytest.raises(ConfigError, match=r"regions.country: .*\(got False\)"):
            load_settings(config(), [override])
    else:
        assert read(load_settings(config(), [override])) == value


@pytest.mark.parametrize(
    ("override", "says"),
    [
        pytest.param("time.horizon", "--set time.horizon: is not of the form dotted.key=value", id="no value"),
        pytest.param("=7", "is not of the form", id="no key"),
        pytest.param("time.horizn=7", "time.horizn: unknown key; did you mean 'horizon'?", id="unknown key"),
        pytest.param(
            "models.2.name=x", "--set models.2.name: '2' is none of the list's 2 entries; count", id="past a list's end"
        ),
        pytest.param(
            "models.2={name: x}",
            "--set models.2: '2' is none of the list's 2 entries; count from 0",
            id="no such entry",
        ),
        pytest.param(
            "models.thet.x=1", "'thet' is none of the list's 2 entries; name one of seasonal_naive,", id="no such name"
        ),
        pytest.param("models.x=1", "'x' is none of the list's 2 entries", id="a word in a list"),
        pytest.param("dataset.name=x", "--set dataset.name: 'dataset' holds no further keys", id="below a value"),
        pytest.param("title=[a", "--set title: value '[a' is not YAML; quote it", id="bad YAML"),
        pytest.param("time.horizon=week", "time.horizon: Input should be a valid integer", id="wrong type"),
    ],
)
def test_a_mistake_in_set_is_named(config, override, says):
    with pytest.raises(ConfigError) as caught:
        load_settings(config(), [override])
    assert says in str(caught.value)


def test_later_overrides_win(config):
    assert load_settings(config(), ["time.horizon=3", "time.horizon=5"]).time.horizon == 5


@pytest.mark.parametrize(
    "override",
    ["warehouse=/elsewhere", "reports=/elsewhere", "tracking_uri=http://host", "title=New", "fleet.packs=3"],
)
def test_the_fingerprint_does_not_depend_on_where_and_how_things_are_written(config, override):
    assert load_settings(config(), [override]).fingerprint() == load_settings(config()).fingerprint()


@pytest.mark.parametrize(
    "override",
    ["time.horizon=8", "seed=2", "models.1.name=auto_ets", "quantiles=[0.5]", "source.timezone=Asia/Tokyo"],
)
def test_the_fingerprint_depends_on_what_decides_the_numbers(config, override):
    assert load_settings(config(), [override]).fingerprint() != load_settings(config()).fingerprint()


@pytest.mark.parametrize(
    ("more", "key"),
    [
        pytest.param("", "source.path", id="source"),
        pytest.param("regions: {file: none.csv}", "regions.file", id="regions"),
        pytest.param("closed: {file: none.csv}", "closed.file", id="closures"),
        pytest.param("calendar: {shopping_events: none.csv}", "calendar.shopping_events", id="events"),
        pytest.param("covariates: [{name: p, known: future, file: none.csv}]", "covariates.p.file", id="covariate"),
    ],
)
def test_a_missing_file_is_named_with_its_key(config, tmp_path, monkeypatch, more, key):
    monkeypatch.chdir(tmp_path)
    if more:
        (tmp_path / "events").mkdir()
    with pytest.raises(InputError, match=rf"^{key}: \S+: does not exist \(looked from .*; .*change {key}"):
        check_files(load_settings(config(more)))


def test_a_missing_source_says_where_the_data_are_published(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the data set is published at the UCI as 352"):
        check_files(load_settings(config(), ["source.published=the UCI as 352"]))


@pytest.mark.parametrize("by_set", [False, True])
def test_a_mistake_in_a_models_options_names_where_it_stands(config, capsys, by_set):
    from stspark.job import run_job

    models = "[{name: seasonal_naive}, {name: sarima, estimation: ml}]"
    path = config("" if by_set else f"models: {models}\n")
    arguments = ["--config", str(path), *(["--set", f"models={models}"] if by_set else [])]
    assert run_job("train", lambda job: None, arguments) == 2
    where = "--set models" if by_set else f"{path}: models"
    assert f"error: {where}.sarima.estimation: is 'ml'" in capsys.readouterr().err


def test_the_prompt_takes_overrides_as_all_jobs_do(capsys):
    """A warehouse that a run was given by --set can be asked too; here the override itself is wrong."""
    from stspark.prompt import run_sql

    assert run_sql(["--config", "conf/simulated.yaml", "--set", "warehous=elsewhere"]) == 2
    assert "did you mean 'warehouse'?" in capsys.readouterr().err


def test_statements_come_from_the_terminal_under_spark_submit(monkeypatch, tmp_path):
    from stspark import prompt

    held = sys.stdin
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    prompt._listen_to_the_terminal()
    assert sys.stdin is held
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    monkeypatch.setattr(prompt, "TERMINAL", str(tmp_path / "none"))
    with pytest.raises(InputError, match="passes no input on, and there is no terminal"):
        prompt._listen_to_the_terminal()
    (tmp_path / "tty").write_text("select 1;")
    monkeypatch.setattr(prompt, "TERMINAL", str(tmp_path / "tty"))
    monkeypatch.setattr(sys, "stdin", held)
    prompt._listen_to_the_terminal()
    assert input() == "select 1;"
