# `make run` and `make test` need Python 3.11-3.13 and a package index, nothing else.
# Written for GNU make 3.81 on, the one macOS has.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test history queue-cost check test-model test-aws test-page test-sdk browser bench bench-lambda evaluate fuzz deadlines schema load lock wheels docs clean live-bench live-hour live-lambda test-clients

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c "$(SUPPORTED)" 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
LOCKED := $(PIP) --no-build-isolation --require-hashes -r
UV_VERSION := 0.13.9

# A stamp carries the checksum of what was installed, so a changed lock installs again and an
# unchanged one costs nothing, whatever git did to the files' times.
checksum = $(shell cat pyproject.toml requirements/build.txt $(1) | cksum | cut -d' ' -f1)
READY_TO_RUN := $(VENV)/.run-$(call checksum,requirements/run.txt)
READY_TO_TEST := $(VENV)/.test-$(call checksum,requirements/test.txt)
READY_TO_BENCH := $(VENV)/.bench-$(call checksum,requirements/bench.txt)
AWS := .venv-aws
AWS_READY := $(AWS)/.ready-$(shell cksum requirements/aws.txt | cut -d" " -f1)
SDK := .venv-sdk
SDK_READY := $(SDK)/.ready-$(shell cksum requirements/sdk.txt | cut -d" " -f1)
CLIENTS := .venv-clients
CLIENTS_READY := $(CLIENTS)/.ready-$(shell cksum requirements/clients.txt | cut -d" " -f1)
OPENAI := .venv-openai
OPENAI_READY := $(OPENAI)/.ready-$(call checksum,requirements/openai.txt)

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/' | expand -t 20

# SERVE=0 ends after the transcripts.
SERVE ?= 1
run: $(READY_TO_RUN)  ## set up, fetch and verify the weights, transcribe two recordings, serve on 127.0.0.1:8000
	@$(BIN)/whisper-lambda models pull base
	@for recording in es-tt-allbusy en-tt-allbusy; do \
		echo; echo "tests/fixtures/$$recording.flac"; \
		$(BIN)/whisper-lambda transcribe --model base tests/fixtures/$$recording.flac || exit; \
	done
	@test "$(SERVE)" = 0 || { echo; exec $(BIN)/whisper-lambda serve --model base; }

test: $(READY_TO_TEST) browser  ## set up and run every test but the long and those of an emulator (make test-page, test-aws)
	@$(BIN)/python -m pytest -m "not aws and not long"

test-page: $(READY_TO_TEST) browser  ## the page in a browser, the long forms too
	@LONG=1 $(BIN)/python -m pytest tests/page

# The page's tests drive Debian's Chromium; where it cannot be had they skip, and say so.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing Chromium for the page's tests" && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	} >&2 || echo "No Chromium: the page's tests will be skipped" >&2

test-model: $(READY_TO_TEST)  ## only the tests with real weights on real audio
	@$(BIN)/python -m pytest -m model

test-aws: $(READY_TO_TEST) $(AWS_READY)  ## the tests against AWS emulators and validators
	@$(BIN)/python -m pytest -m aws

.PHONY: properties
properties: $(READY_TO_TEST)  ## the properties on examples nobody has tried yet (make test: the same in every run)
	@PROPERTIES=1 $(BIN)/python -m pytest -m "hypothesis and not aws"

deadlines: $(READY_TO_TEST)  ## 1,000 random times to answer in on Lambda (make test: 60)
	@BUDGETS=1000 $(BIN)/python -m pytest -s -k "random_budgets" tests/aws

.PHONY: image-test
# IMAGE="--base public.ecr.aws/lambda/python:3.13" where that can be pulled; else a Debian stand-in, as root.
image-test: $(READY_TO_TEST) $(AWS_READY)  ## build the image, call it through Lambda's emulator, sam local and HTTP
	@$(BIN)/python tests/image/prove.py $(IMAGE)

test-sdk: $(READY_TO_TEST) $(SDK_READY)  ## the openai SDK's own tests of audio and models, against this server
	@$(BIN)/python tests/sdk/suite.py $(SDK)/openai $(SDK)/bin/python

test-clients: $(READY_TO_TEST) $(CLIENTS_READY)  ## openai, LiveKit and Pipecat against the running server; writes docs/clients/realtime.md (2 min)
	@PYTHONPATH=tests $(BIN)/python tests/realtime/prove.py $(CLIENTS)/bin/python docs/clients/realtime.md

fuzz: $(READY_TO_TEST)  ## 20,000 broken recordings, decoder and HTTP, and 200 decoders that die (make test: 2,000, 60)
	@MUTANTS=20000 DEATHS=200 $(BIN)/python -m pytest -k "fuzz or deaths"

schema: $(READY_TO_TEST)  ## 10,000 calls the API's document allows and forbids (make test: 40 a route)
	@SCHEMA_CASES=$(or $(CASES),330) $(BIN)/python -m pytest -s tests/http/test_schema.py

load: $(READY_TO_BENCH)  ## overload, soak, same words at once, HTTP's price; writes docs/load.md (15 min)
	@$(BIN)/python tests/load/run.py $(PARTS) --out docs/load.md

# Kills workers for minutes, on SQLite and on a real Postgres; docs/jobs.md holds what came of it.
HISTORY ?= --jobs 200 --kills 150 --stops 50
history: $(READY_TO_TEST)  ## kill and stop workers at random while jobs come in, and check what is left
	@for database in sqlite postgres; do PYTHONPATH=tests:tests/jobs:tests/http \
		$(BIN)/python tests/jobs/history.py $$database $(HISTORY) || exit; done

# The committed figures: make live-bench MANIFESTS=../shared/speech/open/longform LIVE=docs/benchmarks-live.md
LIVE ?= build/benchmarks-live.md
live-bench: $(READY_TO_BENCH)  ## how late live words come, how right, at what cost (20 min)
	@mkdir -p $(dir $(LIVE))
	$(BIN)/whisper-lambda bench live --out $(LIVE) $(BENCH) $(MANIFESTS)

live-hour: $(READY_TO_BENCH)  ## an hour of looped speech through one live session; writes docs/live-hour.md (20 min)
	@$(BIN)/python tests/load/hour.py --minutes $(or $(MINUTES),60) --pause $(or $(PAUSE),2) --out docs/live-hour.md

# make live-lambda MANIFESTS=../shared/speech/open/longform SECONDS=120
live-lambda: $(READY_TO_BENCH)  ## live steps through the local Lambda: words, money, replays; writes docs/live-lambda.md (10 min)
	@$(BIN)/python tests/measure/live_lambda.py $(MANIFESTS) --seconds $(or $(SECONDS),120) --out docs/live-lambda.md

queue-cost: $(READY_TO_TEST)  ## what the queue costs a chunk of CHUNKS=10000, on SQLite and Postgres
	@for database in sqlite postgres; do PYTHONPATH=tests:tests/jobs:tests/http:tests/unit/live \
		$(BIN)/python tests/jobs/queue_cost.py $$database $(or $(CHUNKS),10000) || exit; done

check: $(READY_TO_TEST)  ## formatting, lint, types, layers, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python deploy/watch.py --check

docs: $(READY_TO_TEST)  ## write the generated pages of docs/
	$(BIN)/python docs/generate.py
	$(BIN)/python deploy/watch.py

MANIFESTS ?= tests/fixtures/prompts.jsonl
evaluate: $(READY_TO_TEST)  ## word error rates on MANIFESTS=...
	$(BIN)/whisper-lambda evaluate $(MANIFESTS)

# The committed figures: make bench MANIFESTS=../shared/speech/open BENCHMARKS=docs/benchmarks.md
BENCHMARKS ?= build/benchmarks.md
bench: $(READY_TO_BENCH) $(OPENAI_READY)  ## compare with faster-whisper and openai-whisper on MANIFESTS=...
	@mkdir -p $(dir $(BENCHMARKS))
	$(BIN)/whisper-lambda bench --openai-python $(OPENAI)/bin/python --out $(BENCHMARKS) $(BENCH) $(MANIFESTS)

bench-lambda: $(READY_TO_BENCH)  ## cold starts of the Lambda function against faster-whisper and Mangum; writes docs/aws-cold-start.md
	$(BIN)/python -m whisper_lambda.aws.bench.coldstart --out docs/aws-cold-start.md

lock: $(BIN)/python  ## resolve requirements/*.txt again
	@$(PIP) uv==$(UV_VERSION)
	$(COMPILE) requirements/build.in -o requirements/build.txt
	$(COMPILE) pyproject.toml --extra weights requirements/run.in \
		-c requirements/build.txt -o requirements/run.txt
	$(COMPILE) pyproject.toml --extra weights requirements/run.in requirements/test.in \
		-c requirements/build.txt -c requirements/run.txt -o requirements/test.txt
	$(COMPILE) pyproject.toml --extra weights --extra bench requirements/run.in \
		-c requirements/build.txt -c requirements/test.txt -o requirements/bench.txt
	$(COMPILE) pyproject.toml --extra weights --extra aws requirements/run.in \
		-c requirements/build.txt -c requirements/test.txt -o requirements/lambda.txt
	$(COMPILE) requirements/sdk.in -c requirements/build.txt -c requirements/test.txt -o requirements/sdk.txt
	$(COMPILE) requirements/aws.in -o requirements/aws.txt
	$(COMPILE) requirements/clients.in -o requirements/clients.txt
	$(COMPILE) requirements/openai.in -c requirements/build.txt -c requirements/bench.txt \
		--overrides requirements/openai-overrides.in -o requirements/openai.txt
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header $(UPGRADE)

wheels: $(BIN)/python  ## prove that every platform has wheels for the locks; writes docs/platforms.md
	@$(PIP) uv==$(UV_VERSION)
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python requirements/prove_wheels.py

HOURS ?= 10
CACHE_MB ?= 512
long: $(READY_TO_TEST)  ## memory and time of a recording of HOURS=10, with CACHE_MB=512 and again, or without (0); STAND_IN=1: no engine; PROGRAMME_MIN=30: repeated
	@$(BIN)/python tests/measure/long_recording.py --hours $(HOURS) --cache-mb $(CACHE_MB) $(if $(STAND_IN),--stand-in) \
		$(if $(PROGRAMME_MIN),--programme-min $(PROGRAMME_MIN))

.PHONY: many-workers
many-workers: $(READY_TO_TEST)  ## how much sooner more workers end a job, with a timed engine
	@for database in sqlite postgres; do PYTHONPATH=tests:tests/jobs:tests/http \
		$(BIN)/python tests/jobs/many_workers.py $$database || exit; done

.PHONY: two-workers
RECORDING ?= ../shared/speech/open/longform/libri-open-5spk.opus
two-workers: $(READY_TO_TEST)  ## two workers of one thread against one, with real weights on RECORDING=... (English)
	@PYTHONPATH=tests:tests/jobs:tests/http $(BIN)/python tests/jobs/many_workers.py sqlite --real $(RECORDING)

.PHONY: long-job
long-job: $(READY_TO_TEST)  ## memory of a server that does a job of HOURS=10, and of a server and a worker, without an engine's
	@PYTHONPATH=tests:tests/measure $(BIN)/python tests/measure/long_job.py --hours $(HOURS)

clean:  ## remove the virtual environment and every cache here (weights stay)
	rm -rf $(VENV) $(OPENAI) $(AWS) $(SDK) $(CLIENTS) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c "$(SUPPORTED)" || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

$(READY_TO_RUN): | $(BIN)/python
	@echo "Installing the locked requirements into $(VENV)"
	@$(LOCKED) requirements/build.txt
	@$(LOCKED) requirements/run.txt
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(READY_TO_TEST): | $(BIN)/python
	@echo "Installing the locked requirements into $(VENV)"
	@$(LOCKED) requirements/build.txt
	@$(LOCKED) requirements/test.txt
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@ $(READY_TO_RUN)

$(READY_TO_BENCH): $(READY_TO_TEST)
	@$(LOCKED) requirements/bench.txt
	@touch $@

# Not resolved again (--no-deps): pip takes an extra of a hashed package for one without a hash.
$(AWS_READY): | $(BIN)/python
	@echo "Installing the emulators and validators into $(AWS)"
	@$(PYTHON) -m venv $(AWS)
	@$(AWS)/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
		--no-deps --require-hashes -r requirements/aws.txt
	@touch $@

$(CLIENTS_READY): | $(BIN)/python
	@echo "Installing Realtime clients into $(CLIENTS)"
	@$(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
		--require-hashes -r requirements/clients.txt
	@touch $@

# The tests come with the SDK's source distribution only; its hash is in the lock, too.
$(SDK_READY): | $(BIN)/python
	@$(PYTHON) -m venv $(SDK)
	@$(SDK_PIP) install --require-hashes -r requirements/sdk.txt
	@$(SDK_PIP) download --no-deps --no-build-isolation --no-binary openai --dest $(SDK)/source \
		--require-hashes -r <(sed -n '/^openai/,/^[a-np-z]/p' requirements/sdk.txt | sed '$$d; s/\[aiohttp\]//')
	@mkdir -p $(SDK)/openai && tar -xzf $(SDK)/source/openai-*.tar.gz --strip-components=1 -C $(SDK)/openai
	@touch $@
SDK_PIP := $(SDK)/bin/python -m pip --quiet --disable-pip-version-check --no-input

# torch is not locked (docs/decisions/0003): TORCH may name any build, from an index or a file.
TORCH ?= torch==2.13.0
$(OPENAI_READY): | $(BIN)/python
	@$(PYTHON) -m venv $(OPENAI)
	@$(OPENAI_PIP) --require-hashes -r requirements/build.txt
	@$(OPENAI_PIP) "$(TORCH)"
	@$(OPENAI_PIP) --no-build-isolation --no-deps --require-hashes -r requirements/openai.txt
	@touch $@
OPENAI_PIP := $(OPENAI)/bin/python -m pip install --quiet --disable-pip-version-check --no-input
