# The whole developer interface: `make` lists the targets. A machine needs Python >= 3.11, git and nothing else.

PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
SNAKEMAKE_VENV ?= .venv-snakemake
SNAKEMAKE := snakemake==9.27.1
DEVICE ?= cpu
BENCH ?=
SECONDS ?= 7200
BIN := $(VENV)/bin
OAKS := sample_data/oaks
# Of what pip says, errors alone: its warnings are about the machine, not about plncli.
INSTALL := -m pip install -qq -c constraints.txt
PIP := $(BIN)/python $(INSTALL)
export PIP_DISABLE_PIP_VERSION_CHECK = 1
unexport PYTHONDONTWRITEBYTECODE  # else each process of the tests compiles program and tests anew: 20 s

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all check bench gpu coverage soak docs docs-output citation workflows format build clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.developer ## Make .venv with the program and all that developing it needs.

demo: $(VENV)/.program ## Fit the oaks sample data, with and without the trees, and write a report of both.
	@echo "1. Fitting the oaks counts without covariates. The first start takes some seconds more than later ones:"
	$(BIN)/plncli fit pln --counts $(OAKS)/counts.csv --exposure $(OAKS)/exposure.csv --out runs/oaks --overwrite
	@echo
	@echo "2. Fitting them by tree:"
	$(BIN)/plncli fit pln --counts $(OAKS)/counts.csv --exposure $(OAKS)/exposure.csv \
		--covariates $(OAKS)/covariates.csv --formula "~ tree" --out runs/oaks-tree --overwrite
	@ls -l runs/oaks-tree
	@echo
	@echo "3. Writing a report of both fits, on one page (up to half a minute):"
	$(BIN)/plncli report runs/oaks-tree runs/oaks --out runs/report.html --overwrite -q
	@echo "The report is in $(CURDIR)/runs/report.html: open it in a browser."
	@echo "The fit at a glance: $(BIN)/plncli show runs/oaks-tree. All that there is: $(BIN)/plncli --help, and docs."

test: $(VENV)/.developer ## Run the tests that take seconds.
	$(BIN)/python -m pytest -n auto

test-all: $(VENV)/.developer ## Run every test, also the slow ones, and those for a GPU where there is one.
	$(BIN)/python -m pytest -n auto -m ""

check: $(VENV)/.developer ## Lint, check formatting and types, run the tests: what must pass before anything lands.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto

bench: $(BENCH_VENV)/.bench ## Time plncli beside other programs (DEVICE=cuda for a GPU, BENCH=--quick for two minutes).
	$(BENCH_VENV)/bin/python -m benchmarks.run --device $(DEVICE) $(BENCH)
	$(BENCH_VENV)/bin/python -m benchmarks.startup

gpu: $(VENV)/.program ## On a machine with a GPU: hold it against the processor, and time large fits (8 minutes at most).
	$(BIN)/python -m benchmarks.gpu --device cuda

coverage: $(VENV)/.developer ## Simulate how often confidence intervals hold the truth (a quarter of an hour on 2 cores).
	$(BIN)/python -m benchmarks.coverage

soak: $(VENV)/.developer ## Kill, interrupt and damage random fits for SECONDS=7200, and compare what they end in.
	$(BIN)/python -m benchmarks.soak --seconds $(SECONDS)

docs: $(VENV)/.docs ## Draw the pictures of docs, and build its pages into docs/_build/html; a broken link fails.
	@echo "Drawing the pictures of the pages, by the commands in them: a minute or two ..."
	$(BIN)/python tests/pages.py --pictures
	$(BIN)/python -m sphinx -q -n -W --keep-going docs docs/_build/html
	@echo "The pages are in docs/_build/html: open index.html in a browser."

docs-output: $(VENV)/.docs ## Run the commands of the pages, and put into them what is printed now: read the difference.
	$(BIN)/python tests/pages.py

citation: $(VENV)/.program ## Write CITATION.cff anew, of plncli/citation.py.
	$(BIN)/python -c 'from plncli import citation; print(citation.cff(), end="")' > CITATION.cff

workflows: $(VENV)/.developer ## Run the examples of Snakemake, in an environment of its own, and of Nextflow where it is.
	test -x $(SNAKEMAKE_VENV)/bin/snakemake || $(PYTHON) -m venv $(SNAKEMAKE_VENV)
	$(SNAKEMAKE_VENV)/bin/python -m pip install -qq '$(SNAKEMAKE)'
	PATH="$$PATH:$(CURDIR)/$(SNAKEMAKE_VENV)/bin" $(BIN)/python -m pytest -m "" tests/test_workflows.py

format: $(VENV)/.developer ## Format the code, and mend what the linter can mend.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/.developer ## Build the wheel and the source archive into dist.
	$(PIP) build
	$(BIN)/python -m build

clean: ## Remove everything that the other targets made.
	rm -rf $(VENV) $(BENCH_VENV) $(SNAKEMAKE_VENV) dist runs docs/_build docs/reference/generated docs/pictures docs/*/pictures .pytest_cache .ruff_cache .mypy_cache .hypothesis

# A target below is made again only when what it depends on has changed.

$(BIN)/python:
	@echo "Making an environment of its own in $(VENV) ..."
	$(PYTHON) -m venv $(VENV)

$(VENV)/.program: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing torch into $(VENV): by far the largest part, which takes minutes the first time ..."
	$(PIP) torch
	@echo "Installing plncli and the rest of what it needs: a minute or two ..."
	$(PIP) -e .
	@touch $@

$(VENV)/.developer: pyproject.toml constraints.txt $(VENV)/.program | $(BIN)/python
	@echo "Installing what tests and checks need: a minute or two ..."
	$(PIP) -e '.[test,lint]'
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt $(VENV)/.program | $(BIN)/python
	@echo "Installing what builds the pages: less than a minute ..."
	$(PIP) -e '.[docs]'
	@touch $@

$(BENCH_VENV)/.bench: pyproject.toml constraints.txt
	@echo "Installing plncli and what it is compared with into $(BENCH_VENV): this takes minutes ..."
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python $(INSTALL) -e '.[bench]'
	@touch $@
