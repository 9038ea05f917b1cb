# The commands of the study; `make` alone prints this list.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
TEACHER ?= smollm2-135m
PROFILE ?= quick
SEED ?= 0
SOURCE ?= package
DATA_DIR ?=
SEEDS ?=
CONTROLS ?=
GRIDS ?=
ROUNDS ?=
MINUTES ?=
ACCEPT_TERMS ?=
PROCESSES ?=
WHERE ?= local
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What renders the book: the environment above where it is there, else a light one without torch.
DOCS_VENV := $(if $(wildcard $(READY)),$(VENV),.venv-docs)
DOCS_BIN := $(DOCS_VENV)/bin
DOCS_READY := $(DOCS_VENV)/.ready
CHECK_PYTHON = $(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"Python 3.11, 3.12 or 3.13 is needed, this is {v[0]}.{v[1]}: set PYTHON=python3.11") if not (3, 11) <= v < (3, 14) else None'
DOCS_PINS = $(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["docs"])'
export DSKD_DATA := $(if $(DATA_DIR),$(abspath $(DATA_DIR)),$(DSKD_DATA))
export DSKD_ACCEPT_TERMS := $(if $(ACCEPT_TERMS),$(ACCEPT_TERMS),$(DSKD_ACCEPT_TERMS))
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help study adopt book pdf release lab test test-all lint clean
help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "make %-10s %s\n", $$1, $$2}'
	@echo "options:  TEACHER=\"$(TEACHER)\" (several with spaces)  PROFILE=$(PROFILE) (smoke, quick, full, paper)  SEED=$(SEED)"
	@echo "          SOURCE=$(SOURCE) (package, hub, files)  DATA_DIR=a folder of upstream files, such as SQuAD 2.0"
	@echo "          SEEDS=training seeds of what is compared  CONTROLS=rewired,own_senses_only (or all, none)"
	@echo "          GRIDS=depth,tuning (or a path) for the page on ablations  ROUNDS=of timing for the page on costs"
	@echo "          each of these four is the profile's where it is not given"
	@echo "          MINUTES=60 takes as much of the profile's budget as fits these, in place of quick's own bound"
	@echo "          PROCESSES=4 lets so many processes share teacher passes and training, one a GPU"
	@echo "          WHERE=local (or slurm, or your own folder in workflow/profiles)"
	@echo "          ACCEPT_TERMS=gemma3-270m says that you accept the terms of that teacher"

$(READY): pyproject.toml
	@$(CHECK_PYTHON)
	@echo "setting up $(VENV) (once; some minutes, up to 6 GB where pip takes a CUDA build of torch)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

.venv-docs/.ready: pyproject.toml
	@$(CHECK_PYTHON)
	@echo "setting up .venv-docs (once; half a minute, 0.5 GB)"
	@test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install --quiet $$($(DOCS_PINS))
	@.venv-docs/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

study: $(READY) ## run the whole study for TEACHER at PROFILE and build the book
	@$(BIN)/python -m dskd_utils.preflight --teacher $(TEACHER) --profile $(PROFILE) --seeds "$(SEEDS)" \
		--controls "$(CONTROLS)" --grids "$(GRIDS)" --rounds "$(ROUNDS)" --processes "$(PROCESSES)" \
		$(if $(MINUTES),--minutes $(MINUTES))
	@mkdir -p runs && flock --nonblock --conflict-exit-code 75 runs/.lock \
		$(BIN)/snakemake --workflow-profile workflow/profiles/$(WHERE) --rerun-incomplete --nolock --quiet rules --keep-going \
		--config teacher="$(TEACHER)" profile=$(PROFILE) seed=$(SEED) source=$(SOURCE) seeds="$(SEEDS)" controls="$(CONTROLS)" \
		grids="$(GRIDS)" rounds="$(ROUNDS)" processes="$(PROCESSES)" \
		|| (test $$? -ne 75 || echo "another 'make study' is at work in this folder: wait for it or stop it" >&2; exit 1)
	@echo "done: open $(abspath _build/html/index.html)"

adopt: $(READY) ## copy the executed notebooks of TEACHER at PROFILE into book/studies and README, to be committed
	@for teacher in $(TEACHER); do $(BIN)/python -m dskd_utils.report.site adopt --teacher $$teacher --profile $(PROFILE); done
	@$(BIN)/python -m dskd_utils.readme

book: $(DOCS_READY) ## render the book from the committed executed notebooks, no compute and no torch
	@$(DOCS_BIN)/jupyter-book build book --path-output . -W -n --keep-going --all --quiet
	@echo "done: open $(abspath _build/html/index.html)"

pdf: book ## print the book to _build/dskd-book.pdf (needs Chromium)
	@$(DOCS_BIN)/python -m dskd_utils.report.publish pdf --out _build/dskd-book.pdf

release: book ## pack the built book as _build/dskd-book.zip; unpacked, it opens from disk
	@$(DOCS_BIN)/python -m dskd_utils.report.publish zip --out _build/dskd-book.zip

lab: $(READY) ## edit the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

# Tests of the book look at it in a browser. Where it can be neither found nor installed they are skipped.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || ! command -v apt-get >/dev/null || test $$(id -u) -ne 0 || { \
		echo "installing chromium and a font for the tests of the book" && apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null || \
		echo "chromium could not be installed: the tests that need it are skipped" >&2; }

PYTEST = $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
test: $(READY) chromium ## run the tests (under 15 minutes on 2 cores)
	@$(PYTEST) -m "not slow"

test-all: $(READY) chromium ## run these and the slow tests
	@$(PYTEST)

lint: $(READY) ## check style and fix what can be fixed
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean: ## remove the environment, all runs and the built book (the cache of downloads stays)
	@rm -rf $(VENV) .venv-docs runs _build .snakemake .pytest_cache .ruff_cache *.egg-info
