# Homeport: everything a person or CI runs. `make` alone prints this help.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench dist lock lock-check image images push size scan fleet-up fleet-down bootstrap deploy rollback status clean

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
INVENTORY ?= ansible/inventory/example
BENCH ?=
BAKE := $(PY) -m images.bake
PLATFORM_OPTION = $(if $(PLATFORM),--platform $(PLATFORM))
ARCH_OPTION = $(if $(ARCH),--arch $(ARCH))
LIMIT_OPTION = $(if $(LIMIT),--limit $(LIMIT))
TESTS ?= tests/unit tests/integration tests/e2e

# A world-writable checkout makes Ansible ignore ansible.cfg, so its settings travel in the environment.
ANSIBLE := ANSIBLE_CONFIG=$(CURDIR)/ansible/ansible.cfg ANSIBLE_COLLECTIONS_PATH=$(CURDIR) ANSIBLE_LOCALHOST_WARNING=False \
	ANSIBLE_INVENTORY_UNPARSED_WARNING=False $(VENV)/bin/ansible-playbook -i $(INVENTORY)

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements/dev.txt pyproject.toml requirements/bootstrap.sh
	@requirements/bootstrap.sh $(VENV)
	@touch $@

demo: $(READY) ## three simulated robots: deploy, cut over, catch a bad release, roll back (report in build/demo)
	@$(PY) -m tests.testbed.demo

test: lint ## lint and all tests (TESTS=path for a part); those with containers are skipped where Docker cannot run
	@requirements/bench.sh || echo "Without these packages the tests that need them are skipped." >&2
	@$(PY) -m pytest $(TESTS)

lint: $(READY) ## ruff, mypy --strict, shellcheck, hadolint, yamllint, ansible-lint (production)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@git ls-files -co --exclude-standard '*.sh' .ci/run | xargs $(VENV)/bin/shellcheck
	@$(VENV)/bin/hadolint images/*.Dockerfile
	@git ls-files -co --exclude-standard '*.yml' '*.yaml' .yamllint '*.ansible-lint' | xargs $(VENV)/bin/yamllint --strict
	@PATH=$(CURDIR)/$(VENV)/bin:$$PATH ANSIBLE_CONFIG=$(CURDIR)/ansible/ansible.cfg ANSIBLE_COLLECTIONS_PATH=$(CURDIR) \
		ansible-lint -q -c ansible/.ansible-lint ansible

bench: $(READY) ## measure (BENCH=name for one; FULL=1 for the long mode, which goes on where it was interrupted; FRESH=1 anew); one JSON line a bench
	@$(PY) -m tests.bench $(BENCH)

dist: $(READY) ## build/dist: the wheel that releases of the row `process` carry, and the agent as one file
	@$(PY) -m hatchling build -t wheel -d build/dist
	@$(PY) -m stack.agent.build --out build/dist/homeport-agent

image: $(READY) ## build the image of PLATFORM=cpu (a row of images/platforms.toml) for ARCH=… (default: this machine's)
	@$(BAKE) build --platform $(or $(PLATFORM),cpu) $(ARCH_OPTION)

images: $(READY) ## build every row and arch that is locked; says which it skips
	@$(BAKE) build

push: $(READY) ## push PLATFORM=… (default: all that is locked) to REGISTRY=host[:port], with index and SBOM; refuses when the lock is stale
	@$(BAKE) push --to $(REGISTRY) $(PLATFORM_OPTION) $(ARCH_OPTION)

size: $(READY) ## where the bytes of PLATFORM=cpu go
	@$(BAKE) size --platform $(or $(PLATFORM),cpu) $(ARCH_OPTION)

scan: $(READY) ## look for known weaknesses in PLATFORM=cpu, with trivy or grype
	@$(BAKE) scan --platform $(or $(PLATFORM),cpu) $(ARCH_OPTION)

lock-check: $(READY) ## compare images/lock.json with the mirrors; exit 3 when they differ
	@$(BAKE) lock-check $(PLATFORM_OPTION) $(ARCH_OPTION)

lock: $(READY) ## resolve the lock files anew: Python's, or with PLATFORM=… (ARCH=…, APT=folder) an image's in images/lock.json
ifdef PLATFORM
	@$(BAKE) lock $(PLATFORM_OPTION) $(ARCH_OPTION) $(if $(APT),--apt $(APT))
else
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
		--extra robot pyproject.toml -o requirements/robot.txt
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		-c requirements/robot.txt --extra dev pyproject.toml -o requirements/dev.txt
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		-c requirements/robot.txt --extra train pyproject.toml -o requirements/train.txt
	@$(BAKE) lock --platform cpu
endif

fleet-up: $(READY) ## N=2 bench robots (containers with systemd, sshd, Docker) and a registry; prints the next commands
	@requirements/bench.sh
	@$(PY) -m tests.testbed.bench up --robots $(or $(N),2)

fleet-down: $(READY) ## remove the bench and all that it made
	@$(PY) -m tests.testbed.bench down

bootstrap: $(READY) ## prepare the robots of INVENTORY=… (LIMIT=… for some), or bring their settings up to date; one robot first
	@$(ANSIBLE) ansible/playbooks/bootstrap.yml $(LIMIT_OPTION)

deploy: $(READY) ## roll RELEASE=sha256:… over INVENTORY=… (LIMIT=… for some)
	@$(ANSIBLE) ansible/playbooks/deploy.yml -e homeport_release=$(RELEASE) $(LIMIT_OPTION)

rollback: $(READY) ## bring every robot of INVENTORY=… (LIMIT=… for some) back to its previous release, or TO=sha256:…, without the network
	@$(ANSIBLE) ansible/playbooks/rollback.yml $(if $(TO),-e homeport_to=$(TO)) $(LIMIT_OPTION)

status: $(READY) ## what runs on every robot of INVENTORY=… (LIMIT=… for some)
	@$(ANSIBLE) ansible/playbooks/status.yml $(LIMIT_OPTION)

clean: ## remove what was built here (the environment stays)
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
