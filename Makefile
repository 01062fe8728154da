# One entry point. `make demo` and `make test` need Python 3.11+ and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := pyproject.toml constraints.txt

.PHONY: axe phoenix demo test check lint types imports coverage docs e2e bench format clean sdk
.DEFAULT_GOAL := help

help:
	@grep -E '^## ' Makefile | sed 's/^## /  make /'

## demo      see it at work: synthetic tool calls, drawn as traces in the terminal
demo: $(VENV)/.installed
	@$(BIN)/otel-bridge demo

## test      the tests
test: $(VENV)/.test
	$(BIN)/python -m pytest --quiet --numprocesses=auto tests/unit tests/contract tests/integration tests/bench/micro

## check     everything that guards main
check: lint types imports coverage docs

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

## e2e       real processes, real signals, real backends where they are there; faults, deployment files, documentation
e2e: $(VENV)/.test sdk
	$(BIN)/python -m pytest --quiet --numprocesses=3 --ignore=tests/e2e/test_demo_from_nothing.py \
	  tests/e2e tests/faults tests/deploy tests/docs

## demo-from-nothing  docker-compose up of the demo, every image built anew: how long until traces are there
.PHONY: demo-from-nothing
demo-from-nothing: $(VENV)/.test
	$(BIN)/python -m pytest --quiet tests/e2e/test_demo_from_nothing.py

# Both runs keep their data apart, since the second must not replace the first.
coverage: $(VENV)/.dev
	COVERAGE_FILE=.coverage.of_units PYTEST_ADDOPTS="--cov --cov-report= --cov-fail-under=0" $(MAKE) test
	COVERAGE_FILE=.coverage.of_processes PYTEST_ADDOPTS="--cov --cov-report= --cov-fail-under=0" $(MAKE) e2e
	$(MAKE) coverage-report

.PHONY: coverage-report
coverage-report: $(VENV)/.dev
	$(BIN)/coverage combine --keep .coverage.of_units .coverage.of_processes
	$(BIN)/coverage report

## audit     what runs in production: pinned, within the tested ranges, not withdrawn, without known weakness
.PHONY: audit
audit: $(VENV)/.test
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit \
	  && .venv-audit/bin/python -m pip --disable-pip-version-check --quiet install 'pip-audit>=2.7,<3'; } || true
	@$(BIN)/python tests/dependency_audit.py

## docs      the documentation says what the program does
docs: $(VENV)/.test
	$(BIN)/python -m pytest --quiet tests/docs

## bench     speed and memory, as ratios to floors and peers measured in the same run; numbers and plots in bench/; 1 to 2 h
bench: $(VENV)/.test .venv-bench/.installed
	@mkdir -p bench
	$(BIN)/python tests/bench/path.py --json bench/bench.json
	$(BIN)/python tests/bench/drain.py --json bench/bench.json
	$(BIN)/python tests/bench/drain.py --gzip --latency 0 --in-flight 16 --json bench/bench.json
	$(BIN)/python tests/bench/memory.py --json bench/bench.json
	$(BIN)/python tests/bench/exporters.py --json bench/bench.json
	$(BIN)/python -m pytest --quiet -p no:randomly tests/bench/micro --benchmark-enable \
	  -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true \
	  --benchmark-timer=time.process_time --benchmark-columns=min,median,iqr,rounds --benchmark-json=bench/micro.json
	$(BIN)/python tests/bench/results.py bench/micro.json bench/bench.json
	$(BIN)/python tests/bench/freshness.py --quota-only --json bench/bench.json
	$(BIN)/python tests/bench/freshness_real.py --json bench/bench.json
	$(BIN)/python tests/bench/quota.py --json bench/bench.json
	$(BIN)/python tests/bench/instructions.py --json bench/bench.json
	-.venv-bench/bin/python tests/bench/plots.py bench/bench.json bench
	$(BIN)/python tests/bench/instrumentor.py

## bench-scale  one process with 1 to 100 projects and up to a million records; goes on where it was stopped
.PHONY: bench-scale
bench-scale: $(VENV)/.test .venv-bench/.installed
	@mkdir -p bench
	$(BIN)/python tests/bench/scale.py --json bench/bench.json $(SCALE)
	-.venv-bench/bin/python tests/bench/plots.py bench/bench.json bench

## bench-docs  docs/performance.md and its plots from what was measured: bench/bench.json
.PHONY: bench-docs
bench-docs: $(VENV)/.test .venv-bench/.installed
	$(BIN)/python tests/bench/report.py --take bench/bench.json
	.venv-bench/bin/python tests/bench/plots.py docs/performance.json docs/images

## instructions  what each step costs in instructions, compared with what was committed
.PHONY: instructions instructions-baseline
instructions: $(VENV)/.test
	$(BIN)/python tests/bench/instructions.py

instructions-baseline: $(VENV)/.test
	$(BIN)/python tests/bench/instructions.py --write

.venv-bench/.installed: tests/bench/others.txt $(VENV)/bin/python
	@echo "installing what the bridge is compared with …"
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip --disable-pip-version-check --quiet install --requirement $< || echo "not installed"
	@touch $@

## phoenix   a trace store of others, which tests read back from
phoenix: .venv-phoenix/.installed

.venv-phoenix/.installed: tests/e2e/phoenix.txt $(VENV)/bin/python
	@echo "installing Arize Phoenix …"
	@$(PYTHON) -m venv .venv-phoenix
	@.venv-phoenix/bin/python -m pip --disable-pip-version-check --quiet install --requirement $<
	@touch $@

## axe       the rules by which accessibility is audited, which a test runs on the page
axe: .node-axe/.installed

# Without Node, or where it can't be had, the test says that it was skipped.
.node-axe/.installed: tests/axe/package.json
	@mkdir -p .node-axe
	@cp tests/axe/package.json .node-axe/
	@echo "installing axe-core …"
	@npm install --prefix .node-axe --no-package-lock --no-audit --no-fund --silent || echo "not installed"
	@touch $@

## sdk       the vendor's SDKs for Python and TypeScript, which tests run against the emulator
sdk: .venv-sdk/0.30/.installed .venv-sdk/0.20/.installed .node-sdk/.installed

.venv-sdk/%/.installed: tests/sdk/composio-%.txt $(VENV)/bin/python pyproject.toml
	@echo "installing the vendor's Python SDK $* …"
	@$(PYTHON) -m venv .venv-sdk/$*
	@.venv-sdk/$*/bin/python -m pip --disable-pip-version-check --quiet install --no-compile --no-deps --requirement $< --editable .
	@touch $@

# Without Node, or where it can't be had, its tests say that they were skipped.
.node-sdk/.installed: tests/sdk/package.json
	@mkdir -p .node-sdk
	@cp tests/sdk/package.json .node-sdk/
	@echo "installing the vendor's TypeScript SDK …"
	@npm install --prefix .node-sdk --no-package-lock --no-audit --no-fund --silent || echo "not installed"
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	@echo "creating $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	@echo "installing otel-bridge …"
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: $(VENV)/bin/python $(SOURCES)
	@echo "installing otel-bridge and what its tests need …"
	@$(PIP) install --constraint constraints.txt --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.dev: $(VENV)/bin/python $(SOURCES)
	@echo "installing otel-bridge and what its checks need …"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.test $(VENV)/.installed

clean:
	rm -rf $(VENV) bench .venv-audit .venv-bench .venv-sdk .node-sdk .node-axe .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis

## replicas  the fault suite of several replicas with 50 projects and 100,000 records
.PHONY: replicas
replicas: $(VENV)/.test
	OTEL_BRIDGE_REPLICAS_LARGE=1 $(BIN)/python -m pytest --quiet -s tests/faults/test_replicas.py

## soak      the fault suite for longer: MINUTES=30 by default
MINUTES ?= 30
.PHONY: soak
soak: $(VENV)/.test
	OTEL_BRIDGE_SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest --quiet -s tests/faults/test_kills_at_random.py tests/faults/test_outage.py
