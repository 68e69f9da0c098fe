# Needs Python 3.10-3.13, pip and make; everything else goes into .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install test demo lint clean

help:
	@echo "make install   create $(VENV) and install rs4d with its test tools"
	@echo "make test      lint and test (installs first if need be)"
	@echo "make demo      distil, fine-tune and score a small model on generated scenes"
	@echo "make lint      ruff and mypy"
	@echo "make clean     remove $(VENV) and caches; data/ and work_dirs/ stay"

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v < (3, 14) else "rs4d needs Python 3.10 to 3.13, but $(PYTHON) is %d.%d. Choose another one: make PYTHON=python3.12 install" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(STAMP)

test: $(STAMP) lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(STAMP)
	$(BIN)/python tools/demo.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
