# Targets for people and CI; `make` alone lists them. Everything fetched or built goes into
# git-ignored folders of this tree: .runtime (ONNX Runtime), .venv (Python), target (Rust).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-reference check bench runtime haxby motion train-demo deps fuzz deny binaries clean

CARGO ?= cargo
PYTHON := .venv/bin/python
# Absolute paths, because cargo runs every test in the folder of its crate.
export CORTICAST_ONNXRUNTIME ?= $(CURDIR)/.runtime/libonnxruntime.so
export CORTICAST_PYTHON ?= $(CURDIR)/$(PYTHON)
# ONNX Runtime reports to its maker otherwise, also from tests.
export ORT_DISABLE_TELEMETRY := 1

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

demo: runtime binaries ## decode recorded scans with the shipped model; DEMO_SECONDS=20 shortens it
	./target/release/corticast demo --seconds $${DEMO_SECONDS:-60}

test: runtime binaries .venv/dev.stamp ## run every test, Rust and Python
	$(CARGO) test --release --workspace --locked
	cd training && $(CORTICAST_PYTHON) -m pytest

test-reference: runtime .venv/dev.stamp ## compare with the reference, one line per case; CORTICAST_REFERENCE names other cases
	CARGO='$(CARGO)' scripts/test_reference.sh

check: .venv/dev.stamp ## check formatting, lints, docs and types
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --release --no-deps --workspace --locked
	cd training && $(CORTICAST_PYTHON) -m ruff check --config pyproject.toml . ../scripts ../tests/benches
	cd training && $(CORTICAST_PYTHON) -m ruff format --check --config pyproject.toml . ../scripts ../tests/benches
	cd training && $(CORTICAST_PYTHON) -m mypy

bench: runtime binaries .venv/linear.stamp ## measure the figures of docs/benchmarks.md; HAXBY_DIR or CORTICAST_DATA adds decoding
	$(CARGO) bench --locked --workspace --bench daemon

runtime: ## fetch ONNX Runtime into .runtime; GPU=1 fetches the CUDA build (about 1.8 GB)
	scripts/fetch_runtime.sh

haxby: runtime binaries .venv/linear.stamp ## prepare, train and replay real runs: HAXBY_DIR=… [TRAIN=… TEST=… NORMALISE=… ACROSS=0 METHOD=ridge EVIDENCE=0]
	$(PYTHON) scripts/haxby.py

motion: binaries ## motion parameters of a run: DIR=FOLDER_OF_DICOM_OR_NIFTI OUT=motion.tsv
	@test -n "$(DIR)" -a -n "$(OUT)" || { echo "make motion: say DIR=folder-or-image OUT=motion.tsv"; exit 2; }
	@scripts/motion.sh "$(DIR)" "$(OUT)"

train-demo: runtime binaries .venv/train.stamp ## all of training at preset `tiny` in TRAIN_DEMO_DIR; INSTALL=1 replaces models/demo
	scripts/train_demo.sh $${TRAIN_DEMO_DIR:-train-demo-out} $(if $(INSTALL),install)

deps: ## install Debian packages for optional tests (prometheus for promtool, octave with sockets, dcmtk for storescu)
	@wanted=; \
	command -v promtool >/dev/null || wanted="$$wanted prometheus"; \
	command -v octave-cli >/dev/null && octave-cli --eval 'pkg load sockets' >/dev/null 2>&1 \
	    || wanted="$$wanted octave octave-sockets"; \
	command -v storescu >/dev/null || wanted="$$wanted dcmtk"; \
	if [ -z "$$wanted" ]; then echo "promtool, octave and dcmtk are already installed"; else \
	    if [ "$$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi; \
	    $$sudo apt-get update -qq; \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$wanted >/dev/null; \
	fi

fuzz: ## search for input that makes a reader panic; SECONDS_EACH=60 for each target (the build takes minutes)
	CARGO='$(CARGO)' scripts/fuzz.sh

deny: ## check licences, advisories and sources of the dependencies; needs cargo-deny
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
	    echo "make deny: cargo-deny is missing; install it with: cargo install cargo-deny --locked"; exit 1; }
	$(CARGO) deny --workspace check

binaries:
	$(CARGO) build --release --locked -p corticast -p corticast-adapter

.venv/linear.stamp: training/requirements-linear.txt training/pyproject.toml scripts/venv.sh
	scripts/venv.sh linear .venv
	touch $@

.venv/train.stamp: training/requirements-train.txt training/pyproject.toml scripts/venv.sh
	scripts/venv.sh train .venv
	touch .venv/linear.stamp $@

# The development requirements include those of training, so this stamp covers all three.
.venv/dev.stamp: training/requirements-dev.txt training/pyproject.toml scripts/venv.sh
	scripts/venv.sh dev .venv
	touch .venv/linear.stamp .venv/train.stamp $@

clean: ## remove everything that was built or fetched
	rm -rf target .runtime .venv demo-out haxby-out train-demo-out repeat-tests-out
