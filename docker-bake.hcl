# docker buildx bake            all four images for amd64 and arm64
# make images                   all four for this machine

variable "REGISTRY" { default = "driftline" }
variable "TAG" { default = "0.1.0" }
# "host" where building needs the machine's own network.
variable "NETWORK" { default = "default" }
variable "PYTHON" { default = "python:3.11-slim-bookworm" }

group "default" { targets = ["ingest", "inference", "combiner", "trainer"] }

target "service" {
  dockerfile = "Dockerfile"
  network    = NETWORK
  platforms  = ["linux/amd64", "linux/arm64"]
  args       = { PYTHON = PYTHON }
}

target "ingest" {
  inherits = ["service"]
  args     = { SERVICE = "ingest", EXTRAS = "[tables]" }
  tags     = ["${REGISTRY}/ingest:${TAG}"]
}

target "inference" {
  inherits = ["service"]
  args     = { SERVICE = "inference", EXTRAS = "[litert]" }
  tags     = ["${REGISTRY}/inference:${TAG}"]
}

target "combiner" {
  inherits = ["service"]
  args     = { SERVICE = "combiner" }
  tags     = ["${REGISTRY}/combiner:${TAG}"]
}

target "trainer" {
  inherits = ["service"]
  args     = { SERVICE = "trainer", EXTRAS = "[tables,litert]" }
  tags     = ["${REGISTRY}/trainer:${TAG}"]
}
