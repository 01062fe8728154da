# One entry point. `make demo` and `make test` need Python 3.11+ and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test check lint types imports coverage docs e2e bench format clean
.DEFAULT_GOAL := help

help:
	@grep -E '^## ' Makefile | sed 's/^## /  make /'

## demo      see it at work: synthetic tool calls, drawn as traces in the terminal
demo: $(VENV)/.installed
	@$(BIN)/otel-bridge demo

## test      the tests
test: $(VENV)/.test
	$(BIN)/python -m pytest --quiet tests/unit tests/contract tests/integration

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

## e2e       real processes, real signals, an independent collector
e2e: $(VENV)/.test
	$(BIN)/python -m pytest --quiet tests/e2e

coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	$(BIN)/python -m pytest --quiet --cov --cov-report= --cov-fail-under=0 tests
	rm -f .coverage.*
	$(BIN)/coverage report

## docs      the documentation says what the program does
docs: $(VENV)/.test
	$(BIN)/python -m pytest --quiet tests/docs

## bench     speed and memory, as ratios to a floor measured in the same run
bench: $(VENV)/.test
	$(BIN)/python tests/bench/drain.py

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
	rm -rf $(VENV) .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis

## soak      the fault suite for longer: MINUTES=30 by default
MINUTES ?= 30
.PHONY: soak
soak: $(VENV)/.test
	OTEL_BRIDGE_SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest --quiet -s tests/faults/test_kills_at_random.py tests/faults/test_outage.py
