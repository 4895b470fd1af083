# Two commands on a fresh machine: `make run` shows a lesson, `make test` runs the tests.
# Python 3.11 or later is all they need; `make PYTHON=python3.13 test` takes another one.

PYTHON = python3
BIN = .venv/bin

.PHONY: run test docs thumbnails clean

run: .venv/run
	$(BIN)/python examples/linear_regression_case3.py

test: .venv/test
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

# The gallery, in docs/_build/html, made from clean: the cache of Sphinx-Gallery would
# not see a change of examples/common.py.
docs: .venv/docs docs/_build/tex-svg.js
	rm -rf docs/_build/source docs/_build/html
	mkdir docs/_build/source
	$(BIN)/python -m sphinx -W -c docs -d docs/_build/source/.doctrees \
		docs/_build/source docs/_build/html

# MathJax, the one file of it that a page needs to draw formulas without the net.
docs/_build/tex-svg.js:
	mkdir -p docs/_build
	cd docs/_build && tar -xzf $$(npm pack --silent mathjax@3) \
		--strip-components=2 package/es5/tex-svg.js

thumbnails: docs # the README's pictures
	$(BIN)/python docs/make_thumbnails.py

.venv/run: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

# The extras of pyproject.toml, each on top of the run-time dependencies.
.venv/test .venv/docs: .venv/%: .venv/run pyproject.toml
	$(BIN)/python -m pip install -e ".[$*]"
	touch $@

clean:
	rm -rf .venv outputs docs/_build
