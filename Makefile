# `make` lists the targets. Every target prepares what it needs and is safe to repeat.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv/bin
export PATH := $(CURDIR)/$(VENV):$(PATH)
BAKEHOUSE := $(VENV)/bakehouse

# The node that dies in `make run`, and the step after which it does.
KILL_NODE := 1
KILL_AFTER_STEP := 60

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 14

.PHONY: run
run: setup ## the main job: images, a distributed run with a killed node, checks, report
	$(BAKEHOUSE) build cpu-machine cpu-ddp
	$(BAKEHOUSE) run cpu-ddp --kill-node $(KILL_NODE) --kill-after-step $(KILL_AFTER_STEP) --if-changed
	$(BAKEHOUSE) check cpu-machine --if-changed
	$(BAKEHOUSE) check cpu-ddp --if-changed
	@printf '\nThe results are in out/: open out/cpu-ddp/report.html\n'

.PHONY: test
test: setup-test lint ## lint, then every test that fits an ordinary day
	BAKEHOUSE_REQUIRE_DOCKER=1 $(VENV)/pytest . $(PYTEST_OPTIONS)

.PHONY: test-all
test-all: setup-test setup-disk lint ## as test, and what is too slow for every day; writes docs/test-report.md
	mkdir -p out
	status=0; BAKEHOUSE_REQUIRE_DOCKER=1 $(VENV)/pytest . --slow --junit-xml=out/test-all.xml $(PYTEST_OPTIONS) || status=$$?; \
	  $(VENV)/python tests/support/summarise_tests.py out/test-all.xml docs/test-report.md; exit $$status

.PHONY: test-fast
test-fast: setup-test ## only the tests that need neither Docker nor seconds
	$(VENV)/pytest . -m "not docker and not lengthy" $(PYTEST_OPTIONS)

.PHONY: lint
lint: setup-test ## all linters, and that generated files are current
	ruff check .
	ruff format --check --quiet .
	mypy
	yamllint --strict .
	ansible-lint --offline -q
	packer fmt -check packer/
	packer validate -var root=$(CURDIR) "$$($(VENV)/python -m bakehouse.machines .bakehouse/packer)" >/dev/null
	shellcheck bootstrap/*.sh bakehouse/builder/*.sh .ci/run
	hadolint containers/*/Dockerfile
	$(BAKEHOUSE) stack schema --check
	$(VENV)/python -m bakehouse.role_readme --check
	$(VENV)/python -m bakehouse.launch.case_readme --check
	$(BAKEHOUSE) stack check >/dev/null

# `make ami_pcluster_gpu REGION=us-west-2`; AMI_OPTIONS may be any of `bakehouse ami build --help`.
AMI_REGION := $(if $(REGION),--region $(REGION))

.PHONY: ami
ami: setup ## bake all AMIs, one after the other; ami_pcluster_gpu and so on: one of them
	$(BAKEHOUSE) ami build --all $(AMI_REGION) $(AMI_OPTIONS)

ami_%: setup
	$(BAKEHOUSE) ami build $(subst _,-,$(patsubst base,base_gpu,$*)) $(AMI_REGION) $(AMI_OPTIONS)

# `make image IMAGE=pcluster-cpu`; IMAGE_OPTIONS may be any of `bakehouse disk build --help`.
IMAGE := cpu-node

.PHONY: image
image: setup-disk ## a machine image as a disk, qcow2 and raw, booted to prove it: IMAGE=pcluster-cpu
	$(BAKEHOUSE) disk build $(IMAGE) $(IMAGE_OPTIONS)

.PHONY: collection
collection: setup ## pack the roles as an Ansible collection, in out/collection/
	$(VENV)/python -m bakehouse.collection

.PHONY: setup
setup: ## install what `make run` needs, start the Docker engine
	@bootstrap/setup.sh run

.PHONY: setup-test
setup-test: ## install what `make test` needs as well
	@bootstrap/setup.sh test

.PHONY: setup-disk
setup-disk: ## install what `make image` needs as well
	@bootstrap/setup.sh disk

.PHONY: lock
lock: setup-test ## write requirements/*.txt anew, with the newest versions and their digests
	python3 -m venv .bakehouse/lock
	.bakehouse/lock/bin/pip install --quiet pip-tools
	for name in runtime test; do \
	  CUSTOM_COMPILE_COMMAND='make lock' .bakehouse/lock/bin/pip-compile --quiet --upgrade --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --strip-extras \
	    --allow-unsafe --output-file requirements/$$name.txt requirements/$$name.in; \
	done

.PHONY: clean
clean: ## remove results and caches, but no docker images
	rm -rf out .bakehouse .venv .pytest_cache .mypy_cache .ruff_cache *.egg-info
