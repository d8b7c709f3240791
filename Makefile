# make demo: set everything up and run the main job on the embedded data set
# make test: set everything up and pass the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: demo test lint types benchmarks clean

demo: $(READY)
	$(BIN)/fedmetric demo

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# the folders are mapped into one package, so the installed package is what is type-checked
types: $(READY)
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --target $(VENV)/typed --upgrade .
	cd $(VENV)/typed && ../bin/mypy --config-file ../../pyproject.toml -p fedmetric

benchmarks: $(READY)
	$(BIN)/fedmetric benchmarks

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev,ray,benchmarks,sweep,timm,dp]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
