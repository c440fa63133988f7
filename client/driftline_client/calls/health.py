"""How one service is: whether it is ready, its streams, its metrics and its release. Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from driftline_client.calls.call import Call, Reply, Service, decoded, get, good

NOT_READY = 503
FINE = "ok"


class ServiceReadiness(msgspec.Struct, frozen=True):
    """Whether a service can do its work. checks: by name `ok`, or the reason. now: its clock, where it tells."""

    ready: bool
    checks: dict[str, str]
    now: datetime | None = None

    @property
    def missing(self) -> str:
        """Every check that is not content, with its reason; some of them a service can work without."""
        return "; ".join(f"{name}: {state}" for name, state in self.checks.items() if state != FINE)


class DefinedStream(msgspec.Struct, frozen=True):
    """A stream as a service knows it."""

    stream: str
    description: str
    state: Literal["runs", "changed", "gone"]
    note: str
    """The action to take, and the faults of its records; empty where all is well."""


class ServiceStreams(msgspec.Struct, frozen=True):
    """The streams that a service works on."""

    streams: list[DefinedStream]
    refused: dict[str, str]
    """By file of the definitions' folder why it can't be used."""


class _Info(msgspec.Struct, frozen=True):
    version: str


class _Description(msgspec.Struct, frozen=True):
    info: _Info


def readiness(service: Service) -> Call[ServiceReadiness]:
    """Whether it can do its work; one that can't is an answer as well, and no error."""
    return Call(service, "GET", "/readyz", _readiness)


def definitions(service: Service) -> Call[ServiceStreams]:
    """The streams that it works on, and the definitions that it refuses."""
    return get(service, "/v1/streams", ServiceStreams)


def metrics(service: Service) -> Call[str]:
    """Its metrics in Prometheus' text format."""
    return Call(service, "GET", "/metrics", _text)


def release(service: Service) -> Call[str]:
    """The release that it is of, such as 0.1.0."""
    return Call(service, "GET", "/openapi.json", _release)


def _readiness(reply: Reply) -> ServiceReadiness:
    body = reply.body if reply.status == NOT_READY else good(reply).body
    return msgspec.structs.replace(decoded(body, ServiceReadiness), now=_time(reply.date))


def _time(header: str | None) -> datetime | None:
    try:
        time = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    # One of -0000 says no zone, and is of UTC as all headers are.
    return time.replace(tzinfo=time.tzinfo or UTC)


def _text(reply: Reply) -> str:
    return good(reply).body.decode(errors="replace")


def _release(reply: Reply) -> str:
    return decoded(good(reply).body, _Description).info.version
