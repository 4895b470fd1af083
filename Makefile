# Two commands on a fresh machine: `make run` shows a lesson, `make test` runs the tests.
# Python 3.11 or later is all they need; `make PYTHON=python3.13 test` takes another one.

PYTHON = python3
BIN = .venv/bin

.PHONY: run test clean

run: .venv/run
	$(BIN)/python examples/linear_regression_case3.py

test: .venv/test
	$(BIN)/python -m pytest

.venv/run: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

# The extras of pyproject.toml, each on top of the run-time dependencies.
.venv/test: .venv/%: .venv/run pyproject.toml
	$(BIN)/python -m pip install -e ".[$*]"
	touch $@

clean:
	rm -rf .venv outputs
