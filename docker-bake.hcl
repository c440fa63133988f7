# docker buildx bake            all five images for amd64 and arm64
# make images                   all five for this machine

# Such as ghcr.io/you/driftline; the default never leaves this machine.
variable "DRIFTLINE_REGISTRY" { default = "localhost/driftline" }
variable "DRIFTLINE_TAG" { default = "0.1.0" }
# "host" where building needs the machine's own network.
variable "NETWORK" { default = "default" }
variable "PYTHON" { default = "python:3.13-slim-trixie" }

group "default" { targets = ["ingest", "inference", "combiner", "trainer", "edge"] }

target "service" {
  dockerfile = "Dockerfile"
  network    = NETWORK
  platforms  = ["linux/amd64", "linux/arm64"]
  args       = { PYTHON = PYTHON }
}

target "ingest" {
  inherits = ["service"]
  args     = { SERVICE = "ingest", EXTRAS = "[tables]" }
  tags     = ["${DRIFTLINE_REGISTRY}/ingest:${DRIFTLINE_TAG}"]
}

target "inference" {
  inherits = ["service"]
  args     = { SERVICE = "inference", EXTRAS = "[litert]" }
  tags     = ["${DRIFTLINE_REGISTRY}/inference:${DRIFTLINE_TAG}"]
}

target "combiner" {
  inherits = ["service"]
  args     = { SERVICE = "combiner", EXTRAS = "[tables]", PROJECTS = "services/combiner[postgres]" }
  tags     = ["${DRIFTLINE_REGISTRY}/combiner:${DRIFTLINE_TAG}"]
}

target "trainer" {
  inherits = ["service"]
  args     = { SERVICE = "trainer", EXTRAS = "[tables,litert]" }
  tags     = ["${DRIFTLINE_REGISTRY}/trainer:${DRIFTLINE_TAG}"]
}

target "edge" {
  inherits = ["service"]
  args = {
    SERVICE  = "edge"
    EXTRAS   = "[tables,litert]"
    PROJECTS = "edge services/ingest services/inference services/combiner[postgres]"
  }
  tags = ["${DRIFTLINE_REGISTRY}/edge:${DRIFTLINE_TAG}"]
}

# Not among these: inference for systems with numpy 1. tflite-runtime has no wheels for newer Pythons.
target "inference-tflite-runtime" {
  inherits = ["service"]
  args     = { SERVICE = "inference", EXTRAS = "[tflite-runtime]", PYTHON = "python:3.11-slim-bookworm" }
  tags     = ["${DRIFTLINE_REGISTRY}/inference:${DRIFTLINE_TAG}-tflite-runtime"]
}
