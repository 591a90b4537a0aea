# The two commands: `make run` does the product's main job, `make test` proves it. Both install what they need into .venv.
.PHONY: run test check bench clean
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.dev
TOOLS := $(VENV)/.tools
DEMO := .farthing/demo.db

run: $(STAMP)  ## import 30 generated days of several agents into a ledger of its own, and print the report
	@mkdir -p .farthing
	@$(BIN)/farthing sample --days 30 --seed 7 --out .farthing/sample.jsonl
	@$(BIN)/farthing --ledger $(DEMO) import .farthing/sample.jsonl && echo
	@$(BIN)/farthing --ledger $(DEMO) report --by agent --since 30d && echo
	@$(BIN)/farthing --ledger $(DEMO)

test: check $(TOOLS)  ## everything: lint, types, the rules of the house, and all tests
	$(BIN)/python -m pytest -n auto --dist loadgroup

check: $(DEV)  ## lint, strict types, tidy
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_tidy.py

bench: $(DEV)  ## every claim of speed and memory, each as a ratio measured in one run
	$(BIN)/python -m benchmarks

# Debian keeps venv in a package of its own: fetched where it is missing and we may.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "farthing needs Python 3.11 or newer; make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { echo "installing python3-venv"; \
	  { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y python3-venv; } \
	  && $(PYTHON) -m venv --clear $(VENV); } || { echo "python3 -m venv failed: install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@$(BIN)/python -m compileall -q src  # an editable install is not compiled, as others are
	@touch $@

# What tests and checks need beside the product itself, the real clients of providers among them.
$(DEV): $(STAMP)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

# Tools that reports are held to: the FinOps Foundation's validator (its libraries go with none of ours, so it lives apart) and
# a browser. Where they cannot be had, their tests skip and say so.
$(TOOLS): | $(DEV)
	@{ $(PYTHON) -m venv $(VENV)/focus && $(VENV)/focus/bin/python -m pip install -q --disable-pip-version-check \
	  'focus-validator==1.0.0' 'multimethod<2'; } || { rm -rf $(VENV)/focus; echo "focus-validator cannot be installed: its test will skip"; }
	@command -v chromium chromium-browser google-chrome >/dev/null || { echo "installing chromium"; \
	  [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
	  || echo "no browser can be installed: the tests that need one will skip"
	@touch $@

clean:
	rm -rf $(VENV) .farthing .mypy_cache .ruff_cache .pytest_cache
