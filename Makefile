# netdyno's own chores. Both `make demo` and `make test` start from nothing but a Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS ?= train,report,dev
DEMO ?= demo

.PHONY: demo test check format links wheel clean

demo: .venv/.installed
	$(BIN)/netdyno demo --out $(DEMO)

test: .venv/.installed check
	$(BIN)/python -m pytest

check: .venv/.installed links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The environment is made anew whenever what it holds changes.
.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

# The import names netdyno.base, netdyno.devices, … as one tree, for mypy and IDEs.
links:
	@mkdir -p .links/netdyno
	@ln -sfn $(CURDIR)/netdyno/* .links/netdyno/
	@ln -sfn $(foreach floor,base devices exporters profiler nas,$(CURDIR)/$(floor)) .links/netdyno/

# The wheel, type-checked and run as a user gets it: without the repository and without torch.
wheel: .venv/.installed
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf .links build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
