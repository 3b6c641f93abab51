# Thin: every target makes .venv itself when there is none. PYTHON picks the interpreter (3.11 or later).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all handouts bench lint picture clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": call make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch .venv/ready

demo: .venv/ready
	$(BIN)/course demo

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadscope --max-worker-restart 1

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist loadscope --max-worker-restart 1 -m ''

handouts: .venv/ready
	$(BIN)/course handouts

# The table of README: a class graded by `course grade` and, a part of it, by nbgrader itself.
bench: .venv/ready
	$(BIN)/python benchmarks/grading.py --students 24 --json build/grading.json

# The picture of README, with Debian's chromium.
picture: demo
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,1000 \
	  --user-data-dir=build/chromium --screenshot=docs/class-report.png file://$(CURDIR)/build/demo/report/hw1.html

clean:
	rm -rf build .venv
