# `make` alone prints this list.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LAB ?= $(CURDIR)/.lab
JOBS ?= 2
SHELL := /bin/sh
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo demo-net test lint types fast live lab lab-down bench bench-sweep bench-names mutants coverage model packages clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: packages $(BIN)/tashictl lint types ## lint, types, floor plan, fast tests, simulation, live tests
	$(BIN)/pytest -rs -n $(JOBS)

demo: packages $(BIN)/tashictl ## the first evening: three lab hosts, VMs on all of them, nothing left
	@$(BIN)/python -m demo $(DEMO)

demo-net: packages $(BIN)/tashictl ## a good and a deadly change of a host's network: two booted hosts, 3 to 5 minutes
	@$(BIN)/python -m demo networks $(DEMO)

lint: $(BIN)/tashictl ## ruff and the import contracts
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

types: $(BIN)/tashictl ## mypy, strict
	$(BIN)/mypy

fast: $(BIN)/tashictl ## the tests that need nothing
	$(BIN)/pytest -m 'not live'

live: packages $(BIN)/tashictl ## the tests on real hosts, as root on Linux
	$(BIN)/pytest -rs -m live

lab: packages $(BIN)/tashictl ## raise three lab hosts and a cluster; prints the two exports for a shell
	@$(BIN)/python -m tests.live.lab up --dir $(LAB)

lab-down: ## end the lab of `make lab`
	@$(BIN)/python -m tests.live.lab down --dir $(LAB)

bench: packages $(BIN)/tashictl ## the speed figures, as ratios in paired runs
	$(BIN)/python -m bench list create store history

bench-sweep: packages $(BIN)/tashictl ## the speed figures of the sweep; TASHICTL_BENCH_PEERS: ansible, pyinfra
	$(BIN)/python -m bench sweep

bench-names: packages $(BIN)/tashictl ## the speed figures of DNS, DHCP and audit, against the tools that Tashi ran
	$(BIN)/python -m bench names audit

coverage: $(BIN)/tashictl ## branch coverage of the fast tests
	$(BIN)/pytest -m 'not live' --cov --cov-report=term-missing:skip-covered

mutants: $(BIN)/tashictl ## mutation testing of model, planning, execute and store (long)
	$(BIN)/mutmut run; $(BIN)/mutmut results

model: ## check the model of the fencing with spin (1.6 GB of memory)
	@t=$$(mktemp -d) && cd $$t && for v in '' '-DPRUNE -DNOTAFTER' '-DREBUILD'; do \
	  spin -a $$v $(CURDIR)/docs/fencing.pml && cc -O2 -DSAFETY -w -o pan pan.c \
	  && ./pan -m1000000 -w24 | grep 'errors:' && echo "as it should be: $$v" || exit 1; done; rm -rf $$t

packages: ## install the Debian packages of the lab, where apt-get is there
	@sh tests/live/packages.sh

$(BIN)/tashictl: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip 'setuptools>=64' wheel
	$(BIN)/pip install -q -e '.[test,dns,dhcp]'
	@touch $@

clean: ## remove what was built here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
