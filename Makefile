# `make demo` and `make test` do all the set-up; the rest is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := tests/contract/node

.PHONY: demo serve test lint bench docs clean

demo: $(VENV)/installed
	$(BIN)/regard models fetch
	$(BIN)/regard demo --out out

serve: $(VENV)/installed
	$(BIN)/regard models fetch
	-$(BIN)/regard init
	$(BIN)/regard serve

test: $(VENV)/installed $(NODE)/node_modules
	$(BIN)/regard models fetch
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/regard models fetch
	$(BIN)/python -m benchmarks

docs: $(VENV)/installed
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) $(NODE)/node_modules out

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --editable . --group dev
	touch $@

# The npm that comes as a wheel with the development dependencies, so that no Node.js needs to be here.
$(NODE)/node_modules: $(VENV)/installed $(NODE)/package-lock.json
	cd $(NODE) && $(CURDIR)/$(BIN)/npm ci --silent --no-audit --no-fund
	touch $@
