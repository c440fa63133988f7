"""What the fleet's REST door answers, made of the book's records."""

from typing import Any

import msgspec
from pydantic import BaseModel, Field

from driftline.fleet.heartbeat import StreamHealth
from driftline_trainer.fleet.edge_record import EdgeRecord, mean, skill_of, troubles
from driftline_trainer.fleet.states import EdgeState
from driftline_trainer.fleet.version_view import Verdict, VersionView


class TroubleAnswer(BaseModel):
    """Something about an edge that a person should know."""

    kind: str = Field(
        description="`cloned`, `clock`, `waits`, `gap`, `rolled_back`, `not_heard`, or why its newest heartbeat was "
        "not believed: `size`, `form`, `edge`, `numbers`, `order`, `signature`, `registration`, `revoked`",
        examples=["clock"],
    )
    detail: str = Field(examples=["its clock is 3 days behind"])
    since: float | None


class StreamSummary(BaseModel):
    """How an edge does on a stream. skill, coverage: means over horizons."""

    keys: int
    scored: int = Field(description="truths that met a forecast")
    skill: float | None = Field(description="of the blend against persistence", examples=[0.21])
    coverage: float | None = Field(description="share of truths in the 90 % interval", examples=[0.9])


class ModelSummary(BaseModel):
    """A model on an edge."""

    version: str | None = Field(examples=["v000042-0123456789ab"])
    since: float | None
    named: str | None = Field(description="the version that the edge should run")
    pinned: bool


class EdgeSummary(BaseModel):
    """An edge in a list. Times in seconds since the epoch."""

    id: str = Field(examples=["4f1d2c3b"])
    name: str = Field(examples=["pi-7"])
    labels: dict[str, str] = Field(examples=[{"site": "north"}])
    state: EdgeState
    since: float | None = Field(description="when the state began; of a late or silent edge when it was heard last")
    heard: float | None = Field(description="when it was heard last")
    software: str | None = Field(examples=["0.2.0"])
    registered: bool = Field(description="whether it joined, so that its heartbeats must be signed")
    lag: int | None = Field(description="records that it has taken in and not forecast yet")
    skill: float | None = Field(description="mean over its streams", examples=[0.21])
    streams: dict[str, StreamSummary]
    models: dict[str, ModelSummary] = Field(description="by `<stream>.<member>`")
    alerts: int = Field(description="alerts in its newest heartbeat")
    problems: list[TroubleAnswer]


class FleetSummary(BaseModel):
    """The whole fleet in numbers."""

    edges: int
    live: int
    late: int
    silent: int
    problems: int = Field(description="edges with a problem")
    skill: float | None = Field(description="mean over live edges")


class FleetAnswer(BaseModel):
    """The fleet by now."""

    now: float = Field(description="seconds since the epoch, by the trainer's clock")
    revision: int = Field(description="ask with `after` it for what has changed since")
    whole: bool = Field(description="whether edges that are not in `edges` are no more, or are not asked for")
    summary: FleetSummary
    edges: list[EdgeSummary] = Field(description="by id")


class PointAnswer(BaseModel):
    """A heartbeat's figures."""

    at: float
    scored: int
    skill: float | None
    lag: int | None


class EventAnswer(BaseModel):
    """A change on an edge."""

    at: float
    kind: str = Field(examples=["swap"])
    detail: str


class EdgeAnswer(BaseModel):
    """All that is known of an edge."""

    edge: EdgeSummary
    clock_offset: float | None = Field(description="seconds by which its clock is ahead, where it is known or wrong")
    boots: list[str] = Field(description="boots that wrote under this id, by turns, the newest last")
    joined: float | None
    heartbeat: dict[str, Any] | None = Field(description="the newest that is believed, as the edge wrote it")
    history: list[PointAnswer] = Field(description="of the newest heartbeats, the newest last")
    events: list[EventAnswer] = Field(description="since this trainer runs, the newest last")


class VersionOnEdgeAnswer(BaseModel):
    """A version on an edge."""

    id: str
    name: str
    serves: bool
    since: float | None
    former: str | None = Field(description="which it is compared with")
    truths: int
    verdict: Verdict | None = Field(description="null where it was not compared")
    rolled_back: str | None = Field(description="why the edge went back from it")
    refused: str | None = Field(description="why it may not serve there")


class VersionSummary(BaseModel):
    """A version across edges."""

    version: str = Field(examples=["v000042-0123456789ab"])
    sentence: str = Field(examples=["v000042: 12 edges, 3,400 truths, better on 11"])
    edges: int = Field(description="that serve it")
    truths: int = Field(description="that it and the former met, on all edges")
    better: int = Field(description="edges on which it is no worse than the former, by odds of 20 to 1")
    worse: int = Field(description="edges on which it is worse, by odds of 1,000 to 1, or was rolled back")
    compared: int = Field(description="edges that have compared")
    rolled_back: int
    refused: int
    log_worse: float | None = Field(description="logarithm of the mean evidence of all edges that it is worse")
    log_not_worse: float | None = Field(description="... that it is not")


class VersionAnswer(VersionSummary):
    """... and edge by edge."""

    model: str
    by_edge: list[VersionOnEdgeAnswer]


def fleet_summary(records: list[EdgeRecord], now: float) -> FleetSummary:
    states = [record.state(now) for record in records]
    skills = [
        skill
        for record, state in zip(records, states, strict=True)
        if state == "live" and record.heartbeat is not None and (skill := skill_of(record.heartbeat)) is not None
    ]
    return FleetSummary(
        edges=len(records),
        live=states.count("live"),
        late=states.count("late"),
        silent=states.count("silent"),
        problems=sum(bool(troubles(record, now)) for record in records),
        skill=sum(skills) / len(skills) if skills else None,
    )


def edge_summary(record: EdgeRecord, now: float) -> EdgeSummary:
    beat = record.heartbeat
    return EdgeSummary(
        id=record.edge,
        name=record.name,
        labels=record.labels,
        state=record.state(now),
        since=record.since(now),
        heard=record.last,
        software=beat.software if beat is not None else None,
        registered=record.registration is not None,
        lag=beat.lag if beat is not None else None,
        skill=skill_of(beat) if beat is not None else None,
        streams={name: _stream(health) for name, health in beat.streams.items()} if beat is not None else {},
        models={
            name: ModelSummary(version=model.version, since=model.since, named=model.named, pinned=model.pinned)
            for name, model in (beat.models.items() if beat is not None else ())
        },
        alerts=len(beat.alerts) if beat is not None else 0,
        problems=[
            TroubleAnswer(kind=trouble.kind, detail=trouble.detail, since=trouble.since)
            for trouble in troubles(record, now)
        ],
    )


def edge_answer(record: EdgeRecord, now: float) -> EdgeAnswer:
    return EdgeAnswer(
        edge=edge_summary(record, now),
        clock_offset=record.clock_offset,
        boots=[boot for boot, _ in record.boots],
        joined=record.registration.joined if record.registration is not None else None,
        heartbeat=msgspec.to_builtins(record.heartbeat) if record.heartbeat is not None else None,
        history=[
            PointAnswer(at=point.at, scored=point.scored, skill=point.skill, lag=point.lag) for point in record.history
        ],
        events=[EventAnswer(at=event.at, kind=event.kind, detail=event.detail) for event in record.events],
    )


def version_summary(seen: VersionView) -> VersionSummary:
    return VersionSummary(**_figures(seen))


def version_answer(model: str, seen: VersionView) -> VersionAnswer:
    rows = [
        VersionOnEdgeAnswer(
            id=row.edge,
            name=row.name,
            serves=row.serves,
            since=row.since,
            former=row.former,
            truths=row.truths,
            verdict=row.verdict,
            rolled_back=row.rolled_back,
            refused=row.refused,
        )
        for row in seen.rows
    ]
    return VersionAnswer(**_figures(seen), model=model, by_edge=rows)


def _figures(seen: VersionView) -> dict[str, Any]:
    return {name: getattr(seen, name) for name in VersionSummary.model_fields}


def _stream(health: StreamHealth) -> StreamSummary:
    return StreamSummary(
        keys=health.keys, scored=health.scored, skill=mean(health.skill), coverage=mean(health.coverage)
    )
