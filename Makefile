# The first target lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV   ?= .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# One test more at once than there are cores, at most four: most wait for a server. A file's tests stay together.
BESIDE  = --numprocesses $(shell $(PYTHON) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))') --dist loadfile \
  --no-loadscope-reorder --durations 12
PYTHON ?= $(shell scripts/find-python)
CODE   := src tests benchmarks scripts

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: run
run: $(VENV)/.local ## set up and start the whole platform with a simulated plant
	@exec $(BIN)/millrace up --simulate

.PHONY: test
test: $(VENV)/.dev ## set up and run the tests (under 15 min on 2 cores)
	$(PYTEST) -m "not long" $(BESIDE)

.PHONY: test-long
test-long: $(VENV)/.dev ## only the long runs (PATHS=tests/infra: of these)
	$(PYTEST) -m "long and not account" --timeout 900 $(PATHS)

.PHONY: test-all
test-all: test test-long ## the tests and the long runs

.PHONY: coverage
coverage: $(VENV)/.dev ## the tests with their coverage
	$(PYTEST) -m "not long" --cov --cov-report term --cov-report html

.PHONY: lint
lint: $(VENV)/.dev ## style, import rules
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports --no-cache

.PHONY: types
types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

.PHONY: security
security: $(VENV)/.dev ## bandit over what is shipped
	$(BIN)/bandit --quiet --recursive --severity-level medium --configfile pyproject.toml src \
	  2> >(grep -v 'nosec encountered' >&2 || true)

.PHONY: bench-small
bench-small: $(VENV)/.dev ## the micro benchmarks at a small size, two minutes or so
	$(BIN)/python -m benchmarks.micro.decode
	$(BIN)/python -m benchmarks.micro.frames sources-1000
	$(BIN)/python -m benchmarks.micro.kernels --tags 1000 10000 --rounds 20
	$(BIN)/python -m benchmarks.micro.append
	$(BIN)/python -m benchmarks.micro.archive --minutes 3
	$(BIN)/python -m benchmarks.micro.postgres_sink --seconds 8

.PHONY: scan
scan: $(VENV)/.dev .tools/checkov/.ready ## checkov over every stack of every environment
	$(PYTEST) tests/infra/proofs/test_checkov.py

.PHONY: engines
engines: $(VENV)/.dev .tools/cdktn/.ready ## the program with CDKTN in the place of CDKTF
	$(PYTEST) tests/infra/proofs/test_engines.py --timeout 900

.PHONY: second-emulator
second-emulator: .tools/ministack/.ready ## ministack, without which the tests of roles, functions and edge skip

.PHONY: identity-provider
identity-provider: .tools/canaille/.ready ## Canaille, without which the tests of a sign-in with a real provider skip

.PHONY: go-tools
go-tools: .tools/go/.ready ## actionlint, crane, buildx, without which tests of CI's files and of copied images skip

.PHONY: docs
docs: $(VENV)/.dev ## write the pages again that come out of the code
	$(BIN)/python scripts/document_settings.py > docs/settings.md
	$(BIN)/python scripts/document_requirements.py > docs/requirements.md
	$(BIN)/python scripts/document_environments.py > docs/environments.md
	$(BIN)/python scripts/draw_infrastructure.py > docs/infrastructure.md
	$(BIN)/python scripts/document_api.py > src/millrace_infra/edge/service.json

.PHONY: lock
lock: $(VENV)/.dev ## resolve the dependencies again, hashes included
	scripts/lock

# --- the platform on AWS: make deploy ENV=dev SUFFIX=pr42 ----------------------------------------------------
ENV    ?= dev
SUFFIX ?= $(or $(ENVIRONMENT_SUFFIX),dev)
INFRA   = $(BIN)/python -m millrace_infra $@ --env '$(ENV)' --suffix '$(SUFFIX)'

.PHONY: bootstrap synth preflight plan deploy outputs deployed export-records destroy
bootstrap: $(VENV)/.dev ## AWS: what exists once per account and region; adopts what is there
	@$(INFRA)

synth: $(VENV)/.dev ## AWS: write the Terraform program of ENV under SUFFIX; touches no cloud
	@$(INFRA)

.PHONY: synth-all
synth-all: $(VENV)/.dev ## AWS: the same for every environment there is
	@for file in environments/*.yaml; do \
	  $(BIN)/python -m millrace_infra synth --env "$$(basename "$$file" .yaml)" --suffix '$(SUFFIX)'; \
	done

preflight: $(VENV)/.dev ## AWS: is the account ready, and if not, what to do
	@$(INFRA)

plan: $(VENV)/.dev ## AWS: what a deployment would change
	@$(INFRA)

deploy: $(VENV)/.dev ## AWS: registry, images, platform, migration, traffic, outputs
	@$(INFRA)

outputs: $(VENV)/.dev ## AWS: write cfn-outputs/flat-outputs.json from the state
	@$(INFRA)

deployed: $(VENV)/.dev ## AWS: which commit and images are deployed, name=value
	@$(INFRA)

export-records: $(VENV)/.dev ## AWS: write the archive of SUFFIX with its former versions into the folder TO
	@$(INFRA) --to '$(TO)'

destroy: $(VENV)/.dev ## AWS: remove everything of SUFFIX, and say what is left
	@$(INFRA) $(DESTROY_OPTIONS)

.PHONY: verify-deployed
verify-deployed: $(VENV)/.dev ## AWS: does what was deployed answer and run
	$(PYTEST) tests/account -m account

.PHONY: clean
clean: ## remove what set-up, tests and tools made; the data folder stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: one stamp per lock, so a warm start costs nothing -------------------------------------------
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 to 3.13 is needed, and none was found (PYTHON=… names one)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: requirements/local.txt | $(BIN)/python
	@test $(VENV)/.dev -nt requirements/dev.txt || scripts/install $(VENV) requirements/local.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt | $(BIN)/python
	@scripts/install $(VENV) requirements/dev.txt
	@touch $@

# Tools whose own pins do not go with ours: an environment for each, out of a lock of its own.
.tools/%/.ready: requirements/tools/%.txt | $(BIN)/python
	$(PYTHON) -m venv .tools/$*
	.tools/$*/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r $<
	@touch $@

.tools/go/.ready: requirements/tools/go/go.mod requirements/tools/go/go.sum
	scripts/go-tools .tools/go
	@touch $@
