# Everything that a person types. Each target does its own set-up on a fresh machine with Python 3.11 to 3.13 and make.
SHELL := /bin/sh
# The Python to use, such as PYTHON=python3.12; without it scripts/bootstrap.py takes the newest supported one that it finds.
PYTHON ?=
export PYTHON
# What runs that script: any Python 3.
BOOT := $(or $(PYTHON),$(shell command -v python3 || command -v python3.13 || command -v python3.12 || command -v python3.11))
VENV ?= .venv
RUN := $(VENV)/bin
# How many tests run beside each other: most of them wait for a broker, a store or a service.
WORKERS ?= 4
# Tests that `make check` runs with the linters; `make test CHECKED=1`, behind it, leaves them out.
CHECKS := tests/k8s tests/observe tests/workflows tests/boundaries/test_words.py tests/docs/test_wording.py tests/docs/test_results.py
CHECKED ?=
# Where images belong, such as ghcr.io/you/driftline; the default never leaves this machine.
DRIFTLINE_REGISTRY ?= localhost/driftline
DRIFTLINE_TAG ?= 0.1.0
# Where `make wheels` puts them.
DIST ?= dist
# What `make wheels` compiles the kernels for.
MACHINES ?= aarch64 x86_64
# For `make images`, such as --network=host.
BUILD_FLAGS ?=
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev packages demo check types lint unit unit-all test test-tflite-runtime docs kafka up down helm helm-test ray-test wheels pi pi-test images push compose-smoke compose-test bench bench-swap bench-keys bench-deployments bench-training bench-day-files bench-many-edges bench-embedded bench-fleet accuracy pictures gallery chaos clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 13

setup:
	@$(BOOT) scripts/bootstrap.py requirements.txt $(VENV)

setup-dev:
	@$(BOOT) scripts/bootstrap.py requirements-dev.txt $(VENV)

packages: ## Debian's programs and libraries that some tests need (root)
	@$(BOOT) scripts/packages.py chromium mosquitto prometheus prometheus-alertmanager caddy openjdk-17-jre-headless maven postgresql influxdb libgomp1

demo: setup ## train, stream, retrain, blend: a table, and a report in demo-report/index.html; KEEP=1 goes on serving
	@$(RUN)/driftline demo $(if $(KEEP),--keep) $(if $(DRIFT),--drift $(DRIFT)) $(if $(STREAM),--stream $(STREAM))

check: setup-dev ## format, lint, types, boundaries, Kubernetes manifests, alert rules, dashboards, workflows, names and the wording of documents
	@$(MAKE) --no-print-directory -j2 types lint

# Beside the types, which take one processor for as long as all of this.
lint: setup-dev
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/lint-imports
	$(RUN)/python -m pytest -q $(CHECKS)

types: setup-dev
	$(RUN)/mypy core/driftline kernels client/driftline_client cli/driftline_cli edge services scripts tests

unit: setup-dev ## what needs no Java, no training and no browser, in a minute
	$(RUN)/python -m pytest -n 2 -m unit

unit-all: ## the same on every supported Python that is found, each in an environment of its own
	@set -e; found="$$($(BOOT) scripts/pythons.py)"; echo "$$found" | while read -r version python; do \
	  $(MAKE) --no-print-directory unit PYTHON="$$python" VENV=.venv-$$version < /dev/null; done

test: setup-dev ## all tests, with a real Kafka and a real S3 server; inference's on both TensorFlow Lite runtimes
	$(RUN)/python -m pytest -n $(WORKERS) $(if $(CHECKED),$(addprefix --ignore=,$(CHECKS)))
	@$(MAKE) --no-print-directory PYTHON= test-tflite-runtime

# tflite-runtime has wheels for Python 3.11 and older ones alone.
test-tflite-runtime:
	@if [ -z "$$($(BOOT) scripts/pythons.py constraints/tflite-runtime)" ]; then \
	  echo "driftline: found no Python 3.11, so inference's tests do not run on tflite-runtime"; [ -z "$$CI" ]; \
	else \
	  $(BOOT) scripts/bootstrap.py requirements-tflite-runtime.txt .venv-tflite-runtime constraints/tflite-runtime && \
	  .venv-tflite-runtime/bin/python -m pytest -n 2 tests/inference -o pythonpath=". services/trainer cli"; \
	fi

chaos: setup-dev ## kill and pause everything under load for CHAOS_S=300 s, and judge that nothing was lost; CHAOS_SEED=N again
	@$(RUN)/python -m tests.chaos

docs: setup ## writes docs/reference/ from the definitions, and README's results from the measured pages
	$(RUN)/python -m scripts.reference
	$(RUN)/python -m scripts.results

kafka: setup-dev ## Apache Kafka on 127.0.0.1:9092, without Docker
	@$(RUN)/driftline local kafka

up: setup ## the edge as one process and the trainer as another; KAFKA=1: four services on Kafka and an S3 server
	@$(RUN)/driftline up $(if $(KAFKA),--kafka)

helm: setup-dev ## the objects that the Helm chart installs, as kustomize renders them: writes helm/driftline/rendered/
	$(RUN)/python -m tests.k8s.chart

down: setup ## end them; the data stay in .run/
	@$(RUN)/driftline down

wheels: setup-dev ## every distribution as a wheel, in dist/
	@rm -rf $(DIST)/*.whl
	@$(RUN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w $(DIST) ./core ./client ./cli ./edge ./services/*
	@set -e; for machine in $(MACHINES); do \
	  DRIFTLINE_MACHINE=$$machine $(RUN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w $(DIST) ./kernels; done
	@ls $(DIST)

pi: wheels ## one archive per architecture for a Raspberry Pi without Docker, in dist/pi/
	@$(RUN)/python -m scripts.pi $(DIST) $(MACHINE)

images: ## the five container images, for this machine; `docker buildx bake` makes them for amd64 and arm64
	@set -e; for each in 'ingest:[tables,otel]' 'inference:[litert,otel]' 'combiner:[tables,otel]' 'trainer:[tables,litert]' 'edge:[tables,litert,otel]'; do \
	  service=$${each%%:*}; projects=services/$$service; \
	  [ $$service != combiner ] || projects='services/combiner[postgres]'; \
	  [ $$service != edge ] || projects='edge services/ingest services/inference services/combiner[postgres]'; \
	  DOCKER_BUILDKIT=1 docker build -q $(BUILD_FLAGS) --build-arg SERVICE=$$service --build-arg EXTRAS="$${each#*:}" --build-arg PROJECTS="$$projects" -t $(DRIFTLINE_REGISTRY)/$$service:$(DRIFTLINE_TAG) .; \
	done

push: ## the five images for amd64 and arm64 to DRIFTLINE_REGISTRY, with bills of materials and provenance
	@mkdir -p $(DIST)
	DRIFTLINE_REGISTRY=$(DRIFTLINE_REGISTRY) DRIFTLINE_TAG=$(DRIFTLINE_TAG) \
	  docker buildx bake --push --sbom=true --provenance=mode=max --metadata-file=$(DIST)/images.json

compose-smoke: setup-dev ## one of them, everything on one machine, from nothing to a swapped model
	@$(RUN)/python -m tests.compose --smoke

compose-test: setup-dev ## the compose deployments on the machine's container engine, or on one that is started for it (root, Debian)
	@$(RUN)/python -m tests.compose

pi-test: pi ## those archives on root file systems of Debian 12 and 13 (root, Debian); DRIFTLINE_ARM64=1 on emulated arm64, too
	@DRIFTLINE_PI=$(abspath $(DIST))/pi $(RUN)/python -m pytest -q tests/pi

helm-test: setup-dev ## the Helm chart, by a helm that is on the path or that Go builds
	DRIFTLINE_HELM=1 $(RUN)/python -m pytest tests/k8s

ray-test: setup-dev ## trainings on a Ray cluster of two nodes of this machine, one of which is killed
	DRIFTLINE_RAY=1 $(RUN)/python -m pytest tests/trainer/test_ray.py

bench: setup-dev ## the chain, the edge, a bare relay and Quix Streams in one run of ten minutes: writes docs/performance.md
	@$(BOOT) scripts/bootstrap.py requirements-quix.txt .venv-quix constraints/quix
	$(RUN)/python -m tests.bench $(HORIZONS)

bench-keys: setup-dev ## 10,000 keys: start, memory, /metrics and /livez: writes its figures into docs/scaling.md
	$(RUN)/python -m tests.bench.keys

bench-deployments: setup-dev ## the three deployments with a slow link: writes its figures into docs/deployments.md
	$(RUN)/python -m tests.bench.deployments

bench-training: setup-dev ## a batch model from 10 million records in 2 GB: writes its figures into docs/models.md
	$(RUN)/python -m tests.bench.training

bench-day-files: setup-dev ## what new windows cost among many, and 10,000 series over a year: writes into docs/decisions/0039-day-files.md
	$(RUN)/python -m tests.bench.day_files

bench-many-edges: setup-dev ## what a trainer spends on 500 and 5,000 edges, at its door and on day files: writes into docs/scaling.md
	$(RUN)/python -m tests.bench.many_edges

bench-embedded: setup-dev ## the embedded bus by itself, on the disk of FOLDER: writes its figures into docs/decisions/0026-embedded-bus.md
	$(RUN)/python -m tests.bench.embedded $(FOLDER)

bench-fleet: setup-dev ## roll-outs over 50 whole edges, 20 bad and 20 good versions (EDGES, RUNS, MINUTES): writes into docs/fleet.md
	$(RUN)/python -m tests.bench.fleet $(EDGES) $(RUNS) $(MINUTES)

accuracy: setup-dev ## every member on every stream, horizon and drift, and others, in an hour: writes docs/accuracy.md
	@$(RUN)/driftline accuracy $(if $(PART),--part $(PART))

pictures: setup-dev ## README's picture of the dashboard, by Chromium, in a few minutes: writes docs/pictures/dashboard.png
	$(RUN)/python -m scripts.pictures

gallery: setup-dev ## streams of different kinds, in some minutes: writes docs/gallery.md and its pictures
	$(RUN)/python -m scripts.gallery

bench-swap: setup-dev ## 200 models swapped in under load: writes its figures into docs/models.md
	$(RUN)/python -m tests.bench.swap

clean: ## remove the virtual environments and what was run
	rm -rf .venv .venv-* .test-models .run demo-report backtest-report dist
