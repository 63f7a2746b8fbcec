# Everything a newcomer types. Each command makes its environment first, once; `make help` lists them.

CONFIG = conf/simulated.yaml
TASK = bench/fev/rohlik_orders_1D.yaml
ARGS ?=
PYTEST_ARGS ?=
BIN = .venv/bin

# A query may hold quotes, commas and dollars: it travels by the environment, untouched by make and the shell.
export STSPARK_QUERY = $(value QUERY)
unexport QUERY

# Another Spark or Python that the user's shell points to is not the one in .venv.
unexport SPARK_HOME SPARK_CONF_DIR PYSPARK_PYTHON PYSPARK_DRIVER_PYTHON PYSPARK_SUBMIT_ARGS PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help setup run analyse bench-fleet bench-fev bench-global bench-gpu test sql cluster lint wheel pins clean distclean environment bench-spatial bench-features

help: ## this list
	@echo 'make COMMAND [CONFIG=conf/DATASET.yaml] [ARGS="--as-of 2024-05-31 --set dotted.key=value"]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: environment ## the whole pipeline: raw files to forecasts and report (CONFIG=, ARGS=)
	@$(BIN)/spark-submit jobs/pipeline.py --config '$(CONFIG)' $(ARGS)

analyse: environment ## tests of every region and of the map, after a run: diagnostics and their page (CONFIG=, ARGS=)
	@$(BIN)/spark-submit jobs/analyse.py --config '$(CONFIG)' $(ARGS)

test: environment ## all tests (PYTEST_ARGS="-k name", or -m "not slow")
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

sql: environment ## a SQL prompt over the tables, or one answer (CONFIG=, QUERY="select ...")
	@$(BIN)/python jobs/sql.py --config '$(CONFIG)' $(ARGS)

bench-fleet: environment ## speed and accuracy of the fleet beside statsforecast and Fugue (ARGS=--short: minutes)
	@$(BIN)/python -m bench.fleet $(ARGS)

bench-fev: environment ## accuracy in fev-bench's protocol beside published figures (TASK=bench/fev/NAME.yaml)
	@$(BIN)/python -m bench.fev --config '$(TASK)'

cluster: environment ## the same on a standalone cluster of two workers here, compared with a local run (CONFIG=, ARGS=)
	@$(BIN)/python -I scripts/cluster --config '$(CONFIG)' $(ARGS)

bench-spatial: environment ## what knowing the neighbours brings, on simulated panels (two minutes, without Spark)
	@$(BIN)/python -m bench.spatial $(ARGS)

bench-features: environment ## events to region_day beside DuckDB and Polars; nine minutes (ARGS=--short: two)
	@$(BIN)/python bench/features_table $(ARGS)

bench-global: environment ## figures of the global models: Los-loop, spill-over, ablations, speed (ARGS=--quick)
	@$(BIN)/python -m bench.global_models $(ARGS)

bench-gpu: environment ## what a GPU brings the networks: speed, memory, is it right (ARGS="OUT.json --only checks")
	@$(BIN)/python -m bench.gpu $(ARGS)

lint: environment ## ruff, and mypy strict on stspark
	@$(BIN)/ruff check .
	@$(BIN)/mypy

wheel: environment ## the package as dist/stspark-VERSION-py3-none-any.whl, for spark-submit --py-files
	@rm -rf build dist
	@$(BIN)/python -I -m pip wheel -q --no-deps --no-build-isolation --disable-pip-version-check -w dist .
	@rm -rf build
	@ls dist/*.whl

setup: environment ## only make the environment: .venv and the Delta jars (PYTHON=/path/to/python3.11)
	@echo 'ready: $(BIN)/spark-submit'

environment:
	@sh scripts/setup.sh

pins: environment ## after a change in setup.py: write what is installed to constraints.txt
	@{ sed '/^#/!d' constraints.txt; $(BIN)/python -I -m pip list --format=freeze --exclude-editable --exclude pip \
	  | sed -E '/^(cuda|nvidia|triton)/s/$$/ ; sys_platform == "linux"/'; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## remove what runs and tests made: tables, reports, simulated data, MLflow's store, caches
	rm -rf warehouse reports simulated mlruns mlartifacts mlflow.db* spark-warehouse metastore_db derby.log .cluster
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find jobs stspark tests scripts bench -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## clean, and remove the environment and the kept jars
	rm -rf .venv .jars *.egg-info
