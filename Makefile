# `make demo` and `make test` need python3 (3.11 or newer, with venv) and make; uv is used where it is there.
# Another interpreter: make test PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)

SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: demo test lint types check install format lock clean

# What may be set around us and would install elsewhere, or something else. Indexes, proxies and certificates stay.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH \
	PIP_CONSTRAINT PIP_DRY_RUN PIP_EDITABLE PIP_IGNORE_INSTALLED PIP_NO_BINARY PIP_NO_BUILD_ISOLATION PIP_NO_DEPS \
	PIP_ONLY_BINARY PIP_PREFIX PIP_PYTHON PIP_REQUIRE_HASHES PIP_REQUIREMENT PIP_ROOT PIP_TARGET PIP_UPGRADE PIP_USER \
	UV_BUILD_CONSTRAINT UV_CONSTRAINT UV_NO_BUILD_ISOLATION UV_OVERRIDE UV_PROJECT_ENVIRONMENT UV_PYTHON \
	UV_REQUIRE_HASHES UV_SYSTEM_PYTHON

ifneq ($(UV),)
PIP_INSTALL := "$(UV)" pip install --quiet --python $(BIN)/python
MAKE_VENV := "$(UV)" venv --quiet --clear --python "$$(command -v $(PYTHON))" .venv
else
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check
MAKE_VENV := $(PYTHON) -m venv --clear .venv
endif

NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'

demo: install
	@$(BIN)/openbell demo

test: install
	@$(BIN)/pytest

lint: install
	@$(BIN)/ruff check

types: install
	@$(BIN)/mypy -p openbell
	@$(BIN)/mypy tests

check: lint types test

install: .venv/ready

format: install
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

# An environment that was moved is dead, for its scripts name the old place; and so is one of another interpreter.
PLACE := $(CURDIR) $(PYTHON)
ifneq ($(shell cat .venv/place 2>/dev/null),$(PLACE))
.PHONY: .venv/place
endif

.venv/place:
	@$(PYTHON) $(NEW_ENOUGH) 2>/dev/null || { \
		found=$$($(PYTHON) --version 2>/dev/null); \
		echo "openbell needs Python 3.11 or newer as $(PYTHON); found: $${found:-none}." >&2; \
		echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; exit 1; }
	@echo "Setting up .venv with $$($(PYTHON) --version); this happens once."
	@$(MAKE_VENV)
	@printf '%s\n' "$(PLACE)" > $@

.venv/locked: requirements/lock.txt .venv/place
	@echo "Installing the locked dependencies."
	@$(PIP_INSTALL) --require-hashes -r requirements/lock.txt
	@touch $@

.venv/ready: .venv/locked pyproject.toml
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# Renews the lock after a change in pyproject.toml, keeping the pins that still fit. All of them anew: make lock UPGRADE=1
lock:
	@test -n "$(UV)" || { echo "make lock needs uv: python3 -m pip install uv" >&2; exit 1; }
	@"$(UV)" pip compile --quiet pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
		$(if $(UPGRADE),--upgrade) --output-file requirements/lock.txt

clean:
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
