"""Traces are switched on by OpenTelemetry's own variables, and cost nothing where they are off."""

import subprocess
import sys

import pytest

from driftline.errors import InvalidInput
from driftline.tracing.environment import open_tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
OFF = """\
import sys
from driftline.tracing.environment import open_tracing
import driftline_edge.app
assert open_tracing("ingest", {}) is None
print(sorted({"opentelemetry.sdk", "opentelemetry.exporter", "driftline.tracing.otlp"} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "edge", "OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        ENDPOINT | {"OTEL_SDK_DISABLED": "True"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=["nothing", "no endpoint", "an empty endpoint", "disabled", "no exporter"],
)
def test_there_are_none_unless_an_endpoint_is_named(environment: dict[str, str]):
    assert open_tracing("ingest", environment) is None


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: found 'zipkin', expected otlp or none"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: found 'grpc', expected http/protobuf",
        ),
    ],
    ids=["exporter", "protocol"],
)
def test_what_can_not_be_followed_is_refused(environment: dict[str, str], sentence: str):
    with pytest.raises(InvalidInput, match=sentence):
        open_tracing("ingest", ENDPOINT | environment)


@pytest.mark.process
def test_where_they_are_off_nothing_of_it_is_imported():
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
