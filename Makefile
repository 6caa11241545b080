# Two commands do everything: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= python3
VENV ?= .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
INSTALLED := $(VENV)/.installed
DEMO ?= demo

.PHONY: demo test check bench chaos fuzz clean

demo: $(INSTALLED)
	$(BIN)/whichlora demo $(DEMO)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto

check: $(VENV)/.installed-dev
	$(BIN)/ruff check src tests bench tinyworld
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.installed-dev
	for script in bench/*.py; do $(BIN)/python $$script --quick || exit 1; done

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[run]'
	@touch $(INSTALLED)

$(VENV)/.installed-dev: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[run,review,ray,slurm,dev]'
	@touch $(VENV)/.installed-dev

chaos: $(VENV)/.installed-dev
	$(BIN)/python bench/chaos.py

fuzz: $(VENV)/.installed-dev
	$(BIN)/python bench/fuzz.py

clean:
	rm -rf $(VENV) $(DEMO) dist build
