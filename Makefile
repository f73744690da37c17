# make alone lists what there is. Needs nothing but make and a Python >= 3.12.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench pins clean

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
PINS  := requirements/build.txt requirements/uv.txt requirements/dev.txt

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything, pinned by hash, into .venv

# uv where there is one, else uv by hash into the project's own environment (a venv made by uv has no pip).
# Compiled here and now: with PYTHONDONTWRITEBYTECODE=1, as in many containers, every start would compile pandas anew.
$(STAMP): pyproject.toml $(PINS)
	@set -eu; \
	python=""; \
	for candidate in "$${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then python=$$(command -v "$$candidate"); break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "error: no Python 3.12 or newer found; install one, or name it: make setup PYTHON=/path/to/python3" >&2; exit 2; fi; \
	export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1; \
	if command -v uv >/dev/null 2>&1; then \
	  uv=$$(command -v uv); "$$uv" venv --quiet --clear --python "$$python" $(VENV); \
	else \
	  "$$python" -m venv --clear $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt; \
	  uv=$(BIN)/uv; \
	fi; \
	echo "Installing into $(VENV) with $$("$$uv" --version)"; \
	"$$uv" pip install --quiet --python $(BIN)/python --require-hashes -r requirements/build.txt; \
	"$$uv" pip install --quiet --python $(BIN)/python --require-hashes --no-build-isolation --compile-bytecode -r requirements/dev.txt; \
	"$$uv" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	$(BIN)/python -m compileall -q analysis; \
	touch $(STAMP)

demo: setup ## mock shop, recorder, real clients, analysis, HTML report, replay of the bug
	@$(BIN)/python docs/demo/run.py

test: setup ## the whole test suite
	@$(BIN)/pytest -n 2 --dist loadscope

lint: setup ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup ## benchmarks against peers, side by side in one run
	@$(BIN)/python bench/run.py

pins: ## compile the pinned requirements anew (needs uv)
	@for name in build uv; do uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.12 requirements/$$name.in -o requirements/$$name.txt; done
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.12 pyproject.toml --extra dev -o requirements/dev.txt

clean: ## remove what setup, tests and the demo made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-report
