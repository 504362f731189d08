# The two commands of the README: `make demo` and `make test`. Both install first, once.
PYTHON ?= $(shell command -v python3.12 >/dev/null 2>&1 && python3.12 -V >/dev/null 2>&1 && echo python3.12 || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
INPUT ?=
OUTPUT ?= demo-output

.PHONY: install demo test viewer-test check wheel clean help

help:
	@echo "make install   make .venv and install everything (runtime, training, tests)"
	@echo "make demo      run the whole road on drawn phantoms; make demo INPUT=folder for real films"
	@echo "make test      run the tests"
	@echo "make viewer-test  look at results in OHIF; VIEWER_SCREENSHOTS=folder keeps what was seen"
	@echo "make check     lint, format and type checks"
	@echo "make wheel     build the wheel into dist/"
	@echo "make clean     remove .venv and everything built"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints/train.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else "Python 3.11 or 3.12 is needed, %s is %d.%d; pass PYTHON=python3.11" % (sys.executable, *sys.version_info[:2]))'
	@echo "Installing into $(VENV): about 3 GB to download and 6.5 GB on disk, most of it PyTorch with its CUDA libraries."
	@echo "A runtime without training and CUDA needs 1.5 GB: docs/install.md."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/train.txt --editable '.[train,onnx,dev]'
	@touch $@

demo: install
	$(BIN)/pneumo-monai demo --output $(OUTPUT) $(if $(INPUT),--input $(INPUT))

test: install
	$(BIN)/python -m pytest

viewer-test: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/train.txt --editable '.[viewer]'
	$(BIN)/python -m pytest -m viewer tests/viewer

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: install
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
