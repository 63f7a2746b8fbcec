"""stspark as a package. Every dependency is named here, once, with its reason; constraints.txt pins the closure."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

REQUIRED = [
    "pyspark==4.2.0",  # the engine; delta-spark 4.4 refuses later ones
    "py4j",  # comes with pyspark: the kind of some errors of Spark's jobs (BSD-3-Clause)
    "delta-spark==4.4.0",  # Delta tables from Python; 4.4.1 has no jar on Maven Central
    "pydantic",  # the config is a typed object, checked at the door
    "PyYAML",  # a data set is one YAML file
    "pandas<3",  # what pandas UDFs are handed; statsforecast refuses 3
    "python-dateutil",  # comes with pandas: the date of Easter (Apache-2.0 OR BSD-3-Clause)
    "pyarrow",  # moves rows between Spark and pandas, and writes the training snapshot
    "numpy",  # the arithmetic of the models
    "holidays",  # public holidays of each region's country, offline
    "scipy",  # non-negative least squares, normal scores
    "statsforecast",  # AutoETS, AutoARIMA, SARIMA(X), CES, Theta, MFLES, MSTL, TBATS, Croston, TSB, IMAPA
    "scikit-learn",  # ridge regression of the linear model
    "h3",  # hexagonal cells as regions
    "shapely",  # which polygons of regions touch
    "statsmodels",  # tests of stationarity, season and remainder in the diagnostics
    "prophet",  # the Prophet model
    "ujson",  # with it cmdstanpy writes Prophet's data for Stan in a fraction of the time (BSD-3-Clause AND TCL)
    "torch",  # the global networks
    "xgboost",  # boosted trees over all regions; distributed by xgboost.spark (Apache-2.0)
    "safetensors",  # network weights in a file that cannot run code
    "mlflow",  # one run per job run; the model registry
    "deltalake",  # reads tables and their versions without a Spark job; the independent witness
]

DEVELOPMENT = [
    "pytest",  # runs the tests
    "esda",  # the oracle of Moran's I and its kin
    "hierarchicalforecast",  # the oracle of the reconciliation's tests
    "spreg",  # the oracle of the spatial lag's tests
    "libpysal",  # the weights that spreg takes
    "ruff",  # lint and import order
    "mypy",  # types, strict on stspark
    "pandas-stubs",  # types of pandas, and of what Spark hands over as pandas
    "types-PyYAML",  # types of yaml
    "hypothesis",  # malformed inputs that nobody thought of
    "duckdb",  # the yardstick of the features benchmark
    "polars",  # the same
    "setuptools",  # builds the wheel without network
    "wheel",  # the same
]

CHRONOS = [
    "chronos-forecasting",  # loads published Chronos-Bolt and Chronos-2 checkpoints (Apache-2.0)
]

TIMESFM = [
    "transformers",  # loads published TimesFM checkpoints (Apache-2.0)
]

version = re.search(r'^__version__ = "(.+)"', (HERE / "stspark" / "__init__.py").read_text(encoding="utf-8"), re.M)

setup(
    name="stspark",
    version=version[1],
    description="Demand by region and day on Apache Spark: from raw events to forecasts in Delta Lake",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["stspark", "stspark.*"]),
    package_data={"": ["py.typed", "*.csv", "*.json", "*.html", "*.css", "*.js", "*.sql"]},
    install_requires=REQUIRED,
    extras_require={"dev": DEVELOPMENT, "chronos": CHRONOS, "timesfm": TIMESFM},
)
