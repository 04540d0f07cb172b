# Fileroom's commands. Needs Python 3.11 or newer with venv, make, and the ordinary package clients; nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VIEWER := $(VENV)/share/fileroom/viewer
CHARTS := $(VENV)/share/fileroom/charts
PARALLEL := -n auto --maxprocesses 4
# A module of acceptance tests starts servers, and shares them among its tests: modules side by side, two at a time.
MODULES := -n 2 --dist loadfile
# What failed beside others is tried once more, alone and with fresh servers: a test that passes only then is told, and is to be
# mended.
AGAIN := echo "Again, one after another, what has failed:"; $(BIN)/python -m pytest -v --last-failed --last-failed-no-failures none

.PHONY: help up test check bench docs lock format clean

help:
	@echo "make up      set everything up and run Fileroom with demo studies (Ctrl-C stops it)"
	@echo "make test    set up what the tests need, then run every test"
	@echo "make check   format, lint, types, import layers, unit tests"
	@echo "make bench   measure Fileroom beside other systems"
	@echo "make docs    build the handbook as a site in dist/docs"
	@echo "make lock    renew requirements/*.txt from pyproject.toml"

up: $(VENV)/.base
	@$(BIN)/python tools/viewer.py $(VIEWER)
	@$(BIN)/python tools/charts.py $(CHARTS)
	@exec $(BIN)/fileroom serve --demo

test: $(VENV)/.dev
	@$(BIN)/python tools/install_peers.py
	@$(BIN)/python tools/viewer.py $(VIEWER)
	@$(BIN)/python tools/charts.py $(CHARTS)
	@$(BIN)/python -m pytest -q tests/unit --cache-clear $(PARALLEL); unit=$$?; \
	if [ $$unit -eq 1 ]; then $(AGAIN) tests/unit; unit=$$?; fi; \
	$(BIN)/python -m pytest -q tests/acceptance --cache-clear $(MODULES); acceptance=$$?; \
	if [ $$acceptance -eq 1 ]; then $(AGAIN) tests/acceptance; acceptance=$$?; fi; \
	exit $$((unit + acceptance))

check: $(VENV)/.dev
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/unit $(PARALLEL)

bench: $(VENV)/.dev
	@$(BIN)/python tools/install_peers.py
	@$(BIN)/python tools/viewer.py $(VIEWER)
	$(BIN)/python -m benchmarks

format: $(VENV)/.dev
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix .
	$(BIN)/python tools/conformance.py

docs: $(VENV)/.base
	$(BIN)/python tools/docs_site.py dist/docs

lock:
	$(PYTHON) tools/lock.py

# The locked packages, then Fileroom itself in place. With uv where there is one, else with pip.
$(VENV)/.base: requirements/base.txt pyproject.toml
	@$(PYTHON) tools/set_up.py $(VENV) requirements/base.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml
	@$(PYTHON) tools/set_up.py $(VENV) requirements/dev.txt
	@touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
