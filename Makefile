# Homeport: everything a person or CI runs. `make` alone prints this help.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
FLEET := bootstrap deploy rollback status prune drain
.PHONY: help ready demo demo-down test test-fast test-pythons test-torch lint bench dist lock lock-check image images push size scan fleet-up fleet-down clean $(FLEET) \
	check-fleet check-switches check-release check-rollback check-registry

# What a person may say. A value is taken letter by letter and travels in the environment: recipes write "$$LIMIT" and never $(LIMIT), so that
# neither make nor the shell acts on what is in it. A name that is not here is refused, since LIMT=bay would roll out to every robot.
SETTINGS := APT ARCH BENCH CHECK DOCTOR FRESH FULL INVENTORY KEEP LIMIT N PLATFORM PYTHON REGISTRY RELEASE RETRY TESTS TO VENV
VENV := .venv
$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(eval TYPED += $(name))))
$(foreach name,LIMIT TO,$(if $(filter environment,$(origin $(name))),$(eval TYPED += $(name))))
$(foreach name,$(filter-out $(SETTINGS),$(TYPED)),$(error $(name)= is not known here. There are: $(SETTINGS)))
$(foreach name,$(TYPED),$(if $(value $(name)),,$(error $(name)= is empty. Leave it out, or give it a value)))
$(foreach name,$(SETTINGS),$(eval override $(name) := $$(value $(name)))$(if $(value $(name)),$(eval export $(name))))

# --option value; with an equals sign where the value begins with a dash, which programs would take for an option of theirs
option = $(if $($2),$1$(if $(filter -%,$(firstword $($2))),=, )"$$$2")
PY := "$$VENV/bin/python"
TOOL := "$$VENV/bin"
READY := ready
BAKE := $(PY) -m images.bake
PLATFORM_OPTION = $(call option,--platform,PLATFORM)
ARCH_OPTION = $(call option,--arch,ARCH)
ROW = $(or $(PLATFORM_OPTION),--platform cpu) $(ARCH_OPTION)

ANSIBLE := ANSIBLE_CONFIG="$$PWD/ansible/ansible.cfg" ANSIBLE_COLLECTIONS_PATH="$$PWD"
PLAY = $(ANSIBLE) $(TOOL)/ansible-playbook $(call option,--inventory,INVENTORY) $(call option,--limit,LIMIT) $(if $(CHECK),--check --diff)

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# Before anything is installed or started, and in the words that were typed: %q shows a value as a shell would take it.
REFUSE := refuse() { printf "error: $$1\n" "$${@:2}" >&2; exit 2; }
DIGEST := ^sha256:[0-9a-f]{64}$$

check-fleet:
	@$(REFUSE); goal='make $(firstword $(filter $(FLEET),$(MAKECMDGOALS)))'; \
	[ -n "$${INVENTORY-}" ] || refuse "INVENTORY is missing: write $$goal INVENTORY=fleet, where fleet is the folder that homeport init fleet made"; \
	[ -e "$$INVENTORY" ] || refuse "INVENTORY=%q: no such file or folder; write the path of your inventory" "$$INVENTORY"; \
	[[ $${LIMIT-all} =~ [^[:space:],:] ]] || refuse "LIMIT=%q: names no robot; leave it out for all of them" "$$LIMIT"

check-switches:
	@$(REFUSE); for name in CHECK DOCTOR FRESH FULL KEEP RETRY; do [[ $${!name-1} = 1 ]] || refuse "$$name=%q: write $$name=1, or leave it out" "$${!name}"; done

check-release:
	@$(REFUSE); [ -n "$${RELEASE-}" ] || refuse "RELEASE is missing: write make deploy RELEASE=sha256:…, the digest that homeport release create printed"; \
	[[ $$RELEASE =~ $(DIGEST) ]] || refuse "RELEASE=%q: expected sha256: and 64 hex characters; give the digest, not a tag" "$$RELEASE"

check-rollback:
	@$(REFUSE); [ -z "$${RELEASE-}" ] || refuse "RELEASE is for make deploy; write make rollback TO=sha256:…, or without TO for the release before"; \
	[[ $${TO-previous} =~ ^(previous|fallback)$$|$(DIGEST) ]] || \
		refuse "TO=%q: expected previous, fallback, or sha256: and 64 hex characters; give the digest, not a tag" "$$TO"

check-registry:
	@$(REFUSE); [ -n "$${REGISTRY-}" ] || refuse "REGISTRY is missing: write make push REGISTRY=registry.example.org[:port]"; \
	[[ $$REGISTRY =~ ^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?$$ ]] || \
		refuse "REGISTRY=%q: expected host[:port], such as registry.example.org:5000, without https:// and without a path" "$$REGISTRY"

# The programs of an environment name its path in their first line, where sh reads these characters; a colon separates paths.
$(READY):
	@$(REFUSE); for file in requirements/dev.txt pyproject.toml requirements/bootstrap.sh; do \
		[ "$$file" -nt "$$VENV/.ready" ] || continue; \
		[[ "$$PWD/$$VENV" != *[:\"\$$\`\\]* ]] || refuse 'no environment can be made in %s: move the checkout to a path without : " $$ ` and \\' "$$PWD/$$VENV"; \
		requirements/bootstrap.sh "$$VENV"; \
		break; \
	done

demo: check-switches $(READY) ## three simulated robots: deploy, cut over, catch a bad release, roll back (page in build/demo; KEEP=1 lets the robots go on)
	@$(PY) -m tests.testbed.hosting $(if $(KEEP),--keep)

demo-down: $(READY) ## end the robots that `make demo KEEP=1` has left running
	@$(PY) -m tests.testbed.hosting --down

test: lint ## lint and all tests (TESTS=path for a part); those with containers are skipped where Docker cannot run
	@requirements/bench.sh || echo "Without these packages the tests that need them are skipped." >&2
	@$(PY) -m $(if $(TESTS),pytest -- "$$TESTS",tests.lanes)

test-fast: lint ## lint, the units that start no program, and a sample of the fault matrix: at most four minutes
	@$(PY) -m tests.lanes --fast

test-pythons: $(READY) ## types, and the tests that need no rig, on the other Pythons from 3.11 to 3.13 that are here; the robot's code on 3.10
	@$(PY) -m tests.pythons

test-torch: $(READY) ## the tests that need PyTorch, ONNX Script or LeRobot, in .venv-torch; says first what it fetches and how large that is
	@$(PY) -m tests.with_torch

# A syntax check has no plan, and so not the group of deploy.yml that is made from it.
lint: $(READY) ## ruff, mypy --strict, shellcheck, hadolint, yamllint, ansible-lint (production)
	@$(TOOL)/ruff check .
	@$(TOOL)/ruff format --check .
	@$(TOOL)/mypy
	@git ls-files -zco --exclude-standard '*.sh' .ci/run | xargs -0 $(TOOL)/shellcheck
	@$(TOOL)/hadolint images/*.Dockerfile
	@git ls-files -zco --exclude-standard '*.yml' '*.yaml' .yamllint '*.ansible-lint' | xargs -0 $(TOOL)/yamllint --strict
	@PATH="$$(cd -- $(TOOL) && pwd):$$PATH" $(ANSIBLE) ANSIBLE_HOST_PATTERN_MISMATCH=warning \
		ansible-lint -q -c ansible/.ansible-lint ansible

bench: check-switches $(READY) ## measure (BENCH=name for one; FULL=1 for the long mode, which goes on where it was interrupted; FRESH=1 anew); one JSON line a bench
	@$(PY) -m tests.bench $(if $(BENCH),"$$BENCH")

dist: $(READY) ## build/dist: the wheel that releases of the row `process` carry, and the agent as one file
	@$(PY) -m hatchling build -t wheel -d build/dist
	@$(PY) -m stack.agent.build --out build/dist/homeport-agent

image: $(READY) ## build the image of PLATFORM=cpu (a row of images/platforms.toml) for ARCH=… (default: this machine's)
	@$(BAKE) build $(ROW)

images: $(READY) ## build every row and arch that is locked; says which it skips
	@$(BAKE) build

push: check-registry $(READY) ## push PLATFORM=… (default: all that is locked) to REGISTRY=host[:port], with index and SBOM; refuses when the lock is stale
	@$(BAKE) push $(call option,--to,REGISTRY) $(PLATFORM_OPTION) $(ARCH_OPTION)

size: $(READY) ## where the bytes of PLATFORM=cpu go
	@$(BAKE) size $(ROW)

scan: $(READY) ## look for known weaknesses in PLATFORM=cpu, with trivy or grype
	@$(BAKE) scan $(ROW)

lock-check: $(READY) ## compare images/lock.json with the mirrors; exit 3 when they differ
	@$(BAKE) lock-check $(PLATFORM_OPTION) $(ARCH_OPTION)

lock: $(READY) ## resolve the lock files anew: Python's, or with PLATFORM=… (ARCH=…, APT=folder) an image's in images/lock.json
ifdef PLATFORM
	@$(BAKE) lock $(PLATFORM_OPTION) $(ARCH_OPTION) $(call option,--apt,APT)
else
	@$(TOOL)/uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
		--extra robot pyproject.toml -o requirements/robot.txt
	@$(TOOL)/uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
		-c requirements/robot.txt --extra unit pyproject.toml -o requirements/unit.txt
	@$(TOOL)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		-c requirements/robot.txt --extra dev pyproject.toml -o requirements/dev.txt
	@$(TOOL)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		-c requirements/robot.txt --extra train pyproject.toml -o requirements/train.txt
	@$(TOOL)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--extra peers pyproject.toml -o requirements/bench.txt
	@cat requirements/unit.txt requirements/train.txt >requirements/lerobot.txt # their versions, where LeRobot takes them
	@$(TOOL)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--override requirements/lerobot.overrides --extra lerobot --extra train --extra unit pyproject.toml -o requirements/lerobot.txt
	@$(BAKE) lock --platform cpu
endif

fleet-up: $(READY) ## start an engine where none runs (as root; said first), N=2 bench robots (containers with systemd, sshd, Docker) and a registry; prints the next commands
	@requirements/bench.sh
	@$(PY) -m tests.testbed.bench up $(or $(call option,--robots,N),--robots 2)

fleet-down: $(READY) ## remove the bench and all that it made
	@$(PY) -m tests.testbed.bench down

bootstrap: check-fleet check-switches $(READY) ## prepare the robots of INVENTORY=… (LIMIT=… for some), or bring their settings up to date; one robot first
	@$(PLAY) ansible/playbooks/bootstrap.yml

deploy: check-fleet check-switches check-release $(READY) ## roll RELEASE=sha256:… over INVENTORY=… (LIMIT=… for some; RETRY=1 where it failed before; CHECK=1 only plans)
	@$(PLAY) ansible/playbooks/deploy.yml -e "homeport_release=$$RELEASE" $(if $(RETRY),-e homeport_retry=true)

rollback: check-fleet check-switches check-rollback $(READY) ## bring every robot of INVENTORY=… (LIMIT=… for some) back to its previous release, or TO=sha256:…, without the network
	@$(PLAY) ansible/playbooks/rollback.yml $(if $(TO),-e "homeport_to=$$TO")

status: check-fleet check-switches $(READY) ## what runs on every robot of INVENTORY=… (LIMIT=… for some; DOCTOR=1 also runs the doctor on all at once)
	@$(PLAY) ansible/playbooks/status.yml $(if $(DOCTOR),-e homeport_doctor=true)

drain: check-fleet check-switches $(READY) ## command zero on every robot of INVENTORY=… (LIMIT=… for some) and wait until each stands; `homeport-agent unhold` on a robot ends that
	@$(PLAY) ansible/playbooks/drain.yml

prune: check-fleet check-switches $(READY) ## remove from every robot of INVENTORY=… (LIMIT=… for some) what it needs no more (CHECK=1 only says what)
	@$(PLAY) ansible/playbooks/prune.yml

clean: ## remove what was built here (the environment stays)
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
