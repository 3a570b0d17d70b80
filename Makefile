# On a fresh clone with Python 3.11, make and a package index: `make search` searches, `make test`
# tests; both set up .venv/ first. Settings that change results are in params.yaml, none is here.
#
#   make search [PROBLEM=name | PROFILE=name] [ARGS="--set search.budget=200"]
#
# A problem is the profile of that name; classification is the default.

PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
ROOMS := spaces hw tasks flows
# Asked for once, CUDA's packages stay until GPU=0.
GPU ?= $(if $(wildcard $(VENV)/.gpu),1)
WITH_GPU := $(if $(filter-out 0,$(GPU)),1)
LOCKS := requirements.lock$(if $(WITH_GPU), requirements-gpu.lock)
RUN_AS := $(or $(PROFILE),$(filter-out classification,$(PROBLEM)))

export PREFECT_HOME := $(CURDIR)/.edgenas/prefect
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := true
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup search repro test test-all docs ui lock clean

help:
	@echo "make search     set up, then the whole pipeline on the default of params.yaml, or with"
	@echo "                PROBLEM=segmentation, detection, text_classification, question_answering"
	@echo "                on theirs; PROFILE=NAME for a profile of your own"
	@echo "make setup      the environment alone; GPU=1 with CUDA's packages for a GPU by NVIDIA"
	@echo "make repro      the same through DVC: only what changed is run again"
	@echo "make test       set up, then linters, types, import contracts, docs and tests"
	@echo "make test-all   with the slow tests"
	@echo "make docs       the documentation with an API reference, in .edgenas/site/"
	@echo "make ui         the Prefect and MLflow pages"
	@echo "make lock       resolve requirements.lock anew (UPGRADE=--upgrade for newer versions)"
	@echo "make clean      take away what tools left behind; keeps .venv/, results and stores"

setup: $(VENV)/.installed .edgenas/.ready
	@$(PY) -m compileall -q $(ROOMS)

search: setup
	@test -z "$(and $(PROBLEM),$(PROFILE))" || { echo "error: PROBLEM or PROFILE must be given, \
	but got both. A profile says its problem." >&2; exit 2; }
	$(PY) -m flows run $(if $(RUN_AS),--profile $(RUN_AS)) $(ARGS)

repro: setup
	dvc repro $(ARGS)

test: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	mkdocs build -q --strict
	pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
		-m "not slow and not device and not compiler and not gpu" $(ARGS)

test-all: setup
	pytest -q -m "not device and not compiler and not gpu" $(ARGS)

docs: setup
	mkdocs build --strict

ui: setup
	@$(PY) -m flows ui

# uv installs in a minute what takes pip many; pip is the way where uv cannot run. Byte code is
# written now: without it every process that imports TensorFlow compiles it again.
ifneq ($(WITH_GPU),$(if $(wildcard $(VENV)/.gpu),1))
.PHONY: $(VENV)/.installed
endif
$(VENV)/.installed: $(LOCKS) .ci/uv
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 must be on PATH, but got none. \
	Name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing $(LOCKS) into $(VENV)/ ..."
	@awk '/^uv==/ {found = 1} found {print} found && !/\\$$/ {exit}' requirements.lock \
		> $(VENV)/uv.txt
	@{ $(PY) -m pip install -q --require-hashes -r $(VENV)/uv.txt \
		&& .ci/uv pip sync -q --compile-bytecode --python $(PY) $(LOCKS); } \
	|| { echo "uv could not; installing with pip, which takes longer ..."; \
		$(PY) -m pip install -q --no-deps --require-hashes $(LOCKS:%=-r %) || exit 1; \
		$(PY) -m compileall -q -j 0 $(VENV)/lib > $(VENV)/compileall.log || true; }
	@$(if $(WITH_GPU),touch,rm -f) $(VENV)/.gpu
	@touch $@

# Both databases are created here, once: half a minute less in the first run, and no two processes
# that race to create one.
.edgenas/.ready: $(VENV)/.installed
	@echo "Creating the databases of Prefect and MLflow in .edgenas/ ..."
	@$(PY) -m flows.server
	@$(PY) -c "from pathlib import Path; from tasks.tracking.tracking_store import prepare_store; \
		print('MLflow database ready in', prepare_store(Path()).folder)"
	@touch $@

# The second lock holds what the first has not.
COMPILE := .ci/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" pyproject.toml
lock: | $(VENV)/.installed
	$(COMPILE) --extra dev $(UPGRADE) -o requirements.lock
	$(COMPILE) --extra dev --extra gpu -c requirements.lock -o $(VENV)/gpu.lock
	{ echo "# By make lock: what GPU=1 installs beside requirements.lock."; \
		awk 'NR == FNR {seen[$$0]; next} /^[^ #]/ {own = !($$0 in seen)} own' \
		requirements.lock $(VENV)/gpu.lock; } > requirements-gpu.lock

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find $(ROOMS) tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
