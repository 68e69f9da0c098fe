# Needs Python 3.10-3.13, pip and make; everything else goes into .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install test test-configs test-study demo gpu-check docs lint asan test-clang test-aarch64 clean

help:
	@echo "make install   create $(VENV) and install rs4d with its test tools"
	@echo "make test      lint and test (installs first if need be)"
	@echo "make test-configs  one iteration and one prediction of every config, minutes"
	@echo "make test-study    the paper's ablation at a tenth of its size, a quarter of an hour"
	@echo "make demo      distil, fine-tune and score a small model on generated scenes"
	@echo "make docs      the documentation as a site, in build/docs/site"
	@echo "make gpu-check  everything that a GPU runs, against the definition and the clock"
	@echo "make lint      ruff, mypy and import-linter"
	@echo "make asan      the C++ kernels under sanitizers"
	@echo "make test-clang, make test-aarch64  the C++ kernels by clang, and on emulated ARM"
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
	@# YAPF, which MMEngine imports, writes a file the first time; of two processes one would read half.
	$(BIN)/python -c 'import yapf'
	@touch $(STAMP)

# One thread for each of the two processes: models of a few channels wait for threads far longer than
# they compute. And where there are more after all, idle ones sleep soon.
test: export OMP_NUM_THREADS ?= 1
test: export GOMP_SPINCOUNT ?= 10000
test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Every config of configs/, reduced, on generated data.
test-configs: $(STAMP)
	$(BIN)/python -m pytest tests/configs -m slow_configs

# Needs SA1B, SSDD and NWPU under RS4D_DATA_ROOT, and two cores.
test-study: $(STAMP)
	RS4D_TEST_STUDY=1 $(BIN)/python -m pytest tests/analysis/studies/test_tenth.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# With its own stamp: the site generator is needed by nobody else.
DOCS_STAMP := $(VENV)/.installed-docs
$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $(DOCS_STAMP)

docs: $(DOCS_STAMP)
	$(BIN)/python tools/build_docs.py

demo: $(STAMP)
	$(BIN)/python tools/demo.py

gpu-check: $(STAMP)
	$(BIN)/rs4d gpu-check

# The kernels by other means than setup.py's, each with the tests of what they compute.
KERNEL_FLAGS := $(shell cat rs4d/ops/cpu/csrc/compile_flags.txt)
KERNEL_SOURCES := rs4d/ops/cpu/csrc/*.cpp
KERNEL_TESTS = $(BIN)/python -m pytest -p no:cacheprovider \
	tests/ops/test_cpu.py tests/ops/test_cpu_mixer.py tests/ops/test_bidirectional.py
# Fails with one sentence if a program is missing: $(call needs,program,Debian's package)
needs = @command -v $(1) >/dev/null || { echo "make $@ needs $(1), which is not here. On Debian and Ubuntu: apt-get install $(2)"; exit 1; }

# Under AddressSanitizer and UndefinedBehaviorSanitizer.
asan: $(STAMP)
	$(call needs,g++,g++)
	mkdir -p build/asan
	g++ -O1 -g -fPIC -shared $(KERNEL_FLAGS) -fsanitize=address,undefined \
		-fno-sanitize-recover=undefined -fno-omit-frame-pointer $(KERNEL_SOURCES) -o build/asan/kernels.so
	RS4D_CPU_KERNELS=$(CURDIR)/build/asan/kernels.so ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" $(KERNEL_TESTS)

test-clang: $(STAMP)
	$(call needs,clang++,clang)
	mkdir -p build/clang
	clang++ -O3 -fPIC -shared -fvisibility=hidden $(KERNEL_FLAGS) $(KERNEL_SOURCES) -o build/clang/kernels.so
	RS4D_CPU_KERNELS=$(CURDIR)/build/clang/kernels.so $(KERNEL_TESTS)

# Cross-compiled and emulated; the emulator is too slow for a test of speed.
test-aarch64: $(STAMP)
	$(call needs,aarch64-linux-gnu-g++,g++-aarch64-linux-gnu)
	$(call needs,qemu-aarch64,qemu-user)
	mkdir -p build/aarch64
	aarch64-linux-gnu-g++ -O3 -static $(KERNEL_FLAGS) $(KERNEL_SOURCES) tests/ops/emulated_kernels.cpp \
		-o build/aarch64/kernels
	RS4D_CPU_KERNELS=$(CURDIR)/build/aarch64/kernels RS4D_EMULATOR=qemu-aarch64 PYTHONPATH=tests/ops \
		$(KERNEL_TESTS) -p emulated_kernels -k 'not throughput'

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
