# Two commands suffice: `make demo` and `make test`. `make help` lists the rest.
VENV := .venv
VENV_DEVICE := .venv-device
VENV_MLFLOW := .venv-mlflow
PY := $(VENV)/bin/python
export YOLO_OFFLINE := true
export PYTHONUNBUFFERED := 1
# Datasets and numeric libraries share two cores with agents; nested thread pools only hurt.
ARGS ?=
ONLY ?=
DATA ?=
MINUTES ?= 30

.DEFAULT_GOAL := help
.PHONY: help setup setup-device setup-mlflow demo demo-real test test-device test-slow faults check bench soak swap-soak test-gpu same-answers docs pins pictures clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## set up .venv (done by itself where needed)

$(VENV)/.ready: pyproject.toml requirements/hub.txt scripts/setup.sh
	@python=$$(scripts/find_python.sh 3.11) && \
	scripts/setup.sh $(VENV) "$$python" requirements/hub.txt hub,sim,dev

setup-device: ## set up .venv-device under Python 3.10, as devices have it
	@if python=$$(scripts/find_python.sh 3.10 10 2>/dev/null); then \
		[ $(VENV_DEVICE)/.ready -nt requirements/device.txt ] || \
		scripts/setup.sh $(VENV_DEVICE) "$$python" requirements/device.txt edge,test; \
	else echo "No Python 3.10 on this machine: the device's tests run under the hub's Python only"; fi

setup-mlflow: $(VENV_MLFLOW)/.ready ## set up .venv-mlflow, the MLflow server that tests mirror to

$(VENV_MLFLOW)/.ready: requirements/mlflow.txt scripts/setup.sh | setup
	@scripts/setup.sh $(VENV_MLFLOW) $(PY) requirements/mlflow.txt

demo: setup ## the whole loop: train, publish, drift, harvest, retrain, recover (ARGS=--fast)
	$(PY) -m simulators demo $(ARGS)

demo-real: setup ## the same with your own images: make demo-real DATA=folder in YOLO layout
	@[ -n "$(DATA)" ] || { echo "Name a folder in YOLO layout: make demo-real DATA=path"; exit 2; }
	$(PY) -m simulators demo-real --data "$(DATA)" $(ARGS)

test: setup setup-device setup-mlflow ## all tests but the slow ones, the device's under Python 3.10 too
	@scripts/system_parts.sh
	@scripts/run_tests.sh $(PY) $(ARGS)
	@$(MAKE) --no-print-directory test-device

test-device: setup-device ## the device's tests under Python 3.10
	@[ ! -x $(VENV_DEVICE)/bin/python ] || \
	$(VENV_DEVICE)/bin/python -m pytest -q -n auto --dist loadfile -m "not slow and not integration" tests/unit/protocol tests/unit/edge_agent

test-slow: setup ## the tests that take minutes: the demo itself, long runs
	@scripts/system_parts.sh
	$(PY) -m pytest -m slow $(ARGS)

faults: setup ## every state of an update x every fault, with agents that are really killed
	@scripts/system_parts.sh
	@$(PY) -m pytest -q tests/integration/edge_agent/test_fault_table.py $(ARGS); passed=$$?; \
	$(PY) -m tests.integration.edge_agent.faults_summary && exit $$passed

check: setup ## lint, formatting, types, import rules, generated documents
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m scripts.documents --check

bench: setup ## measure, write bench.json and docs/benchmarks.md (ONLY=prefix,…)
	$(PY) -m tests.benchmarks "$(ONLY)"

docs: setup ## write the generated parts of docs/ (protocol, state diagrams, pictures)
	$(PY) -m scripts.documents

pictures: demo ## the README's picture, from a run of the demo
	mkdir -p docs/pictures
	cp demo-report/over-time.png docs/pictures/loop.png

pins: setup ## write the pinned versions anew
	$(VENV)/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --extra hub --extra sim --extra dev \
		--no-emit-index-url --no-header --no-annotate --strip-extras pyproject.toml -o requirements/hub.txt
	$(VENV)/bin/uv pip compile -q --upgrade --universal --python-version 3.10 --extra edge --extra test \
		--no-emit-index-url --no-header --no-annotate --strip-extras pyproject.toml -o requirements/device.txt
	sed -n 's/^mlflow-skinny==/mlflow==/p' requirements/hub.txt | \
		$(VENV)/bin/uv pip compile -q --upgrade --universal --python-version 3.11 \
		--no-emit-index-url --no-header --no-annotate - -o requirements/mlflow.txt

soak: setup ## four cameras for MINUTES=30: memory over time, every frame accounted for
	$(PY) -m tests.benchmarks.soak --minutes $(MINUTES) --out soak.json

swap-soak: setup ## two cameras, a swap each 30 s, a broker restart each 60 s, for MINUTES=30
	$(PY) -m tests.benchmarks.swap_soak --minutes $(MINUTES) --out swap-soak.json

test-gpu: setup ## the tests that need an NVIDIA GPU; they say so where there is none
	$(PY) -m pytest tests/gpu $(ARGS)

same-answers: setup ## every CPU backend against Ultralytics on real images, as JSON
	$(PY) -m tests.benchmarks.same_answers

clean: ## remove what was made here: environments, demo data, reports, caches
	rm -rf .demo demo-report demo-real-report $(VENV) $(VENV_DEVICE) $(VENV_MLFLOW) build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench.json soak.json soak.png swap-soak.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
