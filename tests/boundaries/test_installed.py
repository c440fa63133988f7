"""What is installed with a service, by the packages' own metadata."""

from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement


def installed_with(distribution: str) -> set[str]:
    """Names of everything that a distribution needs here, itself included."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [Requirement(distribution)]
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        found.add(wanted.name.lower().replace("_", "-"))
        try:
            needs = [Requirement(text) for text in requires(wanted.name) or ()]
        except PackageNotFoundError:
            continue
        extras = ["", *wanted.extras]
        waiting += [n for n in needs if n.marker is None or any(n.marker.evaluate({"extra": e}) for e in extras)]
    return found


@pytest.mark.parametrize("service", ["ingest", "inference", "combiner", "edge"])
def test_the_edge_holds_no_tensorflow(service: str):
    assert not {name for name in installed_with(f"driftline-{service}") if "tensorflow" in name or name == "keras"}


def test_the_command_holds_no_service_and_no_tensorflow():
    found = installed_with("driftline-cli")
    own = {"driftline-cli", "driftline-client", "driftline-kernels"}
    assert not {name for name in found if name.startswith(("driftline-", "tensorflow", "keras"))} - own
    assert not {"matplotlib", "ministack"} & found


def test_the_client_holds_neither_the_core_nor_numpy():
    found = installed_with("driftline-client")
    assert {"httpx", "httpx-sse", "msgspec", "stamina"} <= found
    assert not {"driftline", "numpy", "pydantic", "fastapi", "aiokafka"} & found


def test_the_commands_extra_holds_what_runs_everything_here():
    services = {f"driftline-{service}" for service in ("ingest", "inference", "combiner", "trainer", "edge")}
    assert {*services, "matplotlib", "ministack", "ai-edge-litert"} <= installed_with("driftline-cli[lab]")


def test_the_trainer_holds_tensorflow():
    assert {"tensorflow-cpu", "tensorflow"} & installed_with("driftline-trainer")


@pytest.mark.parametrize(("extra", "runtime"), [("litert", "ai-edge-litert"), ("tflite-runtime", "tflite-runtime")])
def test_inference_holds_the_runtime_that_is_asked_for(extra: str, runtime: str):
    found = installed_with(f"driftline-inference[{extra}]") & {"ai-edge-litert", "tflite-runtime"}
    assert found == {runtime}


def test_ingest_and_combiner_hold_no_runtime():
    for service in ("ingest", "combiner"):
        assert not {"ai-edge-litert", "tflite-runtime"} & installed_with(f"driftline-{service}")
