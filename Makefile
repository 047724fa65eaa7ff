# Every target sets itself up. A machine needs make and Python >= 3.11; all that is installed goes to .venv in this folder.

VENV := .venv
BIN := $(VENV)/bin
# Compiling every installed file costs more than it saves: Python compiles those that are used.
# The versions are those that CI ran with; `make setup LOCK=` takes the newest that pyproject.toml allows.
LOCK := --constraint .ci/constraints.txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile $(LOCK)

.NOTPARALLEL:
.PHONY: help demo test quick soak lint docs setup lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The demo plans its time from here, so that set-up counts. With := the clock starts before any recipe runs.
demo: export MMGEN_DEMO_STARTED := $(shell date +%s)
demo: $(VENV)/.ready-run ## train on real digits, sample in every mode, write runs/demo/index.html
	$(BIN)/mmgen demo

test: $(VENV)/.ready-dev ## all tests; ARGS="-k mask" picks some
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS) tests

quick: $(VENV)/.ready-dev ## the tests that neither train nor start programs, for the inner loop
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -q -m "not slow" --durations=10 $(ARGS) tests

soak: $(VENV)/.ready-dev ## 180 faults of runs, 25 times the examples of the fuzz tests: takes about half an hour
	OMP_NUM_THREADS=1 MMGEN_KILLS=30 MMGEN_FUZZ=25 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS) tests/soak tests/fuzz tests/store/test_weights.py

lint: $(VENV)/.ready-dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.ready-dev ## the site of the documents, into site/; needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

setup: $(VENV)/.ready-dev ## install mmgen with all that its development needs

lock: $(VENV)/.ready-dev ## write the versions of .venv down for everyone: make clean, make setup LOCK=, make test, make lock
	$(BIN)/python -m pip freeze --exclude-editable > .ci/constraints.txt

clean: ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist site
	find . -path ./runs -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps, renewed when pyproject.toml or the versions change. The larger set holds the smaller one, so that it counts for both.
$(VENV)/.ready-run: pyproject.toml .ci/constraints.txt | $(VENV)/.created
	@echo "mmgen: installing into $(VENV) (PyTorch is large: the first time takes some minutes)"
	@echo "mmgen: some packages have licences of their own, as ale-py (GPL-2.0) and eSpeak NG (GPL-3.0): see Licence in README.md"
	@$(INSTALL) -e '.[data,motion,recogniser,speech,video]'
	@touch $@

$(VENV)/.ready-dev: pyproject.toml .ci/constraints.txt | $(VENV)/.created
	@echo "mmgen: installing into $(VENV), with what tests and linting need (the first time takes some minutes)"
	@$(INSTALL) -e '.[codecs,data,dev,docs,eval,motion,recogniser,serve,speech,speech-eval,stream,video]'
	@$(INSTALL) --no-deps Resemblyzer
	@touch $@ $(VENV)/.ready-run

# The first Python that runs, is new enough, and can make virtual environments (Debian ships venv as a package of its own).
$(VENV)/.created:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "mmgen: making $(VENV) with $$($$python --version)"; \
			$$python -m venv $(VENV) && touch $@ && exit 0 || exit 1; \
		fi; \
	done; \
	echo "mmgen: no Python >= 3.11 with the venv module found; install one (on Debian: python3 and python3-venv)," \
		"or name one with 'make PYTHON=/path/to/python'" >&2; \
	exit 1
