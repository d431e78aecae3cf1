# Two commands for a new user: make demo, make test. Everything else is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check format full bench clean

demo: $(STAMP)  ## distil the bundled teacher and open the numbers
	$(BIN)/spiritsafe run

test: $(STAMP)  ## the default test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(STAMP)  ## style, lint, types: the same as pre-commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

full: $(STAMP)  ## the honest long version with every control
	$(BIN)/spiritsafe run recipes/schoolbook-full.yaml

bench: $(STAMP)  ## the figures of docs/measurements.md
	$(BIN)/python benchmarks/collect.py

clean:
	rm -rf $(VENV)

# TORCH=system keeps the torch of $(PYTHON), TORCH=pinned does not; a machine with a GPU keeps it by default.
$(STAMP): pyproject.toml constraints.txt scripts/install.py
	$(PYTHON) scripts/install.py $(VENV) $(if $(TORCH),--torch $(TORCH)) $(if $(TORCH_INDEX),--index $(TORCH_INDEX))
	touch $@
