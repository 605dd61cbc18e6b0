# The verbs of the project. `make` alone lists them.
.DEFAULT_GOAL := help
PY := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.tools/bin:$(PATH)
# Where a machine has this set, every process that a test starts compiles all it imports again.
unexport PYTHONDONTWRITEBYTECODE

help:  ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## three simulated sites, Atoll before them, servers in each (ONCE=1 ends by itself, REAL=1 real OpenStack)
	@tools/setup demo
	@$(PY) -m atoll.cli demo $(if $(ONCE),--once) $(if $(REAL),--real)

dev:  ## an environment to work in
	@tools/setup dev
	@echo "Ready: . .venv/bin/activate"

test:  ## unit, wire and scenario tests
	@tools/setup dev
	@$(PY) -m pytest -q -n $(or $(JOBS),2) tests/unit tests/wire tests/scenarios tests/contract

stores:  ## the database and gateways that share one, on SQLite, PostgreSQL and MariaDB (started by the tests)
	@tools/setup dev
	@$(PY) -m pytest -q -n $(or $(JOBS),2) --dist loadfile tests/stores

lint:  ## ruff, mypy --strict, import contracts, file sizes, release notes
	@tools/setup dev
	@ruff check -q . && ruff format -q --check .
	@mypy
	@lint-imports --no-logo | tail -3
	@$(PY) tools/sizes
	@reno -q lint

e2e:  ## the stock clients through Atoll, and outages, on two real OpenStack sites and an older one
	@tools/setup dev
	@$(PY) -m atoll.cli sandbox e2e --older --federated

horizon:  ## Horizon before two real OpenStack sites, in a headless Chromium (root for Debian's chromium)
	@tools/setup dev
	@$(PY) -m atoll.cli sandbox e2e --horizon

federation:  ## Keystone to Keystone between two real Keystones of its own (root for Apache and mod_shib)
	@tools/setup dev
	@$(PY) -m pytest -q tests/federation

tempest:  ## unmodified tempest through Atoll, on two real sites (SERVICES=smoke,compute,volume,network,image,scenario COMPUTES=2)
	@tools/setup dev
	@$(PY) -m atoll.cli sandbox tempest --services $(or $(SERVICES),smoke) --computes $(or $(COMPUTES),1)

functional:  ## openstacksdk's and openstackclient's own functional tests through Atoll, on two real sites (SUITES="sdk cli")
	@tools/setup dev
	@$(PY) -m atoll.cli sandbox functional $(SUITES)

bench:  ## the figures, beside their peers; writes bench/results.json
	@tools/setup dev
	@tools/setup bench
	@$(PY) -m bench

docs:  ## the reference pages that are generated, and a check of every link
	@tools/setup dev
	@$(PY) tools/docs

.PHONY: help demo dev test stores lint e2e horizon federation tempest functional bench docs
