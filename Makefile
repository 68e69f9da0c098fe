# Needs Python 3.10-3.13, pip and make; everything else goes into .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install test test-configs demo lint asan clean

help:
	@echo "make install   create $(VENV) and install rs4d with its test tools"
	@echo "make test      lint and test (installs first if need be)"
	@echo "make test-configs  one iteration and one prediction of every config, minutes"
	@echo "make demo      distil, fine-tune and score a small model on generated scenes"
	@echo "make lint      ruff, mypy and import-linter"
	@echo "make asan      the scan's C++ kernels under sanitizers"
	@echo "make clean     remove $(VENV) and caches; data/ and work_dirs/ stay"

install: $(STAMP)

$(STAMP): pyproject.toml setup.py $(wildcard rs4d/ops/cpu/csrc/*)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v < (3, 14) else "rs4d needs Python 3.10 to 3.13, but $(PYTHON) is %d.%d. Choose another one: make PYTHON=python3.12 install" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@# The tests compare with mamba-ssm's own reference; its Python part alone needs no compiler.
	@MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE $(BIN)/python -m pip install --quiet \
		--no-deps --no-build-isolation 'mamba-ssm>=2.3,<3' \
		|| echo 'mamba-ssm could not be installed; the test against its reference will be skipped.'
	@touch $(STAMP)

# Idle OpenMP threads sleep soon: otherwise tests crawl as soon as something else runs.
test: export GOMP_SPINCOUNT ?= 10000
test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Every config of configs/, reduced, on generated data.
test-configs: $(STAMP)
	$(BIN)/python -m pytest tests/configs -m slow_configs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: $(STAMP)
	$(BIN)/python tools/demo.py

# The scan's kernels under AddressSanitizer and UndefinedBehaviorSanitizer; needs g++.
asan: $(STAMP)
	mkdir -p build/asan
	g++ -O1 -g -std=c++17 -fPIC -shared -ffp-contract=fast -fsanitize=address,undefined \
		-fno-sanitize-recover=undefined -fno-omit-frame-pointer -Wno-psabi -pthread \
		rs4d/ops/cpu/csrc/*.cpp -o build/asan/kernels.so
	RS4D_CPU_KERNELS=$(CURDIR)/build/asan/kernels.so ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
		$(BIN)/python -m pytest tests/ops/test_cpu.py tests/ops/test_cpu_mixer.py tests/ops/test_bidirectional.py -p no:cacheprovider

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
