"""Asks the trainer about the fleet, and shows it: all edges, one edge, one version across edges."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from driftline.errors import InvalidInput
from driftline_cli import tokens
from driftline_cli.screen import keep_whole, table_of
from driftline_client import AsyncClient
from driftline_client.calls.fleet import (
    Fleet,
    FleetEdge,
    FleetEdgeDetails,
    FleetNumbers,
    FleetStream,
    FleetVersion,
)

SHOWN = 10
"""Events and alerts of an edge that are shown."""


async def fleet(url: str, labels: Sequence[str], states: Sequence[str]) -> Fleet:
    """All edges, or those with these labels and in one of these states. Raises ClientError."""
    async with _client(url) as client:
        return await client.fleet(labels, states)


async def one_edge(url: str, wanted: str) -> FleetEdgeDetails:
    """An edge by its id or its name. Raises InvalidInput where none or several are, and ClientError."""
    async with _client(url) as client:
        known = (await client.fleet()).edges
        meant = [edge for edge in known if edge.id == wanted] or [edge for edge in known if edge.name == wanted]
        if not meant:
            raise InvalidInput(
                f"found no edge {wanted!r} among {len(known)}, expected an id or a name: see driftline fleet"
            )
        if len(meant) > 1:
            raise InvalidInput(f"found {len(meant)} edges called {wanted!r}, expected one of {[e.id for e in meant]}")
        return await client.edge(meant[0].id)


async def one_version(url: str, wanted: str) -> FleetVersion | list[FleetVersion]:
    """MODEL@VERSION across edges, or of MODEL alone all versions. Raises ClientError."""
    model, _, version = wanted.partition("@")
    async with _client(url) as client:
        return await client.version(model, version) if version else await client.versions(model)


def _client(url: str) -> AsyncClient:
    return AsyncClient(trainer=url, token=tokens.reading_token(url), patience=0)


def as_screen(body: Fleet) -> Group:
    """All edges; those that need a look first."""
    table = table_of("Edges", "edge", "id", "state", "skill", "cover", "models", "problems")
    for edge in sorted(body.edges, key=_urgency):
        serving = {name: model.version for name, model in edge.models.items() if model.version}
        models = "\n".join(f"{name} {_short(version)}" for name, version in serving.items()) or "none yet"
        name = "\n".join([edge.name, *(f"{label}={value}" for label, value in edge.labels.items())])
        shares = (_share(edge.skill), _share(_coverage(edge.streams)))
        row = (name, edge.id, _state(edge), *shares, models, "\n".join(_problems(edge)))
        table.add_row(*map(Text, row), style=_style(edge))
    return Group(Text(_summary(body.summary)), *([keep_whole(table, "id")] if body.edges else []))


def edge_screen(body: FleetEdgeDetails) -> Group:
    """One edge."""
    beat = body.heartbeat or {}
    state = _state(body.edge).replace("\n", " ")
    lines = [f"{body.edge.name} ({body.edge.id}): {state}", *_facts(body)]
    tables = [_streams(beat.get("streams", {})), _models(beat.get("models", {})), _events(body)]
    return Group(*(Text(line) for line in lines), *(table for table in tables if table.row_count))


def version_screen(body: FleetVersion | list[FleetVersion]) -> Group:
    """One version across edges, or all versions of a model."""
    if isinstance(body, list):
        return Group(*(Text(version.sentence) for version in body))
    table = table_of(body.version, "edge", "serves", "compared with", "truths", "than that", "why not")
    words = {"better": "no worse", "worse": "worse", "open": "not known yet", None: ""}
    for row in sorted(body.by_edge, key=lambda row: row.verdict != "worse"):
        why = row.rolled_back or row.refused or ""
        serves = f"since {_time(row.since)}" if row.serves else "no"
        cells = (row.name, serves, _short(row.former), f"{row.truths:,}", words[row.verdict], why)
        table.add_row(*map(Text, cells), style="red" if row.verdict == "worse" else "")
    return Group(Text(body.sentence), keep_whole(table, "edge"))


def _summary(summary: FleetNumbers) -> str:
    edges = f"{summary.edges:,} edge{'' if summary.edges == 1 else 's'}"
    states = f"{summary.live:,} live, {summary.late:,} late, {summary.silent:,} silent"
    skill = "" if summary.skill is None else f"; skill {_share(summary.skill)}"
    return f"{edges}: {states}; {summary.problems:,} with a problem{skill}"


def _facts(body: FleetEdgeDetails) -> Iterator[str]:
    edge, beat = body.edge, body.heartbeat or {}
    if edge.labels:
        yield "labels: " + ", ".join(f"{name}={value}" for name, value in edge.labels.items())
    if edge.software:
        yield f"Driftline {edge.software}"
    yield f"joined {_time(body.joined)}" if edge.registered else "not registered: its notes need no signature"
    if beat.get("disk_free") is not None and beat.get("disk_total"):
        yield f"disk: {beat['disk_free'] / 1e9:.1f} of {beat['disk_total'] / 1e9:.1f} GB are free"
    if edge.lag is not None:
        yield f"lag: {edge.lag:,} records"
    yield from (f"{problem.kind}: {problem.detail}" for problem in edge.problems)


def _streams(streams: Mapping[str, Any]) -> Table:
    table = table_of("Streams", "stream", "keys", "truths", "skill", "coverage")
    for name, health in streams.items():
        shares = (_by_horizon(health.get("skill", {})), _by_horizon(health.get("coverage", {})))
        table.add_row(*map(Text, (name, f"{health.get('keys', 0):,}", f"{health.get('scored', 0):,}", *shares)))
    return keep_whole(table, "stream")


def _models(models: Mapping[str, Any]) -> Table:
    table = table_of("Models", "model", "version", "since", "note")
    for name, model in models.items():
        refused = {**model.get("refused", {}), **model.get("rolled_back", {})}
        notes = ["pinned"] if model.get("pinned") else []
        notes += [f"not {_short(version)}: {why}" for version, why in refused.items()]
        cells = (name, model.get("version") or "none", _time(model.get("since")), "; ".join(notes))
        table.add_row(*map(Text, cells))
    return keep_whole(table, "model", "version")


def _events(body: FleetEdgeDetails) -> Table:
    table = table_of("What happened", "when", "says")
    events = [(event.at, event.detail) for event in body.events]
    events += [
        (alert["t"] / 1000, f"{alert['stream']}/{alert['key']}: {alert['kind']}: {alert['detail']}")
        for alert in (body.heartbeat or {}).get("alerts", ())
    ]
    for at, says in sorted(events, reverse=True)[:SHOWN]:
        table.add_row(*map(Text, (_time(at), says)))
    return keep_whole(table, "when")


def _urgency(edge: FleetEdge) -> tuple[int, str]:
    order = {"silent": 0, "late": 1, "live": 3}[edge.state]
    return (min(order, 2) if edge.problems else order, edge.name)


def _state(edge: FleetEdge) -> str:
    if edge.heard is None:
        return f"{edge.state}\nnever heard"
    return edge.state if edge.state == "live" else f"{edge.state}\nsince {_time(edge.since)}"


def _problems(edge: FleetEdge) -> Iterator[str]:
    yield from (f"{problem.kind}: {problem.detail}" for problem in edge.problems)
    if edge.alerts:
        yield f"{edge.alerts} {'alert' if edge.alerts == 1 else 'alerts'}"


def _style(edge: FleetEdge) -> str:
    return {"silent": "red", "late": "yellow", "live": ""}[edge.state]


def _coverage(streams: Mapping[str, FleetStream]) -> float | None:
    """The mean over streams."""
    known = [stream.coverage for stream in streams.values() if stream.coverage is not None]
    return sum(known) / len(known) if known else None


def _share(share: float | None) -> str:
    # Nothing is less than nothing by less than half a percent.
    return "" if share is None else f"{round(share, 2) + 0.0:.0%}"


def _by_horizon(shares: Any) -> str:
    return ", ".join(f"{horizon}: {share:.0%}" for horizon, share in shares.items())


def _short(version: str | None) -> str:
    return (version or "none").partition("-")[0]


def _time(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
