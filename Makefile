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

PIP_QUIET := $(BIN)/pip -q --disable-pip-version-check
PIP := $(PIP_QUIET) install
LOCKS := requirements/base.lock $(EXTRAS:%=requirements/%.lock)

.PHONY: help install install-dev demo test test-fast test-networks test-foreign check docs reference lock sbom audit \
	wheelhouse package test-package licences bench gpu-check soak sustain kills attack fuzz fuzz-sockets coil clean \
	need-data
help: ## List the targets; a target without a "needs" runs on a CPU, from a clean clone
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("linewatch needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# A stamp per set of pins: packages are installed again when their pins change, those of the extras that are there too.
$(VENV)/.base: requirements/base.lock pyproject.toml constraints.txt | $(BIN)/python
	extras=$$($(BIN)/python tools/extras.py) && $(PIP) --require-hashes -r requirements/base.lock && $(PIP) --no-deps -e . && \
		if [ -n "$$extras" ]; then $(PIP) -c constraints.txt -e ".[$$extras]"; fi
	@touch $@

# torch may be a build for CPUs, with hashes of its own: the extra train has its versions from constraints.txt alone.
$(VENV)/.dev: $(VENV)/.base constraints.txt requirements/dev.lock
	$(PIP) --require-hashes -r requirements/dev.lock
	$(PIP) -c constraints.txt -e '.[train]'
	@if pkg-config --exists gobject-introspection-1.0 cairo 2>/dev/null; then \
		$(PIP) -c constraints.txt -e '.[genicam]' || echo "PyGObject cannot be built here: tests of GenICam cameras are skipped"; fi
	@touch $@

install: $(VENV)/.base ## The service alone, in .venv: every file is checked against requirements/base.lock
install-dev: $(VENV)/.dev ## With training, the history, the plant's bridges, the documentation and the developers' tools

# The page in a browser, for the demo: some 60 MB more.
$(VENV)/.page: $(VENV)/.base constraints.txt
	$(PIP) -c constraints.txt -e '.[hmi,history]'
	@touch $@

demo: $(VENV)/.page ## Render a coil, inspect it, show what was found; in a terminal, then leave a line with its page running
	$(BIN)/linewatch demo

test: install-dev ## All tests but `heavy`, in three processes, since many tests wait; prints the ten slowest (needs LINEWATCH_DATA for some, skipped without)
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --durations=10 $(ARGS)

test-fast: install-dev ## The tests of the inner loop, under two minutes on two cores: no service, nothing slow
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not service and not slow and not heavy" $(ARGS)

test-networks: install-dev ## What is too long for every change: NASNet, VGG, ResNet50 and 152, DenseNet121, long stories
	$(BIN)/python -m pytest -q -m heavy $(ARGS)

test-foreign: install-dev ## Tests with programs of other makers in Node.js: installs node-opcua, sparkplug-payload, axe-core by npm
	cd tests/foreign && npm ci --ignore-scripts --no-audit --no-fund
	$(BIN)/python -m pytest -q -m heavy tests/foreign $(ARGS)

check: install-dev ## Lint, types, import rules, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

docs: install-dev ## The documentation site in out/site; a broken link fails the build
	$(BIN)/zensical build --strict --clean

reference: install-dev ## Write docs/reference/ and docs/wire.schema.json anew from settings, schema and log events
	$(BIN)/python -m tools.reference
	$(BIN)/linewatch schema --out docs/wire.schema.json

lock: install-dev ## Write requirements/*.lock anew from pyproject.toml and constraints.txt (needs a package index)
	$(BIN)/python -m tools.lock

sbom: install-dev ## The software bill of materials in out/sbom.json, CycloneDX (EXTRAS='history plant'; needs a package index)
	$(BIN)/python -m tools.sbom --out out/sbom.json $(LOCKS)

audit: install-dev ## Known vulnerabilities of the locked packages (EXTRAS='history plant'; needs an index that knows them, and says so where none does)
	$(BIN)/python -m tools.audit $(LOCKS)

wheelhouse: install ## All packages in out/wheelhouse, for a machine without a net (EXTRAS='history plant'; needs a package index)
	rm -rf out/wheelhouse
	$(PIP_QUIET) download --require-hashes $(addprefix -r ,$(LOCKS)) -d out/wheelhouse
	$(PIP_QUIET) download "$$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')" -d out/wheelhouse

package: install-dev ## The Debian package in out/, with all wheels, for hosts without a net (EXTRAS='history hmi plant signing'; needs a package index)
	$(BIN)/python -m tools.package --out out $(if $(EXTRAS),--extras $(EXTRAS))

test-package: install-dev ## The package on hosts of its own: systemd as process 1, faults, upgrade, rollback (needs root, python3-venv, a package index)
	$(BIN)/python -m pytest -q -m heavy tests/packaging $(ARGS)

licences: install-dev ## Write docs/licences.md anew from the installed packages
	$(BIN)/python -m tools.licences

bench: install-dev ## Benchmarks: tables and JSON under out/ (needs an idle machine; cameras needs the extra genicam and aravis-tools)
	$(BIN)/python -m benchmarks.overload
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.runtimes
	$(BIN)/python -m benchmarks.history
	$(BIN)/python -m benchmarks.modbus
	$(BIN)/python -m benchmarks.crops
	$(BIN)/python -m benchmarks.run $(ARGS)
	$(BIN)/python -m benchmarks.cameras

gpu-check: install-dev ## The engines on this machine's GPU: build, parity, speed (needs an NVIDIA GPU; says so where there is none)
	$(BIN)/python -m benchmarks.gpu $(ARGS)

coil: need-data install ## A coil of held-out real frames through the service: figures and a picture (needs LINEWATCH_DATA)
	$(BIN)/python -m experiments.held_out_coil build --data "$(LINEWATCH_DATA)" --out out/coil
	$(BIN)/linewatch replay out/coil/coil.avi --config out/coil/cascade.toml --out out/coil/verdicts.jsonl
	$(BIN)/python -m experiments.held_out_coil judge --coil out/coil --verdicts out/coil/verdicts.jsonl
	$(BIN)/linewatch picture out/coil/verdicts.jsonl --source out/coil/coil.avi --truth out/coil/truth.json --out out/coil/coil.png

soak: install-dev ## A whole line of real processes under a seeded schedule of faults: report in out/soak (MINUTES=120 SEED=18; needs mosquitto, postgresql, aravis-tools)
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),120) --seed $(or $(SEED),18) $(ARGS)

sustain: install-dev ## Ten minutes at the line rate: nothing missed, p99, memory (needs four idle cores)
	$(BIN)/python -m benchmarks.run --sustain-s 600 --out out/sustain.json $(ARGS)

kills: install-dev ## Kill a service 500 times while alarms come and go and commands are sent: none lost, none doubled (needs half an hour)
	LINEWATCH_KILLS=500 $(BIN)/python -m pytest -q -s tests/daemon/test_alarm_kill.py $(ARGS)

attack: install-dev ## Attack a service on this host: hostile peers, kills, stalls, disks that fail; a table in out/attack (MINUTES=10)
	$(BIN)/python -m benchmarks.attack --minutes $(or $(MINUTES),10) $(ARGS)

fuzz: install-dev ## Mutated bytes for each reader of files and messages; a table and what failed in out/fuzz (SECONDS=60 for each)
	$(BIN)/python -m benchmarks.fuzz --seconds $(or $(SECONDS),60) $(ARGS)

fuzz-sockets: install-dev ## Mutated requests to each listening socket of a line of real processes; a table in out/fuzz-sockets (REQUESTS=20000 to each)
	$(BIN)/python -m benchmarks.fuzz.sockets --requests $(or $(REQUESTS),20000) $(ARGS)

need-data:
	@test -d "$(LINEWATCH_DATA)" || { echo "this target needs real images: LINEWATCH_DATA is '$(LINEWATCH_DATA)', expected a folder laid out as docs/datasets.md says"; exit 2; }

clean: ## Remove the environment and all outputs
	rm -rf $(VENV) out runs build
