# netdyno's own chores. Both `make demo` and `make test` start from nothing but a Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS ?= train,report,nvidia,android,lab,dev
DEMO ?= demo
SELECT ?= not slow and not sweep
PYTEST_ARGS ?=

FUZZ_SECONDS ?= 60

.PHONY: demo test sweep check format fuzz links wheel wheel-check clean

demo: .venv/.installed
	$(BIN)/netdyno demo --out $(DEMO)

# What computes runs on two cores; what measures, or watches processes by the clock, is marked to have them alone.
test: .venv/.installed check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS) -m "($(SELECT)) and not alone" --numprocesses 2 --dist loadfile
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "($(SELECT)) and alone"

# Every position of what `make test` draws a sample of: damaged files, kills between writes, public models. Hours.
sweep: .venv/.installed links
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m sweep

check: .venv/.installed links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every parser of other people's files for a minute each, on two cores.
fuzz: .venv/.installed
	mkdir -p build/fuzz
	$(BIN)/python fuzz/fuzz.py --list 2>/dev/null | (cd build/fuzz && xargs -P 2 -I TARGET sh -c \
		'../../$(BIN)/python ../../fuzz/fuzz.py TARGET $(FUZZ_SECONDS) >TARGET.log 2>&1 || { cat TARGET.log; exit 255; }')

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

wheel: .venv/.installed
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist .

# The wheel as a user gets it: type-checked, and run without the repository and without torch.
wheel-check: wheel
	rm -rf build/wheel && mkdir -p build/wheel/types
	$(BIN)/python -m zipfile -e dist/*.whl build/wheel/types
	cd build/wheel && MYPYPATH=types ../../$(BIN)/mypy --config-file ../../pyproject.toml --python-executable ../../$(BIN)/python -p netdyno
	$(PYTHON) -m venv build/wheel/core
	build/wheel/core/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd build/wheel && core/bin/netdyno doctor && core/bin/netdyno table list && \
		core/bin/netdyno profile ofa-mobilenetv3:width=0.25,resolutions=48,classes=10 --budget 5s --out table --json >table.json

clean:
	rm -rf .links build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
