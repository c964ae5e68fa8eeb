# The newcomer's commands. `make help` lists them; everything lands in .venv, build/ and .slipway/ of this checkout,
# and in the user's cache folder (the engine, downloaded packages).

PYTHON ?= python3
VENV := .venv
UV := $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python
# TORCH=cpu takes torch's ten times smaller CPU build, where its index is reachable. It is not covered by our hashes.
TORCH ?= default
FAILED := { echo "installing failed, as said above. Next: is there a network (a proxy is HTTPS_PROXY, a mirror PIP_INDEX_URL and UV_DEFAULT_INDEX) and space on the disk (10 GB)? Then run make again" >&2; exit 1; }
# Some machines set this. Python would then compile PyTorch's and its exporter's thousands of modules in every process.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup up down test check lock format unit contract e2e clean dev federated litert platforms alicloud image checkov docs

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | expand -t 12

setup: $(VENV)/.ready-$(TORCH) ## environment in .venv with the `slipway` command, and the Pulumi engine
	@$(VENV)/bin/slipway setup

up: setup ## everything: build the models of specs/, start the local AWS, pulumi up, one prediction from each
	@$(VENV)/bin/slipway up

down: ## destroy the local stack and stop what was started
	@if [ -x $(VENV)/bin/slipway ]; then $(VENV)/bin/slipway down; fi

dev: setup $(VENV)/.ready-dev ## setup, and what tests and checks need

federated: setup ## what a federated source is trained with, in an environment of its own, .venv-federated (87 MB)
	@$(VENV)/bin/python -c 'from model_build.sources.federated_environment import make; print(make())'

litert: setup $(VENV)/.ready-litert ## what the pass convert_litert needs besides (0.7 GB)

platforms: setup $(VENV)/.ready-platforms ## what `slipway convert` needs besides for OpenVINO and Core ML (0.2 GB)

alicloud: setup $(VENV)/.ready-alicloud ## what stacks need besides that make buckets of Alibaba Cloud's OSS (72 MB)

test: dev ## every test, end-to-end ones included
	$(VENV)/bin/pytest

unit: dev ## the fast tests alone
	$(VENV)/bin/pytest -m "not contract and not e2e and not live"

contract: dev ## the tests that start servers and the engine
	$(VENV)/bin/pytest -m contract

e2e: dev ## the tests that walk `make up`
	$(VENV)/bin/pytest -m e2e

check: dev ## format, lint, strict types, schema and docs current, import rules
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/slipway schema --check
	$(VENV)/bin/slipway check

format: dev ## rewrite the code in the project's format
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: $(VENV)/.uv ## resolve requirements/*.in again, keeping what fits; UPGRADE=1 takes the newest
	$(VENV)/bin/python requirements/lock.py

checkov: setup build/checkov/.ready ## checkov on what the local stack has (make up first)
	$(VENV)/bin/python -m bench.checkov_state

docs: build/docs/.ready ## the documentation site, in build/site
	@NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --strict
	@echo "build/site/index.html; with its search: python3 -m http.server --directory build/site"

image: setup ## our slim serving image, with docker or podman
	@$(VENV)/bin/slipway image build

clean: down ## remove what was built here (not the user's cache)
	rm -rf build .slipway

# A .venv whose installation was interrupted is made anew: a package may be half there. Downloads are cached.
ifneq ($(wildcard $(VENV)/.installing),)
.PHONY: $(VENV)/.uv
endif
$(VENV)/.uv: requirements/uv.txt
	@echo "· environment in $(VENV)"
	@if [ -e $(VENV)/.installing ]; then rm -rf $(VENV); fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is `$(PYTHON) --version`. Next: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "python -m venv failed. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt || $(FAILED)
	@touch $@

$(VENV)/.ready-default: $(VENV)/.uv requirements/build.txt requirements/torch.txt pyproject.toml
	@touch $(VENV)/.installing
	@echo "· packages (torch is 5 GB with its CUDA parts; TORCH=cpu is smaller, see docs/development.md)"
	@$(UV) --no-deps --require-hashes -r requirements/build.txt -r requirements/torch.txt || $(FAILED)
	@$(UV) --no-deps --no-build-isolation --editable . || $(FAILED)
	@rm -f $(VENV)/.installing && touch $@

$(VENV)/.ready-cpu: $(VENV)/.uv requirements/build.txt requirements/torch.in pyproject.toml
	@touch $(VENV)/.installing
	@echo "· packages, with torch's CPU build"
	@$(UV) --torch-backend=cpu -r requirements/torch.in || $(FAILED)
	@$(UV) --no-deps --require-hashes -r requirements/build.txt || $(FAILED)
	@$(UV) --no-deps --no-build-isolation --editable . || $(FAILED)
	@rm -f $(VENV)/.installing && touch $@ && touch $(VENV)/.ready-default

$(VENV)/.ready-dev: $(VENV)/.ready-$(TORCH) requirements/dev.txt
	@$(UV) --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.ready-litert: $(VENV)/.ready-$(TORCH) requirements/litert.txt
	@$(UV) --no-deps --require-hashes -r requirements/litert.txt
	@touch $@

$(VENV)/.ready-platforms: $(VENV)/.ready-$(TORCH) requirements/platforms.txt
	@$(UV) --no-deps --require-hashes -r requirements/platforms.txt
	@touch $@

$(VENV)/.ready-alicloud: $(VENV)/.ready-$(TORCH) requirements/alicloud.txt
	@$(UV) --no-deps --require-hashes -r requirements/alicloud.txt
	@touch $@

build/checkov/.ready: $(VENV)/.uv requirements/checkov.txt
	@$(VENV)/bin/uv venv --quiet --clear --python $(VENV)/bin/python build/checkov
	@$(VENV)/bin/uv pip install --quiet --python build/checkov/bin/python --no-deps --require-hashes -r requirements/checkov.txt
	@touch $@

build/docs/.ready: $(VENV)/.uv requirements/docs.txt
	@$(VENV)/bin/uv venv --quiet --clear --python $(VENV)/bin/python build/docs
	@$(VENV)/bin/uv pip install --quiet --python build/docs/bin/python --no-deps --require-hashes -r requirements/docs.txt
	@touch $@
