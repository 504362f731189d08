# The two commands of the README: `make demo` and `make test`. Both install first, once.
PYTHON ?= $(shell command -v python3.12 >/dev/null 2>&1 && python3.12 -V >/dev/null 2>&1 && echo python3.12 || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
INPUT ?=
OUTPUT ?= demo-output

IMAGE ?= pneumo-monai:0.1.0
LOCK ?= constraints/map-cpu.txt

.PHONY: install demo test viewer-test check bench wheel map map-stage map-test lock clean help

help:
	@echo "make install   make .venv and install everything (runtime, training, tests)"
	@echo "make demo      run the whole road on drawn phantoms; make demo INPUT=folder for real films"
	@echo "make test      run the tests"
	@echo "make viewer-test  look at results in OHIF; VIEWER_SCREENSHOTS=folder keeps what was seen"
	@echo "make bench     measure service and peer alone on this machine, and write docs/performance.md"
	@echo "make check     lint, format and type checks; known vulnerabilities of what is locked"
	@echo "make wheel     build the wheel into dist/"
	@echo "make map       build the container image IMAGE with docker, podman or buildah; make map-test runs it"
	@echo "make map-stage lay the package's files into build/map, for monai-deploy package"
	@echo "make lock      renew the locks of the image (needs uv)"
	@echo "make clean     remove .venv and everything built"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints/train.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else "Python 3.11 or 3.12 is needed, %s is %d.%d; pass PYTHON=python3.11" % (sys.executable, *sys.version_info[:2]))'
	@echo "Installing into $(VENV): about 3 GB to download and 6.5 GB on disk, most of it PyTorch with its CUDA libraries."
	@echo "A runtime without training and CUDA needs 1.9 GB: docs/install.md."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/train.txt --editable '.[train,onnx,dev]'
	@touch $@

demo: install
	$(BIN)/pneumo-monai demo --output $(OUTPUT) $(if $(INPUT),--input $(INPUT))

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

viewer-test: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/train.txt --editable '.[viewer]'
	$(BIN)/python -m pytest -m viewer tests/viewer

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m app_package.vulnerabilities constraints/map-cpu.txt constraints/map-gpu.txt

bench: install
	$(BIN)/python -m benchmarks.performance

wheel: install
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

map:
	app_package/image/build $(IMAGE) $(LOCK)

map-test: install
	PNEUMO_MONAI_IMAGE=$(IMAGE) $(BIN)/python -m pytest -m map tests/map

map-stage: install wheel
	rm -rf build/map
	$(BIN)/python -m pip install --quiet --no-deps --no-index --target build/map/opt/holoscan/app dist/pneumo_monai-*.whl
	$(BIN)/python -m app_package.staging build/map

LOCKING := uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command 'make lock' --constraint constraints/map.txt

lock:
	echo 'torch==2.13.0+cpu' | $(LOCKING) pyproject.toml - --output-file constraints/map-cpu.txt \
		--extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match
	$(LOCKING) pyproject.toml --constraint constraints/train.txt --output-file constraints/map-gpu.txt
	echo 'hatchling>=1.27' | $(LOCKING) - --output-file constraints/map-build.txt

clean:
	rm -rf $(VENV) build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
