# What to do with sbcauth; `make` alone lists it.

.PHONY: help setup run run-cluster test test-debian13 test-package check coverage mutants fuzz soak bench deb man lock clean
SHELL := /bin/sh
PYTEST := .venv/bin/pytest
# Where tests on the wire fail, and nothing worse is wrong: those alone, against servers of their own.
ONCE_MORE := { [ $$? = 1 ] && $(PYTEST) --ignore=tests/unit --last-failed --last-failed-no-failures none -rA; }
# Where it is set, each of the thousand commands that the tests run compiles the program anew.
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install what the server needs (Debian packages and .venv)
	@scripts/setup.sh run

run: setup ## run the server on 127.0.0.1:5060 with the sample configuration and a sample user
	@scripts/sample.sh

run-cluster: ## run three nodes that act as one, as docs/cluster.md has them, with their engine
	@scripts/setup.sh test
	@scripts/run_cluster.sh

test: ## install what the tests need, and run them all
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory coverage
	@$(PYTEST) --ignore=tests/unit --reruns 1 -rfER || $(ONCE_MORE)

test-debian13: ## run the tests on Debian 13 too, in a chroot (as root)
	@scripts/debian13.sh

test-package: ## build the Debian package, install and run it, on bare Debians 12 and 13 (as root)
	@scripts/setup.sh test
	@$(PYTEST) tests/package

check: ## lint, formatting and types
	@scripts/setup.sh test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

coverage: ## run the unit tests, and fail where a branch of the core is not taken
	@scripts/setup.sh test
	@$(PYTEST) tests/unit --cov --cov-report=
	@.venv/bin/coverage report --include='sbcauth/digest/*' --skip-covered --fail-under=100
	@.venv/bin/coverage report --include='sbcauth/policy/*' --skip-covered --fail-under=100

mutants: ## change the core in thousands of ways, and fail where the unit tests notice too little (hours)
	@scripts/mutants.sh

fuzz: ## half a million mutated requests, where `make test` sends twenty thousand
	@scripts/setup.sh test
	@SBCAUTH_FUZZ=500000 $(PYTEST) -s tests/e2e/test_fuzz_on_the_wire.py
	@SBCAUTH_ATTACKS=200000 SBCAUTH_ATTACKS_SEED=$$$$ $(PYTEST) -s tests/e2e/test_attacker.py

soak: ## ten minutes of 500 registrations a second, and ten of three nodes of which one dies a minute
	@scripts/setup.sh test
	@SBCAUTH_SOAK=600 $(PYTEST) -s tests/e2e/test_soak.py
	@SBCAUTH_CLUSTER_SOAK=600 $(PYTEST) -s tests/e2e/test_soak_of_nodes.py

bench: ## measure what authentication costs, here and in Kamailio's own modules
	@scripts/setup.sh test
	@.venv/bin/python -m bench

deb: ## build the package for the Debian that this machine runs, build/sbcauth_*.deb
	@scripts/deb.sh

man: ## write the man pages, made from the commands' help, into build/man
	@scripts/setup.sh run
	@.venv/bin/python scripts/man_pages.py build/man

lock: ## lock the Python packages that pyproject.toml asks for: versions and hashes, from PyPI
	@scripts/lock.sh

clean: ## remove what was installed and made here, but no configuration and no user
	rm -rf .venv .venv-mutants .lock .pytest_cache .mypy_cache .ruff_cache .hypothesis build .debian run
