# Every command works in a fresh clone: it finds a Python, makes .venv and installs what it needs, once.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
export VENV
# Every process compiles our code once, not anew, whatever a shell says that is used to other things.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run call demo-data test test-long lint audit format bench bench-memory lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: ## Start everything; Ctrl-C stops it
	@.ci/venv $$(.ci/sets)
	@exec $(BIN)/python -m voiceagent.run $(ARGS)

call: ## Place a simulated phone call to the running server; options in ARGS='...'
	@.ci/venv base sandbox
	@exec $(BIN)/python -m voiceagent.sandbox.call $(ARGS)

demo-data: ## Fill the console with a month of calls to look at; ARGS=--remove takes them away
	@.ci/venv base sandbox
	@$(BIN)/python manage.py migrate --verbosity 0
	@exec $(BIN)/python manage.py demo_data $(ARGS)

# Many tests wait for real sockets, servers and sound: five workers for two cores fill the time, in the order of
# tests/schedule.py. A machine so full can be too slow for a test that listens to real time: what failed is judged again
# alone, and has failed if it fails then.
test: ## Install what the tests need and run them, browser tests included
	@.ci/venv base sandbox dev
	@CHROMIUM=$$(.ci/chromium) && PROMETHEUS=$$(.ci/prometheus) && export CHROMIUM PROMETHEUS && \
	{ $(BIN)/python -m pytest -m "not long" -n $$(($$(nproc) * 5 / 2)) --maxprocesses 6 --dist loadfile --no-loadscope-reorder $(ARGS) || \
	{ [ $$? = 1 ] && $(BIN)/python -m pytest -m "not long" --last-failed --last-failed-no-failures none $(ARGS); }; }

test-long: ## Mutation, fuzzing, soak, kills, load: outside CI, bounded, resumable
	@.ci/venv base sandbox dev fuzz
	@exec $(BIN)/python -m pytest -m long --timeout 0 $(ARGS)

lint: ## Static checks: ruff, mypy, import rules, migrations
	@.ci/venv base dev
	@# mypy takes as long as all others, beside which it runs. No database is needed to compare models with migrations;
	@# Django warns that it cannot ask one.
	@$(BIN)/mypy & types=$$!; failed=0; \
	$(BIN)/ruff check . || failed=1; \
	$(BIN)/ruff format --check . || failed=1; \
	$(BIN)/lint-imports || failed=1; \
	$(BIN)/python -W ignore::RuntimeWarning -m django makemigrations --check --dry-run --settings voiceagent.settings.test || failed=1; \
	wait $$types || failed=1; exit $$failed

audit: ## Ask whether a pinned package has a known vulnerability
	@.ci/venv base dev
	@exec $(BIN)/python .ci/audit $(ARGS)

format: ## Let ruff mend what it can
	@.ci/venv base dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: ## Print the benchmarks' figures
	@.ci/venv base sandbox dev
	@exec $(BIN)/python -m bench $(ARGS)

bench-memory: ## Print what a caller's memory finds, what it wrongly finds, and how fast
	@.ci/venv base dev
	@exec $(BIN)/python -m bench.memory $(ARGS)

COMPILE = $(BIN)/uv pip compile --no-header --no-annotate --python-version 3.12 --quiet $(ARGS)
lock: ## Compile the pins from pyproject.toml; ARGS=--upgrade takes newer versions
	@.ci/venv base dev
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) --group sandbox -c requirements.txt -o requirements-sandbox.txt
	$(COMPILE) --group multilingual -c requirements.txt -o requirements-multilingual.txt
	$(COMPILE) --group dev -c requirements.txt -o requirements-dev.txt
	$(COMPILE) --group fuzz -c requirements.txt -o requirements-fuzz.txt
