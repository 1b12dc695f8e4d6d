# scratchLM: `make run` builds a model and measures it, `make test` runs every test. The environment lives in .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run check test soak bench gpu evidence docs

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

run: .venv/.core ## the whole road: from text to a model that answers, in runs/laptop
	$(BIN)/scratchlm run laptop

check: .venv/.dev ## format, lint, types, reference page and guide, each as it should be
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python docs/tables.py --check
	$(BIN)/python -m docs.drawings --check
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs/guide docs/_build

test: .venv/.dev ## every test but the long ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not soak"

soak: .venv/.dev ## the long tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak

bench: .venv/.dev ## speed, and time to the same loss, beside plain PyTorch and others, in 20 minutes; takes NANOGPT=FOLDER and TEXT=FILE
	GOMP_SPINCOUNT=3000 $(BIN)/python -m benchmarks.throughput $(if $(NANOGPT),--nanogpt $(NANOGPT))
	GOMP_SPINCOUNT=3000 $(BIN)/python -m benchmarks.time_to_loss $(if $(NANOGPT),--nanogpt $(NANOGPT)) $(if $(TEXT),--text $(TEXT))

gpu: .venv/.dev ## whether a GPU computes right, and how fast; needs a CUDA device, NANOGPT=FOLDER joins as above
	$(BIN)/python -m benchmarks.gpu $(if $(NANOGPT),--nanogpt $(NANOGPT))

evidence: .venv/.dev ## the runs behind the committed results table; takes hours
	$(BIN)/python -m benchmarks.evidence

docs: .venv/.dev ## write the reference page and build the guide into docs/_build
	$(BIN)/python docs/tables.py
	$(BIN)/python -m docs.drawings
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs/guide docs/_build
	@echo "guide: docs/_build/index.html"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "scratchLM needs Python 3.11 or newer. Try: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# A stamp is written when all before it went well, so a second call starts at once, and again after these files change.
.venv/.core: pyproject.toml constraints.txt scripts/torch_for_this_machine.py | $(BIN)/python
	@echo "installing scratchLM into .venv"
	@$(PIP) --upgrade pip
	@$(BIN)/python scripts/torch_for_this_machine.py
	@$(PIP) -e .
	@touch $@

.venv/.dev: .venv/.core
	@echo "installing what tests and documentation need"
	@$(PIP) -e ".[dev,docs]"
	@touch $@
