# `make demo` and `make test` do all the set-up; the rest is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := tests/contract/node

.PHONY: demo serve test lint fuzz bench docs constraints clean

demo: $(VENV)/installed
	$(BIN)/regard models fetch
	$(BIN)/regard demo --out out

serve: $(VENV)/installed
	$(BIN)/regard models fetch
	$(BIN)/regard init --purpose photo-search || true
	$(BIN)/regard serve

test: $(VENV)/installed $(NODE)/node_modules
	$(BIN)/regard models fetch
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What nobody has tried yet, so many minutes of each kind.
MINUTES ?= 1
fuzz: $(VENV)/installed
	$(BIN)/regard models fetch
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

# All of them take some three hours; ONLY="serving video" is less.
bench: $(VENV)/installed
	$(BIN)/regard models fetch
	$(BIN)/python -m benchmarks $(ONLY)

docs: $(VENV)/installed
	$(BIN)/python docs/generate.py

constraints:
	$(BIN)/pip install --quiet --upgrade --upgrade-strategy eager --editable . --group dev
	$(BIN)/pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf $(VENV) $(NODE)/node_modules out

# The versions that the tests have passed with; `make constraints` takes newer ones.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --editable . --group dev --constraint constraints.txt
	touch $@

# The npm that comes as a wheel with the development dependencies, so that no Node.js needs to be here.
$(NODE)/node_modules: $(VENV)/installed $(NODE)/package-lock.json
	cd $(NODE) && $(CURDIR)/$(BIN)/npm ci --silent --no-audit --no-fund
	touch $@
