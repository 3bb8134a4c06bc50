# `make demo` shows what the hub does, `make test` proves it. Both need Python 3.11 or newer, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
UV = $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(BIN)/uv)
BENCHES := $(patsubst bench/%.py,%,$(filter-out bench/_% bench/report.py,$(wildcard bench/*.py)))

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench venv lock

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: venv ## the whole story against simulators, about a minute (ARGS="--keep" leaves it running)
	@$(BIN)/hub demo $(ARGS)

test: venv ## all tests (ARGS="-k name" chooses)
	$(BIN)/pytest -n 2 $(ARGS)

lint: venv ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv ## lay the code out
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: venv ## every benchmark, one after the other
	@set -e; for name in $(BENCHES); do echo "== $$name"; $(BIN)/python -m bench.$$name $(ARGS); done

venv: $(STAMP) ## the environment in .venv, exactly as locked

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
	  { echo "Making .venv failed (on Debian and Ubuntu: apt install python3-venv)"; rm -rf .venv; exit 1; }
	@uv --version >/dev/null 2>&1 || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## resolve requirements.lock anew from pyproject.toml (needs uv)
	$(UV) pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade --quiet \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --output-file requirements.lock
