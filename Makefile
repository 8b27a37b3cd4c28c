PYTHON ?= python3.11
PY := .venvs/default/bin/python
UNIT := tests/kernels tests/precision tests/power_law tests/networks

.PHONY: test test-all setup

test: setup  ## tests that need no Spark
	PYTHONPATH=. $(PY) -m pytest -q $(UNIT)

test-all: setup  ## every test, Spark included
	PYTHONPATH=. $(PY) -m pytest -q tests

setup: .venvs/default/.done

.venvs/default/.done: constraints/default.txt
	$(PYTHON) -m venv .venvs/uv
	.venvs/uv/bin/pip install -q uv
	.venvs/uv/bin/uv venv -q --clear --python $(PYTHON) .venvs/default
	.venvs/uv/bin/uv pip install -q --python $(PY) -r constraints/default.txt
	touch $@
