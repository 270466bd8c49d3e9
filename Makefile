# mmcourse: `make demo` and `make test` do everything on a fresh machine with Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo book test test-slow lab build check lint clean

help:
	@echo "make demo       install, draw a sheet of prompts, measure it, execute a lesson (out/demo/)"
	@echo "make test       install, run every test"
	@echo "make test-slow  the tests that take minutes"
	@echo "make lab        open JupyterLab on the first lesson"
	@echo "make book       render the book to book/_build/html: lessons, pages that answer, exercises"
	@echo "make build      build the notebooks from their sources"
	@echo "make check      ruff, mypy and the notebooks' check"
	@echo "make clean      remove the environment and all outputs"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or later is needed, this is {v[0]}.{v[1]}. Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/mmcourse demo --out out/demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

book: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/mmcourse book

lab: $(STAMP)
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

build: $(STAMP)
	$(BIN)/mmcourse build

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check mmcourse tests scripts benchmarks
	$(BIN)/mypy
	$(BIN)/mmcourse build --check

clean:
	rm -rf $(VENV) out runs book/_build .pytest_cache .mypy_cache .ruff_cache
