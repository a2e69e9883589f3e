# hostguard from a fresh clone, as root on Debian 12: `make demo` shows it, `make test` proves it.

PYTHON := .venv/bin/python
TESTERS ?= 3
BUDGET ?= 600
# The budget is shared by the tests that are marked `soak`. On a quiet machine 2400 reaches 300 kills judged by the database.
SOAK_TESTS := 14
BENCH_ARGS ?=
# Whoever has set it would have every daemon, worker and command of the tests, and the tests themselves, compiled anew at each start.
unexport PYTHONDONTWRITEBYTECODE

# cffi writes its C file beside the build script; those are products, not sources.
GENERATED := kernel/_%.c protocols/postgres/_%.c recorder/_%.c agent/tls/_%.c
NATIVE_SOURCES := $(filter-out $(GENERATED), \
	$(wildcard kernel/bpf/*.c kernel/bpf/*.h kernel/*.c kernel/*.h kernel/*_build.py) \
	$(wildcard protocols/postgres/*.c protocols/postgres/*.h protocols/postgres/*_build.py) \
	$(wildcard recorder/*.c recorder/*_build.py) \
	$(wildcard agent/tls/*.c agent/tls/*_build.py))
# mypyc's extensions are imported in place of these: one that is older than its source would run old code in silence.
COMPILED_SOURCES := compiled.txt $(shell cat compiled.txt)
SHELL_SCRIPTS := scripts/provision .ci/run

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench bench-start bench-log bench-detect soak wheel clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: .venv/.provisioned .venv/.native build/types/hostguard ## packages, .venv, the compiled pieces; nothing when all is there

# The stamps live in the environment that they describe: without it they are gone as well.
.venv/.provisioned: scripts/provision setup.py pyproject.toml
	scripts/provision --dev
	touch .venv/.native $@

.venv/.native: $(NATIVE_SOURCES) $(COMPILED_SOURCES) | .venv/.provisioned
	$(PYTHON) -m pip install --quiet --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

build/types/hostguard:
	mkdir -p $(@D)
	ln -sfn ../.. $@

demo: setup ## the main job on a real PostgreSQL, told as a story
	$(PYTHON) examples/shop/demo.py

test: lint ## lint, then the whole suite: real servers, real clients, real kernel hooks
	@# Side by side, more than there are cores, as tests wait more than they compute. A file stays together, with what it has set up.
	$(PYTHON) -m pytest -m "not soak" --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

lint: setup ## ruff and mypy (strict), shellcheck where installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS); fi

bench: setup ## direct, pgbouncer and hostguard side by side; BENCH_ARGS="--quick" or "--json"
	$(PYTHON) bench/run.py $(BENCH_ARGS)

bench-analysis: setup ## what judging a statement costs, of a new shape and of a known one
	$(PYTHON) bench/analysis.py

bench-start: setup ## what importing each process costs, in times an empty interpreter
	$(PYTHON) bench/start.py $(BENCH_ARGS)

bench-log: setup ## what recording costs: appends, strict and batch, verification, bytes; BENCH_ARGS as above
	$(PYTHON) bench/log.py $(BENCH_ARGS)

bench-detect: setup ## precision, recall and speed of detectors beside Presidio; needs the extra `bench`
	$(PYTHON) bench/detect.py $(BENCH_ARGS)

soak: setup ## many deaths, faults and mutations for BUDGET seconds in all
	HOSTGUARD_SOAK_S=$$(($(BUDGET) / $(SOAK_TESTS))) $(PYTHON) -m pytest -m soak --timeout=$$(($(BUDGET) + 300))

wheel: setup ## dist/hostguard-*.whl, for scripts/provision --runtime
	$(PYTHON) -m build --wheel --no-isolation

clean: ## everything that was built; the next make starts from nothing
	rm -rf .venv build dist tests/openid/node_modules hostguard.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f kernel/bpf/*.o kernel/_*_cffi.c protocols/postgres/_*_cffi.c recorder/_*_cffi.c agent/tls/_*_cffi.c compiled.sha256
	rm -f *.so
	find kernel reassembly identity recorder protocols policy agent -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
