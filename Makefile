# Two commands: `make run` and `make test`. Both set up .venv first, if it is not there.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint types bench clean

run: .venv/.run
	$(BIN)/gfp-bench run

test: .venv/.test lint types
	$(BIN)/pytest -q -n 2 --dist worksteal
	$(BIN)/gfp-bench leaderboard --check

lint: .venv/.test
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

types: .venv/.test
	$(BIN)/mypy

bench: .venv/.test
	$(BIN)/pytest tests/benchmarks --benchmark-enable --benchmark-only -m "not gpu" --timeout=0 -p no:cacheprovider --jaxtyping-packages=

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/.run: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch .venv/.run $@

clean:
	rm -rf .venv build dist *.egg-info
