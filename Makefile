# Two commands on a fresh machine: `make run` shows a lesson, `make test` runs the tests.
# They need Python 3.11 or later; `make PYTHON=python3.13 test` chooses another one.

PYTHON = python3
BIN = .venv/bin
PYTEST = $(BIN)/python -m pytest -n auto
SPHINX = $(BIN)/python -m sphinx -W -c docs

.PHONY: run test test-all test-processors test-avx2 test-sse lint format docs translations thumbnails install install-test install-docs clean

run: install
	$(BIN)/python examples/linear_regression_case1.py

test: install-test # minutes
	$(PYTEST) -m "not slow"

test-all: install-test install-docs # everything
	$(PYTEST)

# The quick tests, as if on other processors, whose rounding differs.
test-processors: test-avx2 test-sse

test-avx2: CPU = ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
	ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell
test-sse: CPU = ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
	ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem
test-avx2 test-sse: install-test
	$(CPU) $(PYTEST) -m "not slow" $(TESTS)

lint: install-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: install-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The gallery, in docs/_build/html, made from clean: the cache of Sphinx-Gallery would
# not see a change of examples/common.py.
docs: install-docs docs/_build/tex-svg.js
	rm -rf docs/_build/source docs/_build/html
	mkdir docs/_build/source
	$(SPHINX) -d docs/_build/source/.doctrees docs/_build/source docs/_build/html
	$(SPHINX) -d docs/_build/source/.doctrees-zh -t zh -D language=zh_CN \
		docs/_build/source docs/_build/html/zh # runs no lesson again

# MathJax, the one file of it that a page needs to draw formulas offline; and axe, by
# which a test judges whether everybody can use the pages.
docs/_build/tex-svg.js:
	mkdir -p docs/_build
	cd docs/_build && tar -xzf $$(npm pack --silent mathjax@3) \
		--strip-components=2 package/es5/tex-svg.js
docs/_build/axe.min.js:
	mkdir -p docs/_build
	cd docs/_build && tar -xzf $$(npm pack --silent axe-core@4) \
		--strip-components=1 package/axe.min.js

# Brings the Chinese catalogue in step with the English pages, and lists what is missing.
translations: install-docs
	$(BIN)/python docs/translate.py

thumbnails: # the images of README and index: a new lesson has none, and docs warns
	-$(MAKE) docs
	$(BIN)/python docs/make_thumbnails.py

install: .venv/run
install-test: .venv/test
install-docs: .venv/docs

.venv/run: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"error: Python 3.11 or later is needed; try make PYTHON=python3.13")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

# The extras of pyproject.toml, each on top of the run-time dependencies.
.venv/test .venv/docs: .venv/%: .venv/run pyproject.toml
	$(BIN)/python -m pip install -e ".[$*]"
	touch $@

clean:
	rm -rf .venv outputs docs/_build
