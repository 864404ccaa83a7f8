# Everything that can be done here; `make` alone lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
WORKERS ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK = 1

help: ## list what can be done
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("dataswarm needs Python 3.11 or newer; set PYTHON=python3.12, say") if sys.version_info < (3, 11) else 0'
	@echo "making $(VENV) (about a minute the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet 'uv>=0.13,<1'
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

env: $(VENV)/.ready ## make .venv with everything pinned (idempotent; the others call it)

demo: env ## break a real pipeline and watch it being repaired (ARGS="--list" shows the faults)
	@$(BIN)/dataswarm demo $(ARGS)

test: env ## the whole default suite (ARGS="-k name" narrows it; WORKERS=4)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

stories: env ## every fault with every seed, end to end (about ten minutes)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --every-seed tests/stories $(ARGS)

chaos: env ## 10,000 tasks, 100 kills and everything else that breaks (minutes; CHAOS_TASKS, CHAOS_KILLS)
	@CHAOS_TASKS=$${CHAOS_TASKS:-10000} CHAOS_KILLS=$${CHAOS_KILLS:-100} $(BIN)/python -m pytest -s --timeout 1800 tests/chaos/test_queue.py $(ARGS)

properties: env ## the state machines with fifty times the examples, other ones each time
	@PROPERTIES_TIMES=$${PROPERTIES_TIMES:-50} $(BIN)/python -m pytest --timeout 3600 tests/properties $(ARGS)

plans: env ## the guards of query plans with a million rows (minutes)
	@DATASWARM_PLAN_ROWS=$${DATASWARM_PLAN_ROWS:-1000000} $(BIN)/python -m pytest --timeout 1800 tests/plans $(ARGS)

bench: env ## measure against the real peers (ARGS="coordination --quick"; see benchmarks/README.md)
	@$(BIN)/python -m benchmarks $(or $(ARGS),coordination)

check: env ## lint, strict types, import contracts, lock
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: env ## put the code in its one form
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format .

PINNED := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header
# What PyTorch brings for NVIDIA's cards is left out: gigabytes, under a licence of its own (docs/embeddings.md).
LEFT_OUT := cuda-bindings cuda-toolkit nvidia-cudnn-cu13 nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvshmem-cu13 triton

lock: ## pin every dependency by hash into requirements*.lock
	@$(BIN)/uv pip compile $(PINNED) --extra model --extra demo --extra mysql --extra duckdb --extra clickhouse --group dev pyproject.toml -o requirements.lock
	@printf '%s\n' $(LEFT_OUT) | $(BIN)/uv pip compile $(PINNED) --extra local-embeddings --constraint requirements.lock --excludes - pyproject.toml -o requirements-local-embeddings.lock

clean: ## remove .venv and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build *.egg-info

.PHONY: help env demo test stories chaos properties plans bench check format lock clean
