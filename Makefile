# make demo, make page, make test: nothing else is needed on a machine with Python 3.11 to 3.13 and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo page test slow soak lint format docs clean

demo: $(VENV)/installed-demo
	$(BIN)/python launch/run.py --config=launch/configs/earth.py --workdir=runs/earth
	@echo "To answer the questions yourself: $(BIN)/anneal-jax bluemarble"

# What launch/annotate.py needs beside the default install; it opens the page.
page: $(VENV)/installed-page

test: $(VENV)/installed-dev lint
	$(BIN)/pytest -n 2 --dist worksteal $(COVERAGE)

slow: $(VENV)/installed-dev
	$(BIN)/pytest -m slow

soak: $(VENV)/installed-dev
	$(BIN)/pytest -m soak
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -r requirements-soak.txt
	$(BIN)/python scripts/mutation.py

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyrefly check

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs:
	PYTHON=$(PYTHON) scripts/docs

clean:
	rm -rf $(VENV) .docs-venv .pytest_cache runs site

$(VENV)/installed: requirements.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "error: Python 3.11 to 3.13 is needed; name one, such as: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/installed-demo: requirements-demo.txt $(VENV)/installed
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -r requirements-demo.txt
	@touch $@

$(VENV)/installed-page: setup.py $(VENV)/installed
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -e '.[serve,hub]'
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -r requirements-dev.txt
	@touch $@
