# The targets need git, make, python3 >= 3.11 and python3-venv. The first target that needs the virtual environment creates it.
PYTHON ?= python3
OCI ?= docker
UV ?= uv
WORKERS ?= 3
BIN := .venv/bin
READY := .venv/.ready
PLOTS := .venv/.plots
# tests of the checkout's own files, which a wheel doesn't have
OF_CHECKOUT := harness/test_mutants.py test_dockerfile.py test_names.py
.DEFAULT_GOAL := help
.PHONY: demo test test-slow mutants fuzz screenshots lint type wheel bench experiment image image-test lock clean help

demo: $(READY)  ## train, convert, deploy and send events (your own photos: DATA=folder-per-class; ARCH=inception_v3 WEIGHTS=file)
	$(BIN)/python examples/demo/demo.py $(if $(DATA),--data "$(DATA)") $(if $(ARCH),--arch "$(ARCH)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")

test: $(READY)  ## run every test that takes seconds, in three processes, because many tests wait (WORKERS=4: four; WORKERS=0: one)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: $(READY)  ## run the tests that take minutes
	$(BIN)/pytest -m slow

mutants: $(READY)  ## check that tests notice each change in tests/mutants/mutants.toml (NAMES="one another": some of them; five minutes)
	$(BIN)/python -m tests.mutants $(NAMES)

fuzz: $(READY)  ## run the fuzz tests with damaged files, events and requests (N=1000000 SEED=0); findings are written to build/fuzz
	$(BIN)/python -m tests.fuzz $(or $(N),100000) $(or $(SEED),0)

screenshots: $(READY)  ## write pictures of the console's pages to build/screenshots, and docs/console.png (needs Debian's chromium)
	$(BIN)/python -m tests.browser.screenshots build/screenshots --readme

lint: $(READY)  ## check style and import layers
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

type: $(READY)  ## check types with mypy in strict mode
	$(BIN)/mypy

wheel: $(READY)  ## build the wheel, install it into a clean environment, and run the tests from another folder
	rm -rf build/wheel && mkdir -p build/wheel/elsewhere && cp -r tests bench pyproject.toml build/wheel/elsewhere
	$(BIN)/python -m build --no-isolation --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/wheel/venv && build/wheel/venv/bin/pip install --quiet --require-hashes -r requirements/dev.txt
	build/wheel/venv/bin/pip install --no-deps --no-index build/wheel/eaves-*.whl
	cd build/wheel/elsewhere && ../venv/bin/pytest tests/unit tests/contract $(addprefix --ignore=tests/unit/,$(OF_CHECKOUT))

bench: $(PLOTS)  ## measure everything, write docs/benchmarks.md (half an hour; BENCH=one_at_a_time,package: some sections; QUICK=1: print rough figures)
	$(BIN)/python -m bench $(BENCH) $(if $(QUICK),--quick)

experiment: $(PLOTS)  ## compare edge and cloud-only over bad links, write docs/evidence.md#the-link-that-fails (real packets need root; LINKS=good,down MINUTES=2)
	$(BIN)/python -m bench.link $(if $(LINKS),--links "$(LINKS)") $(if $(MINUTES),--minutes "$(MINUTES)")

image:  ## build the container images (OCI=docker, podman or buildah)
	for role in function trainer agent agent-camera agent-s3 agent-camera-s3 console; do $(OCI) build --target $$role --tag eaves-$$role . || exit 1; done

image-test: $(READY)  ## build the function's container image without a daemon and compare it with that of `eaves package` (needs root; slow)
	$(BIN)/pytest -m slow tests/integration/oci/test_dockerfile.py

LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --custom-compile-command "make lock" $(UPGRADE)
EDGE = $(foreach name,rich pygments markdown-it-py mdurl pyyaml,--no-emit-package $(name))
BESIDE_AGENT = $(EDGE) --no-emit-package numpy $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements/agent.txt)
lock:  ## pin requirements/*.txt from pyproject.toml (needs uv; UPGRADE=--upgrade)
	$(LOCK) pyproject.toml --all-extras --group dev --output-file requirements/dev.txt
	$(LOCK) --group build --output-file requirements/build.txt
	$(LOCK) -c requirements/dev.txt --group bench --output-file requirements/bench.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt --extra serve $(EDGE) --no-emit-package paho-mqtt --output-file requirements/serve.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt --extra sources $(EDGE) --no-emit-package numpy --output-file requirements/agent.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt --extra camera $(BESIDE_AGENT) --output-file requirements/agent-camera.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt --extra s3 $(BESIDE_AGENT) --output-file requirements/agent-s3.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt --extra console --extra cluster $(foreach name,numpy rich pygments markdown-it-py mdurl paho-mqtt,--no-emit-package $(name)) --output-file requirements/console.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt --extra train --extra convert --extra oci --output-file requirements/train.txt

clean:  ## delete the virtual environment and all build output
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' $(MAKEFILE_LIST) | while IFS=: read -r t text; do printf '%-14s %s\n' "$$t" "$$text"; done

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'error: Eaves needs Python 3.11 or newer'; echo 'try: make PYTHON=python3.12'; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' || { echo 'error: this Python has no venv'; echo 'try: apt install python3-venv'; exit 1; } >&2
	$(PYTHON) -m venv .venv
	@echo 'installing the packages of requirements/dev.txt, TensorFlow among them: a few minutes, once'
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)

$(PLOTS): requirements/bench.txt $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	touch $(PLOTS)
