# Everything a newcomer needs: `make demo`, `make test`, `make check`. Python 3.11 or newer and make are enough.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA := $(firstword $(wildcard ../shared/data))
ifndef LINEWATCH_DATA
ifneq ($(DATA),)
export LINEWATCH_DATA := $(abspath $(DATA))
endif
endif

.PHONY: help install install-dev demo test test-networks check bench gpu-check soak kills coil false-calls clean
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

# A stamp per set of pins: the environment is remade when the pins change.
PINS := pyproject.toml constraints.txt
$(VENV)/.base: $(PINS)
	rm -rf $(VENV)
	$(PYTHON) -c 'import sys; sys.exit("linewatch needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[train,history,plant,dev]'
	@touch $@

install: $(VENV)/.base ## The service alone, in .venv
install-dev: $(VENV)/.dev ## With training, the plant's bridges and the tools of the developers

demo: install ## Render a coil, inspect it with the shipped engines, show what was found
	$(BIN)/linewatch demo

test: install-dev ## All tests, in two processes: many of them wait
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

test-networks: install-dev ## The networks too large for every change: NASNet, VGG, ResNet50 and 152, DenseNet121
	$(BIN)/python -m pytest -q -m heavy $(ARGS)

check: install-dev ## Lint, types, import rules, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

bench: install-dev ## Benchmarks: tables and JSON under out/: speed against peers, overload, cores, roofline, Modbus, pictures
	$(BIN)/python -m benchmarks.overload
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.runtimes
	$(BIN)/python -m benchmarks.history
	$(BIN)/python -m benchmarks.modbus
	$(BIN)/python -m benchmarks.crops
	$(BIN)/python -m benchmarks.run $(ARGS)

gpu-check: install-dev ## The engines on this machine's GPU: build, parity, speed; says so where there is none
	$(BIN)/python -m benchmarks.gpu $(ARGS)

coil: install ## A coil of held-out real frames through the service: metrics and an image (needs LINEWATCH_DATA)
	$(BIN)/python -m experiments.held_out_coil build --data "$(LINEWATCH_DATA)" --out out/coil
	$(BIN)/linewatch replay out/coil/coil.avi --out out/coil/verdicts.jsonl
	$(BIN)/python -m experiments.held_out_coil evaluate --coil out/coil --verdicts out/coil/verdicts.jsonl
	$(BIN)/linewatch picture out/coil/verdicts.jsonl --source out/coil/coil.avi --truth out/coil/truth.json --out out/coil/coil.png

false-calls: install-dev ## False instances against recall by folds (needs LINEWATCH_DATA; trains for hours unless runs/folds is there)
	$(BIN)/python -m experiments.fold_engines --data "$(LINEWATCH_DATA)"
	$(BIN)/python -m experiments.false_calls inspect --data "$(LINEWATCH_DATA)"
	$(BIN)/python -m experiments.false_calls evaluate

soak: install-dev ## Ten minutes at the line rate: nothing missed, p99, memory
	$(BIN)/python -m benchmarks.run --sustain-s 600 --out out/soak.json $(ARGS)

kills: install-dev ## Kill a service 500 times while alarms come and go and commands are sent: none lost, none doubled (half an hour)
	LINEWATCH_KILLS=500 $(BIN)/python -m pytest -q -s tests/daemon/test_alarm_kill.py $(ARGS)

clean: ## Remove the environment and all outputs
	rm -rf $(VENV) out runs build
