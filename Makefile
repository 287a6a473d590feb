# Two commands do all the set-up: `make demo` and `make test`. Both make .venv, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Of the tests: one more than cores, for a third of the time they wait for Kafka; four at the most.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(4, 1 + os.cpu_count()))')
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo test test-fast test-all bench site lint types lock check clean help

help:            ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)   ## the main job on this machine: train, convert, run, kill, compare
	@$(BIN)/processor demo

test: $(READY)   ## the tests, against a real Kafka, on all cores; the slowest kinds take turns, by the commit
	@$(PYTEST) --rotate

test-fast: $(READY)  ## what needs no broker and converts no model: under two minutes
	@$(PYTEST) -m "not kafka and not conversions"

test-all: $(READY)  ## all tests, those that take turns, too
	@$(PYTEST)

bench: $(READY)  ## the speed, against the bare Kafka client (about an hour on a quiet machine)
	@$(BIN)/python -m benchmarks

site: $(READY)   ## the pages as a site, in build/docs/site; broken links are errors
	@$(BIN)/python -m docs.site

lint: $(READY)   ## ruff, and the linters of the files beside the code
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/yamllint --strict deploy .github .pre-commit-config.yaml
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml \
		.github/ISSUE_TEMPLATE/model.yml
	@$(BIN)/check-jsonschema --check-metaschema schemas/*.schema.json

types: $(READY)  ## mypy, strict: the package, tests and benchmarks
	@$(BIN)/mypy

check: lint types test  ## what CI runs

lock: $(READY)   ## resolve all versions again, with hashes
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--extra convert --extra trial --group dev --upgrade pyproject.toml -o requirements.lock

clean:           ## remove what was made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

# pip installs uv alone, by the hashes of the lock; uv installs the rest within seconds, and compiles it: otherwise each
# process compiles what it imports, where Python may not write (TensorFlow: 12 s instead of 4).
$(READY): requirements.lock pyproject.toml tests/files-only.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11 to 3.13 is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "Installing into $(VENV) (once; about a minute and 2 GB) ..."
	@$(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --no-deps -r tests/files-only.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
