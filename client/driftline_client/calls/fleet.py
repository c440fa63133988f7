"""The fleet as the trainer knows it: all edges, one edge, one version across edges. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from driftline_client.calls.call import Call, get, in_path


class FleetProblem(msgspec.Struct, frozen=True):
    """Something about an edge that a person should know. since: seconds since the epoch."""

    kind: str
    detail: str
    since: float | None


class FleetStream(msgspec.Struct, frozen=True):
    """How an edge does on a stream: means over horizons."""

    keys: int
    scored: int
    skill: float | None
    coverage: float | None


class FleetModel(msgspec.Struct, frozen=True):
    """A model on an edge."""

    version: str | None
    since: float | None
    named: str | None
    """The version that the edge should run."""
    pinned: bool


class FleetEdge(msgspec.Struct, frozen=True):
    """An edge. Times in seconds since the epoch."""

    id: str
    name: str
    labels: dict[str, str]
    state: Literal["live", "late", "silent"]
    since: float | None
    heard: float | None
    software: str | None
    registered: bool
    lag: int | None
    skill: float | None
    streams: dict[str, FleetStream]
    models: dict[str, FleetModel]
    alerts: int
    problems: list[FleetProblem]


class FleetNumbers(msgspec.Struct, frozen=True):
    """The whole fleet in numbers of edges."""

    edges: int
    live: int
    late: int
    silent: int
    problems: int
    skill: float | None


class Fleet(msgspec.Struct, frozen=True):
    """The fleet by now."""

    now: float
    revision: int
    whole: bool
    summary: FleetNumbers
    edges: list[FleetEdge]


class HeartbeatPoint(msgspec.Struct, frozen=True):
    """A heartbeat's figures."""

    at: float
    scored: int
    skill: float | None
    lag: int | None


class FleetEvent(msgspec.Struct, frozen=True):
    """A change on an edge."""

    at: float
    kind: str
    detail: str


class FleetEdgeDetails(msgspec.Struct, frozen=True):
    """All that is known of an edge."""

    edge: FleetEdge
    clock_offset: float | None
    boots: list[str]
    joined: float | None
    heartbeat: dict[str, Any] | None
    """The newest, as the edge wrote it."""
    history: list[HeartbeatPoint]
    events: list[FleetEvent]


class VersionAtEdge(msgspec.Struct, frozen=True):
    """A version on an edge."""

    id: str
    name: str
    serves: bool
    since: float | None
    former: str | None
    truths: int
    verdict: Literal["better", "worse", "open"] | None
    rolled_back: str | None
    refused: str | None


class FleetVersion(msgspec.Struct, frozen=True):
    """A version across edges."""

    version: str
    sentence: str
    edges: int
    truths: int
    better: int
    worse: int
    compared: int
    rolled_back: int
    refused: int
    log_worse: float | None
    log_not_worse: float | None
    model: str | None = None
    by_edge: list[VersionAtEdge] = []
    """Of one version that was asked for."""


def fleet(labels: Mapping[str, str] | Sequence[str] = (), states: Sequence[str] = ()) -> Call[Fleet]:
    """All edges, or those with all of these labels and in one of these states. labels: by name, or `name=value`."""
    pairs = [f"{name}={value}" for name, value in labels.items()] if isinstance(labels, Mapping) else labels
    return get("trainer", "/v1/fleet", Fleet, [*(("label", pair) for pair in pairs), *(("state", s) for s in states)])


def edge(edge_id: str) -> Call[FleetEdgeDetails]:
    """All that is known of an edge. Raises NoSuchThing."""
    return get("trainer", f"/v1/fleet/edges/{in_path(edge_id)}", FleetEdgeDetails)


def versions(model: str) -> Call[list[FleetVersion]]:
    """The versions of a model across edges. model: STREAM.MEMBER."""
    return get("trainer", f"/v1/fleet/versions/{in_path(model)}", list[FleetVersion])


def version(model: str, version_name: str) -> Call[FleetVersion]:
    """One version, edge by edge. version_name: whole, or its number such as v000042. Raises NoSuchThing."""
    return get("trainer", f"/v1/fleet/versions/{in_path(model)}/{in_path(version_name)}", FleetVersion)
