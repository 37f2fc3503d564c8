# Every target does its own set-up: a bare clone needs python3 (3.10 or newer, with venv) and a package index.
#   make demo
#   make test ARGS="tests/ops -x"
#   make test CONSTRAINTS=           the newest packages instead of the tested ones
#   make test PYTHON=python3.12 VENV=.venv312

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev,onnx,docs
CONSTRAINTS ?= .ci/constraints.txt
# A file is one process's, since its tests share what they make; tests/conftest.py has their order.
ARGS ?= tests -n 2 --dist loadfile --no-loadscope-reorder

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PINS := $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS),--upgrade --upgrade-strategy eager)
# The name says what was installed, so that another choice of packages is another installation.
comma := ,
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))-$(if $(CONSTRAINTS),pinned,newest)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-cpp test-oldest cpp-tools browser test-faults lint docs bench hashes wheel clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(STAMP) ## create .venv with the project (editable) and all that the targets need

# __init__.py holds the version, which the installed metadata repeats.
$(STAMP): pyproject.toml odtk_ray/__init__.py $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "error: python3 is %d.%d; odtk-ray needs 3.10 or newer: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@echo "Installing into $(VENV): PyTorch and Ray, 6 GB and a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(PINS) hatchling editables setuptools
	$(PIP) install $(PINS) --no-build-isolation --editable '.[$(EXTRAS)]'
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: $(STAMP) ## detect trees on real aerial photographs and draw them, into demo_output/
	$(BIN)/python jobs/demo/run.py

# Two processes with torch's threads for every core would wait for each other.
test test-all test-cpp: export OMP_NUM_THREADS ?= 1

test: $(STAMP) ## run the tests; ARGS="tests/ops -x" for some of them
	$(BIN)/python -m pytest $(ARGS)

test-all: $(STAMP) ## run the long tests too, all runs on Ray, and more examples
	$(BIN)/python -m pytest $(ARGS) --all

test-cpp: $(STAMP) cpp-tools ## test the C++ code in cuda_ops/cpp, on x86_64 and aarch64
	$(BIN)/python -m pytest tests/cpp --cpp -n 2 --dist loadfile

# The code is compiled for Jetsons too, with a cross compiler and the libraries of that architecture.
CPP_TOOLS := cmake ninja-build g++ valgrind g++-aarch64-linux-gnu qemu-user-static \
  libjpeg-dev zlib1g-dev libjpeg-dev:arm64 zlib1g-dev:arm64
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)

cpp-tools: ## install what test-cpp needs, by apt-get, where something is missing
	@[ "$$(dpkg-query -W -f '$${db:Status-Status}\n' $(CPP_TOOLS) 2>/dev/null | grep -cx installed)" = $(words $(CPP_TOOLS)) ] || \
	{ $(SUDO) dpkg --add-architecture arm64 && $(SUDO) apt-get update && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $(CPP_TOOLS); }

# The oldest versions that pyproject.toml allows, on Python 3.10 where it is there, also in pyenv.
OLDEST ?= .venv-oldest
OLDEST_PYTHON ?= $(shell PYENV_VERSION=3.10 python3.10 -c 'import sys; print(sys.executable)' 2>/dev/null || echo $(PYTHON))
OLDEST_TOOLS := 'pytest>=8' 'pytest-timeout>=2.3' 'pytest-xdist>=3.6' 'hypothesis>=6.100' 'shapely>=2.0' 'torchvision>=0.21'
# Each kind of work once: types, pixels, boxes, files, plans, figures, options, both ways to run, an export; and
# what leans on the inside of other packages: Ray's start, tasks, errors and jobs, lines on a terminal.
OLDEST_TESTS := tests/test_options.py tests/test_typed_json.py tests/ops tests/images tests/datasets/test_coco.py \
  tests/evaluation/test_coco_evaluator.py tests/shards/test_merge.py \
  tests/run/test_output_formats.py tests/cli/test_help.py tests/cli/test_screen.py tests/cluster/test_failures.py \
  tests/cluster/test_node_tasks.py tests/cluster/test_private_ray.py tests/jobs/test_submit.py \
  tests/cli/test_infer_local.py tests/cli/test_evaluate.py tests/cli/test_export.py \
  tests/test_readme.py::test_a_new_reader

test-oldest: export OMP_NUM_THREADS ?= 1
test-oldest: ## run some of the tests with the oldest versions of other packages
	$(OLDEST_PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip --disable-pip-version-check install --quiet $(PINS) uv
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct \
	  --editable '.[onnx]' $(OLDEST_TOOLS)
	$(OLDEST)/bin/odtk-ray doctor
	$(OLDEST)/bin/python -m pytest $(OLDEST_TESTS) -n 2 --dist loadfile

browser: ## install Chromium by apt-get, if it is missing: tests look at reports in it
	@command -v chromium >/dev/null || \
	{ $(SUDO) apt-get update && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium; }

test-faults: $(STAMP) ## see that the tests notice mistakes; FAULTS="unsafe-pickle" for some of them
	$(BIN)/python tests/seeded_faults/run.py $(FAULTS)

CPP_FILES = $(shell find cuda_ops/cpp cuda_ops/deepstream tests/cpp -name '*.cpp' -o -name '*.h')

lint: $(STAMP) ## ruff, mypy --strict, contracts between the rooms, clang-format, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_structure.py
	@$(BIN)/clang-format --dry-run --Werror --style=file:cuda_ops/cpp/.clang-format $(CPP_FILES)
	$(BIN)/codespell

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(STAMP) ## build the documentation site, into site/, and check its links
	$(BIN)/mkdocs build
	$(BIN)/python .ci/check_site.py site

bench: ## say how to run the benchmarks
	@echo "The benchmarks are scripts that print a table; each has --help:"
	@for script in startup ray_data overhead memory evaluation json_stream resume scaling tiles mixed_fleet engine endtoend many_gpus; do echo "  $(BIN)/python jobs/bench/$$script.py"; done
	@echo "Run them on an idle machine, after: make setup"

# ARGS has a default, for `make test`, which is not meant here.
hashes: $(STAMP) ## print SHA-256 of what some runs write; ARGS="--compare before.json" after a refactoring
	$(BIN)/python tests/hashes/hash_outputs.py $(if $(filter command,$(firstword $(origin ARGS))),$(ARGS))

wheel: $(STAMP) ## build the wheel and the source distribution, into dist/
	$(BIN)/python -m build --no-isolation

clean: ## remove what the targets made, the virtual environment included
	rm -rf $(VENV) $(OLDEST) demo_output build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
