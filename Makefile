# `make demo` and `make test` need python3 (3.11-3.13), make and a package registry; everything else is installed here.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo notebook test test-rest test-all check format lint types notebooks docs cookbook pictures lock bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv from requirements.lock

# uv comes out of the same lock as everything else, so its hash is checked too.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("sip-trunks needs Python 3.11 to 3.13, but $(PYTHON) is %d.%d; name another: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "installing dependencies into $(VENV), about a minute" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@awk '/^uv==/ {on = 1} on {print; if (!/\\$$/) exit}' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
# Where Python may not write bytecode, every command would compile dlt anew: a second and a half each time.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib pipelines transforms > /dev/null 2>&1 || true
	@touch $(READY)

demo: $(READY) ## load the embedded demo account
	@$(BIN)/sip-trunks run --demo

notebook: $(READY) ## explore the stored data in the browser
	@$(BIN)/sip-trunks notebook

# One worker more than there are processors, since some always wait. OPTIONS are pytest's, such as `-k sql` or `-x`.
PYTEST = $(BIN)/pytest -q -n auto --dist worksteal $(OPTIONS)
SMALL := tests/unit tests/integration tests/system/paths

test: $(READY) ## run the fast tests, three minutes
	@$(PYTEST) $(SMALL)

test-rest: $(READY) ## run the slow tests: processes, disks, browsers, servers, extras
	@$(PYTEST) tests $(SMALL:%=--ignore=%)

test-all: test test-rest ## run every test, half an hour

check: $(READY) format lint types docs test ## format, lint, types, documents and fast tests

format: $(READY) ## format the code
	@$(BIN)/ruff format -q .

lint: $(READY) ## check formatting, rules and imports
	@$(BIN)/ruff format -q --check .
	@$(BIN)/ruff check -q .
	@$(BIN)/lint-imports --no-logo

types: $(READY) ## run mypy
	@$(BIN)/mypy

notebooks: $(READY) ## write the notebook for Jupyter, with its output
	@$(BIN)/python -m tests.tools.export_notebook

docs: $(READY) ## write the generated parts of the documents
	@$(BIN)/python -m tests.tools.generated_docs

cookbook: $(READY) ## write the output of the queries in docs/sql.md
	@$(BIN)/python -m tests.tools.cookbook

pictures: $(READY) ## take the pictures of the README again; needs Chromium
	@$(BIN)/python -m tests.tools.pictures

# Without the extra `dagster`: it brings SQLAlchemy, which dlt then imports in every run (0.16 s).
lock: $(READY) ## resolve the dependencies into requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --group dev --extra postgres --extra s3 --extra delta --extra notebook --extra dask \
	  --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --quiet -o requirements.lock

bench: $(READY) ## compare ways to load the trunks; fails if a target is missed; takes an hour
	@$(BIN)/python -m tests.bench

clean: ## remove generated files, except data/
	@rm -rf $(VENV) build dist .import_linter_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find pipelines transforms tests -name __pycache__ -type d -prune -exec rm -rf {} +
