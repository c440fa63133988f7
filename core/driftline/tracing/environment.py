"""Whether there are traces, by the environment variables of OpenTelemetry's specification."""

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

from driftline.errors import InvalidInput
from driftline.tracing.port import Tracing

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOL = "http/protobuf"
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def open_tracing(service: str, environment: Mapping[str, str]) -> Tracing | None:
    """The traces of a service, sent to the endpoint that the environment names; None where it names none, or switches
    them off. Raises InvalidInput for what can't be followed."""
    if not _is_on(environment):
        return None
    _check(environment)
    # Only here: it takes memory and time that nobody should pay who has no use for it.
    from driftline.tracing.otlp import OtlpTracing  # noqa: PLC0415

    # An endpoint may hold a password, so only its host is said.
    log.info("traces go to %s", urlsplit(_first(environment, ENDPOINTS)).hostname)
    return OtlpTracing.open(f"driftline-{service}")


def _is_on(environment: Mapping[str, str]) -> bool:
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return bool(_first(environment, ENDPOINTS)) and not is_disabled and _exporter(environment) != "none"


def _check(environment: Mapping[str, str]) -> None:
    if (exporter := _exporter(environment)) != "otlp":
        raise InvalidInput(f"{EXPORTER}: found {exporter!r}, expected otlp or none")
    if (protocol := _first(environment, PROTOCOLS) or PROTOCOL) != PROTOCOL:
        raise InvalidInput(f"{PROTOCOLS[-1]}: found {protocol!r}, expected {PROTOCOL}")
    if not _is_installed():
        raise InvalidInput(
            f"{ENDPOINTS[-1]}: found an endpoint for traces without the packages that send them, expected "
            "driftline[otel] to be installed"
        )


def _exporter(environment: Mapping[str, str]) -> str:
    return environment.get(EXPORTER, "").strip().lower() or "otlp"


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    """An empty value is as none, by the specification."""
    return next((value for name in names if (value := environment.get(name, "").strip())), "")


def _is_installed() -> bool:
    try:
        return all(find_spec(name) is not None for name in NEEDED)
    except ModuleNotFoundError:
        return False
