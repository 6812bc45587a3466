SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3.11
SCALE ?= tiny
VENV ?= .venv
WORKERS ?= 2
STAMP := $(VENV)/.installed

# Nothing is fetched from the Hub unless you say so: HF_HUB_OFFLINE=0 make reproduce SCALE=paper
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help install lab test stress smoke quick reproduce base lint format clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## a virtual environment in .venv with the exact versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	  || { echo "$(PYTHON) is not Python 3.11 or 3.12: make install PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,lab]'
	@touch $@

lab: $(STAMP)  ## JupyterLab with the notebooks (the .py files open as notebooks)
	$(VENV)/bin/jupyter lab notebooks

test: $(STAMP)  ## all tests, the smoke run of every notebook among them (WORKERS=2 at once)
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

stress: $(STAMP)  ## kills, damage, fuzz and power cuts (as root), about an hour: tests/stress/
	$(VENV)/bin/python -m pytest -s --timeout 0 tests/stress/*.py

smoke: $(STAMP)  ## every notebook with a very small model, in minutes
	$(VENV)/bin/python -m remem reproduce --scale smoke

quick: $(STAMP)  ## every table and figure from fewer runs, in about half an hour
	$(VENV)/bin/python -m remem reproduce --scale quick

reproduce: $(STAMP)  ## every table and figure (SCALE=tiny, or quick, smoke, paper)
	$(VENV)/bin/python -m remem reproduce --scale $(SCALE)

base: $(STAMP)  ## the tiny base models, trained from nothing and compared with the repository's
	$(VENV)/bin/python -m remem base

lint: $(STAMP)  ## style, layout and types: ruff and basedpyright
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m basedpyright --pythonpath $(VENV)/bin/python

format: $(STAMP)  ## lay out the code as `make lint` wants it
	$(VENV)/bin/python -m ruff check --fix .
	$(VENV)/bin/python -m ruff format .

clean:  ## remove the environment and caches; outputs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
