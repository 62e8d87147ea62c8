# `make` alone lists the targets. Works with GNU make 3.81 (macOS) and later.

PYTHON  ?= python3
# Options for the command or for pytest: make quickstart ARGS="--minutes 5"   make test ARGS="-k attention"
ARGS    ?=
# More options for pip; `make help` shows an example.
PIP_EXTRA ?=
# Where everything is installed, and which extras of setup.cfg. Another folder for another Python: make test PYTHON=python3.13 VENV=.venv-3.13
VENV    ?= .venv
EXTRAS  ?= corpora,pretrained,teach,test,translation
# Tests run in two processes of one thread each. WORKERS=0 runs them in one process, for a debugger.
WORKERS ?= 2

BIN    := $(VENV)/bin
# This file is written when everything is installed. If setup.cfg is newer, there is something new to install.
STAMP  := $(VENV)/installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install quickstart quickstart-zh notebooks notebooks-fast test tests coverage lint types format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  PYTHON=python3.12 picks the Python, ARGS="..." is passed on to the command or to pytest.'
	@echo '  Linux without a graphics card, to leave out the gigabytes of CUDA:'
	@echo '    make install PIP_EXTRA="--extra-index-url https://download.pytorch.org/whl/cpu"'

install: $(STAMP) ## make a virtual environment in .venv with everything that the other targets need

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "minilm needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is not one of them: install one and name it, as in  make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' comes without venv: install that part of it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_EXTRA) -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

quickstart: install ## English: pretrain on film reviews, fine-tune and compare
	$(BIN)/minilm quickstart $(ARGS)

quickstart-zh: install ## Chinese: pretrain on a newspaper, tag names and compare
	$(BIN)/minilm quickstart --language zh $(ARGS)

notebooks: install ## build every notebooks/*.ipynb from its .py, and the index; ARGS="04_attention" builds one
	$(BIN)/python notebooks/build.py $(ARGS)
	$(BIN)/python notebooks/index.py

notebooks-fast: install ## run every notebook at small sizes to see that it works; writes nothing
	$(BIN)/python notebooks/build.py --fast $(ARGS)

test: lint types tests ## lint, types, then all tests

tests: install ## all tests without lint and types; ARGS="tests/layers" runs only those
	$(PYTEST) $(ARGS)

coverage: install ## all tests, and which lines of minilm/ they run: a table, and pages in htmlcov/
	$(PYTEST) --cov --cov-report=term:skip-covered --cov-report=html $(ARGS)

lint: install ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy: the types of minilm/
	$(BIN)/mypy

format: install ## ruff: correct what it can correct by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv and the caches; runs/ stays
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis notebooks/.ipynb_checkpoints
	rm -rf .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
