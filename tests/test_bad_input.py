"""The user's mistakes: exit code 2 and one line that names the place, the value and the remedy."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Ran, run_job
from pyspark import SparkConf

from stspark import session

FIRST, DAYS = date(2024, 1, 1), 40
LAST = FIRST + timedelta(days=DAYS - 1)  # 9 February
REGIONS = "region,lat,lng\nnorth,60,10\nsouth,50,10\n"


def sales(days: int = DAYS, regions: tuple[str, ...] = ("north", "south")) -> str:
    """A panel: date, region and sales that repeat every week."""
    rows = [f"{FIRST + timedelta(days=k)},{region},{10 + k % 7}" for region in regions for k in range(days)]
    return "\n".join(["date,region,sales", *rows, ""])


class Shop:
    """A small panel in a folder with its config; a test spoils one thing and runs a job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, object] = {
            "dataset": "shop", "target": {"name": "sales"}, "regions": {"file": str(folder / "regions.csv")},
            "source": {
                "kind": "panel", "path": str(folder / "data"), "pattern": "*.csv*",
                "columns": {"date": "date", "region": "region", "target": "sales"},
            },
            "models": [{"name": "seasonal_naive"}], "backtest": {"windows": 2}, "calendar": {"holidays": False},
            "warehouse": str(folder / "warehouse"), "reports": str(folder / "reports"),
        }  # fmt: skip
        (folder / "data").mkdir()
        self.write("regions.csv", REGIONS)
        self.write("data/sales.csv", sales())

    def write(self, name: str, content: str | bytes) -> None:
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def save(self) -> Path:
        path = self.folder / "shop.yaml"
        path.write_text(yaml.safe_dump(self.config), encoding="utf-8")
        return path

    def run(self, job: str, *arguments: str) -> Ran:
        return run_job(job, "--config", str(self.save()), *arguments)


@pytest.fixture
def shop(tmp_path, spark):
    return Shop(tmp_path)


def is_the_users_mistake(ran: Ran, *parts: str) -> None:
    """Exit code 2; one line `error: ...` on stderr with these parts, and nothing on stdout."""
    assert ran.code == 2, ran
    assert ran.out == ""
    assert len(ran.errors) == 1, ran.err
    assert ran.errors[0].startswith("error: ")
    assert all(part in ran.errors[0] for part in parts), ran.errors[0]
    assert ran.errors[0].count("; ") >= 1  # place: what came; what to do


def set_(key: str, value: object) -> Callable[[Shop], None]:
    """Put a value into the config at a dotted key."""

    def spoil(shop: Shop) -> None:
        node = shop.config
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value

    return spoil


def write(name: str, content: str | bytes) -> Callable[[Shop], None]:
    return lambda shop: shop.write(name, content)


def remove(name: str) -> Callable[[Shop], None]:
    return lambda shop: (shop.folder / name).unlink()


def below_a_file(key: str) -> Callable[[Shop], None]:
    """A folder that cannot be made, not even by root."""
    return lambda shop: set_(key, str(shop.folder / "regions.csv" / "below"))(shop)


BEFORE_SPARK = [
    pytest.param(set_("tme", {}), ["shop.yaml: tme: unknown key", "did you mean 'time'?"], id="unknown key"),
    pytest.param(set_("time", {"horizon": "week"}), ["time.horizon", "valid integer", "'week'"], id="wrong type"),
    pytest.param(set_("models", [{"name": "theta"}]), ["models", "lacks 'seasonal_naive'"], id="no naive"),
    pytest.param(
        set_("models", [{"name": "seasonal_naive"}, {"name": "auto_etz"}]), ["models", "'auto_etz'", "'auto_ets'"],
        id="unknown model",
    ),
    pytest.param(
        set_("models", [{"name": "seasonal_naive"}, {"name": "theta", "seasn": 7}]), ["models.theta.seasn"],
        id="unknown option of a model",
    ),
    pytest.param(
        set_("models", [{"name": "seasonal_naive"}, {"name": "stcnn", "epoch": 7}]), ["models.stcnn.epoch", "'epochs'"],
        id="unknown option of the global model",
    ),
    pytest.param(
        set_("models", [{"name": "seasonal_naive"}, {"name": "stcnn", "epochs": "many"}]), ["models.stcnn", "many"],
        id="wrong type of an option of the global model",
    ),
    *(
        pytest.param(set_("models", [{"name": "seasonal_naive"}, {"name": name, key: value}]),
                     [f"models.{name}.{key}", f"(got {value!r})"], id=f"{name}.{key}={value}")
        for name, key, value in (
            ("stcnn", "epochs", -3), ("stcnn", "seeds", 0), ("stcnn", "dropout", 1.5), ("stcnn", "across", 2),
            ("gru", "learning_rate", -1), ("gru", "precision", "fp64"), ("transformer", "weeks", 1),
        )
    ),
    pytest.param(
        set_("source.path", "/no/folder"), ["source.path: /no/folder", "does not exist", "change source.path"],
        id="missing folder",
    ),
    pytest.param(remove("regions.csv"), ["regions.file: ", "regions.csv", "does not exist"], id="missing file"),
    pytest.param(below_a_file("warehouse"), ["/below", "cannot be written", "change warehouse"], id="no warehouse"),
    pytest.param(below_a_file("reports"), ["/below", "cannot be written", "reports"], id="no reports"),
    pytest.param(set_("simulate", {"region": 6}), ["simulate.region", "'regions'"], id="unknown option of the shop"),
    pytest.param(set_("simulate", {"regions": "many"}), ["simulate.regions", "many"], id="text for the shop's regions"),
    pytest.param(set_("simulate", {"regions": 1}), ["simulate.regions", "is 1", "use 4 to 24"], id="too small a shop"),
    pytest.param(set_("simulate", True), ["holds files that no simulation wrote"], id="a shop over other files"),
    pytest.param(
        lambda shop: [set_("simulate", True)(shop), below_a_file("source.path")(shop)], ["regions.csv"],
        id="a shop where nothing can be written",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "says"), BEFORE_SPARK)
def test_a_mistake_in_the_config(shop, spoil, says):
    spoil(shop)

    def body(job: object) -> None:
        pytest.fail("the job began")

    is_the_users_mistake(run_job("pipeline", "--config", str(shop.save()), body=body), *says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, ["shop.yaml", "config file does not exist", "--config one of"], id="none"),
        pytest.param("dataset: [", ["shop.yaml", "is not valid YAML"], id="bad YAML"),
        pytest.param("", ["shop.yaml", "holds no keys"], id="empty"),
    ],
)
def test_a_config_file_that_is_none(tmp_path, content, says):
    path = tmp_path / "shop.yaml"
    if content is not None:
        path.write_text(content)
    is_the_users_mistake(run_job("ingest", "--config", str(path)), *says)


@pytest.mark.parametrize("text", ["2024-02-30", "tomorrow", "20240101x"])
def test_an_as_of_that_is_no_day(shop, text, capsys):
    from stspark.job import run_job as run

    with pytest.raises(SystemExit) as ended:
        run("train", lambda job: None, ["--config", str(shop.save()), "--as-of", text])
    assert ended.value.code == 2
    assert f"error: argument --as-of: '{text}' is no day; write YYYY-MM-DD" in capsys.readouterr().err


AT_INGEST = [
    pytest.param(write("data/sales.csv", ""), ["sales.csv: is empty", "send it again"], id="empty file"),
    pytest.param(set_("source.pattern", "*.tsv"), ["source.path", "no file that matches '*.tsv'"], id="no file"),
    pytest.param(
        write("data/sales.csv", "date,regoin,sales\n2024-01-01,north,1\n"),
        ["sales.csv: has no column 'region'", "nearest column is 'regoin'"], id="missing column",
    ),
    pytest.param(
        write("data/sales.csv", sales().replace(",1", ",many")),
        ["sales.csv", "as bad_number in column target", "many"], id="a target that is text",
    ),
    pytest.param(
        write("data/sales.csv", sales(regions=("north", "souht"))),
        ["region", "'souht' (40 rows) is not in", "regions.csv", "unplaced"], id="unknown region",
    ),
    pytest.param(
        write("regions.csv", "region,lat,lng\nnorth,60,10\nsouth,95,10\n"), ["regions.csv: lat", "'95'"], id="latitude"
    ),
    pytest.param(write("regions.csv", ""), ["regions.csv"], id="empty regions"),
    pytest.param(write("regions.csv", "region,lat\n"), ["regions.csv", "has no column 'lng'"], id="regions' column"),
    pytest.param(
        set_("covariates", [{"name": "rain", "known": "past"}]), ["sales.csv", "rain"], id="covariate not in the panel"
    ),
    pytest.param(
        set_("source.rules", [{"name": "r", "column": "target", "keep": "sals > 0"}]), ["sals"], id="rule on no column"
    ),
    pytest.param(
        lambda shop: [
            (shop.folder / "data/sales.csv").unlink(),
            shop.write("data/sales.csv.gz", gzip.compress(sales(20_000).encode())[:-4000]),
        ],
        ["sales.csv.gz"], id="a gzip file cut short",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "says"), AT_INGEST)
def test_a_mistake_in_the_data(shop, spoil, says):
    spoil(shop)
    is_the_users_mistake(shop.run("ingest"), *says)
    assert not (shop.folder / "warehouse/shop/panel").exists()  # nothing half done


@pytest.fixture(scope="module")
def ingested(spark, tmp_path_factory):
    """The shop with its tables up to region_day."""
    shop = Shop(tmp_path_factory.mktemp("ingested"))
    for job in ("ingest", "features"):
        ran = shop.run(job)
        assert ran.code == 0, ran.err
    return shop


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(
            ["--as-of", "2023-12-31"], ["--as-of 2023-12-31", "before the data begin (2024-01-01)", "2024-02-09"],
            id="as-of before the data",
        ),
        pytest.param(
            ["--as-of", "2024-02-17"],
            ["--as-of 2024-02-17", "more than the horizon of 7 days after the data end (2024-02-09)"],
            id="as-of more than a horizon after the data",
        ),
        pytest.param(
            ["--as-of", "2024-01-20"], ["6 observed days up to 2024-01-06", "one season of 7 days", "later --as-of"],
            id="fewer days than a season before the first cutoff",
        ),
        pytest.param(
            ["--set", "time.season=30"], ["26 observed days up to 2024-01-26", "one season of 30 days"],
            id="a season longer than the data",
        ),
        pytest.param(
            ["--set", "backtest.windows=10"], ["0 observed days up to 2023-12-", "lower backtest.windows"],
            id="more windows than days",
        ),
    ],
)  # fmt: skip
def test_a_run_that_the_data_do_not_allow(ingested, arguments, says):
    is_the_users_mistake(ingested.run("train", *arguments), *says)


@pytest.mark.parametrize("job", ["forecast", "reconcile", "evaluate"])
def test_a_step_before_its_turn_names_the_job_to_run_first(ingested, job):
    is_the_users_mistake(ingested.run(job), "does not exist; run jobs/")


def test_the_first_steps_before_their_turn(shop):
    is_the_users_mistake(shop.run("features"), "table panel in ", "does not exist; run jobs/ingest.py")
    is_the_users_mistake(shop.run("train"), "table region_day in ", "does not exist; run jobs/features.py")


def test_days_that_leave_nothing(ingested):
    is_the_users_mistake(ingested.run("features", "--set", "time.start=2025-01-01"), "time.start", "leave no day")


def test_a_file_that_changed_after_it_was_ingested_takes_its_old_rows_place(shop, spark):
    assert shop.run("ingest").code == 0
    shop.write("data/sales.csv", sales(DAYS + 1).replace(",10\n", ",11\n"))
    ran = shop.run("ingest")
    assert ran.code == 0, ran.err
    assert re.search(r"files +1 \(1 new\)", ran.out), ran.out
    rows = spark.read.format("delta").load(str(shop.folder / "warehouse/shop/panel"))
    assert rows.count() == 2 * (DAYS + 1)
    assert rows.where("target = 10").count() == 0


def test_files_that_hold_only_headers(shop):
    shop.write("data/sales.csv", "date,region,sales\n")
    assert shop.run("ingest").code == 0
    is_the_users_mistake(shop.run("features"), "no usable row is left after cleaning", "events_rejected")


def test_a_covariate_that_comes_after_the_ingest_is_read_or_refused(ingested):
    ran = ingested.run("features", "--set", "covariates=[{name: rain, known: past}]")
    is_the_users_mistake(ran, "rain")


def submit(shop: Shop, script: str | Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script by spark-submit; Spark joins the script's stderr to its stdout."""
    command = [str(Path(sys.executable).with_name("spark-submit")), "--master", "local[1]", *options, str(script)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYSPARK") and k != "PYTHONPATH"}
    return subprocess.run(
        [*command, "--config", str(shop.save())], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_spark_submit_ends_with_two_and_one_line_and_no_stack(tmp_path):
    shop = Shop(tmp_path)
    shop.write("data/sales.csv", "date,regoin,sales\n2024-01-01,north,1\n")
    ran = submit(shop, "jobs/ingest.py")
    said = ran.stdout + ran.stderr
    assert ran.returncode == 2, said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "sales.csv: has no column 'region'; the nearest column is 'regoin'" in errors[0]
    for trace in ("Traceback", "\tat ", "Exception", "Caused by"):
        assert trace not in said


@pytest.mark.slow
def test_settings_given_to_spark_submit_win(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(
        "import sys\nfrom stspark.job import run_job\n"
        "def main(job):\n    print('partitions', job.spark.conf.get('spark.sql.shuffle.partitions'))\n"
        "sys.exit(run_job('test', main))\n"
    )
    ran = submit(Shop(tmp_path), script, "--conf", "spark.sql.shuffle.partitions=3")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "partitions 3\n" in ran.stdout


def test_settings_that_decide_numbers_are_ours_whatever_the_cluster_says(monkeypatch):
    """A spark-defaults.conf with another zone would move every time that carries no offset."""
    given = SparkConf(loadDefaults=False).set("spark.sql.session.timeZone", "America/New_York")
    given.set("spark.sql.shuffle.partitions", "7")
    monkeypatch.setattr(session, "SparkConf", lambda: given)
    made = session._settings()
    assert made["spark.sql.session.timeZone"] == "UTC"
    assert "spark.sql.shuffle.partitions" not in made
