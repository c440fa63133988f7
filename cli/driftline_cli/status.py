"""One look at the four services: health, lag, streams, models, skill, jobs, alerts."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol, TypeVar, overload

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group
from rich.table import Table

from driftline.errors import InvalidInput
from driftline_cli import tokens
from driftline_cli.one_service import client_of
from driftline_cli.screen import keep_whole, table_of
from driftline_client import ApiError, AsyncClient, ClientError, Forbidden, NoAnswer, RaisedAlert, StrangeAnswer
from driftline_client.calls.call import Service
from driftline_client.calls.health import ServiceStreams
from driftline_client.calls.models import EdgeModels, KnownEdge
from driftline_client.calls.scores import StreamScore
from driftline_client.calls.training import TrainingJob

TIMEOUT_S = 5.0
LAG = "driftline_lag_messages"
ALERTS = 5
SEEN = 200
"""Alerts that are asked for: those of one stream may lie behind others'."""
JOBS = 5
T = TypeVar("T")


class _OfStream(Protocol):
    @property
    def stream(self) -> str: ...


R = TypeVar("R", bound=_OfStream)


class StackParts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What only some services know; None where this one does not."""

    models: EdgeModels | None = None
    scores: list[StreamScore] | None = None
    alarms: list[RaisedAlert] | None = None
    jobs: list[TrainingJob] | None = None


@dataclass(frozen=True)
class StackStatus:
    """What a service said. ready: None when it did not answer. lag: by consumer group, messages not worked off yet."""

    service: str
    url: str
    ready: bool | None
    detail: str
    lag: Mapping[str, int]
    streams: ServiceStreams | None
    body: StackParts


async def look(urls: Mapping[Service, str], only: str | None = None) -> list[StackStatus]:
    """Asks all services at once. only: the stream that is looked at, else all."""
    services = list(await asyncio.gather(*(_ask(name, url) for name, url in urls.items())))
    return services if only is None else of_stream(services, only)


def of_stream(services: Sequence[StackStatus], stream: str) -> list[StackStatus]:
    """What was said of one stream. Raises InvalidInput where services answer and none knows it."""
    known = {state.stream for service in services if service.streams for state in service.streams.streams}
    if known and stream not in known:
        raise InvalidInput(f"found no stream {stream!r}, expected one of {sorted(known)}")
    return [_of_stream(service, stream) for service in services]


def _of_stream(service: StackStatus, stream: str) -> StackStatus:
    """What was said of this stream; definitions that are refused belong to none."""
    streams, body = service.streams, service.body
    if streams is not None:
        streams = msgspec.structs.replace(streams, streams=_having(streams.streams, stream))
    models = body.models
    if models is not None:
        models = msgspec.structs.replace(models, models=_having(models.models, stream))
    parts = StackParts(models, _having(body.scores, stream), _having(body.alarms, stream), _having(body.jobs, stream))
    return replace(service, streams=streams, body=parts)


@overload
def _having(rows: list[R], stream: str) -> list[R]: ...
@overload
def _having(rows: list[R] | None, stream: str) -> list[R] | None: ...
def _having(rows: list[R] | None, stream: str) -> list[R] | None:
    return None if rows is None else [row for row in rows if row.stream == stream]


async def _ask(service: Service, url: str) -> StackStatus:
    try:
        async with client_of(url, tokens.reading_token(url), timeout=TIMEOUT_S) as client:
            return await _status(client, service, url)
    except NoAnswer as error:
        return _silent(service, url, f"no answer: {error.reason}")
    except (StrangeAnswer, ValueError):  # the second of what are no metrics
        return _silent(service, url, "what answers there is no Driftline")
    except ClientError as error:
        return _silent(service, url, str(error))


def _silent(service: Service, url: str, detail: str) -> StackStatus:
    return StackStatus(service, url, None, detail, {}, None, StackParts())


async def _status(client: AsyncClient, service: Service, url: str) -> StackStatus:
    """Raises ClientError."""
    readiness = await client.readiness(service)
    detail = readiness.missing or "ok"
    try:
        lag = _lag(await client.metrics(service))
    except Forbidden:
        closed = f"{detail}; {tokens.CLOSED}: {tokens.REMEDY}"
        return StackStatus(service, url, readiness.ready, closed, {}, None, StackParts())
    streams = await _if_any(client.definitions(service))
    return StackStatus(service, url, readiness.ready, detail, lag, streams, await _parts(client, service))


async def _parts(client: AsyncClient, service: Service) -> StackParts:
    match service:
        case "inference":
            return StackParts(models=await _if_any(client.models()))
        case "combiner":
            return StackParts(scores=await _if_any(client.scores()), alarms=await _if_any(client.alerts(SEEN)))
        case "trainer":
            return StackParts(jobs=await _if_any(client.jobs()))
        case _:
            return StackParts()


async def _if_any(answer: Awaitable[T]) -> T | None:
    """None where the service has no such thing, or does not show it."""
    try:
        return await answer
    except ApiError:
        return None


def _lag(text: str) -> dict[str, int]:
    groups: dict[str, int] = defaultdict(int)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == LAG:
                groups[sample.labels["group"]] += int(sample.value)
    return dict(groups)


def render(services: Sequence[StackStatus]) -> Group:
    """One screen."""
    parts = [service.body for service in services]
    tables = [_services(services), *_streams(services)]
    tables += [_models(part.models) for part in parts if part.models]
    tables += [_skill(part.scores) for part in parts if part.scores]
    tables += [_jobs(part.jobs) for part in parts if part.jobs]
    tables += [_alerts(part.alarms) for part in parts if part.alarms]
    return Group(*(table for table in tables if table.row_count))


def _services(services: Sequence[StackStatus]) -> Table:
    table = table_of("Services", "service", "address", "ready", "lag", "says")
    for service in services:
        ready = {True: "yes", False: "no", None: "down"}[service.ready]
        lag = f"{sum(service.lag.values()):,}" if service.lag else ""
        table.add_row(service.service, service.url, ready, lag, service.detail, style="" if service.ready else "red")
    return keep_whole(table, "service", "address")


def _streams(services: Sequence[StackStatus]) -> Iterator[Table]:
    """Only what is not as it should be: definitions that are refused, or that want a restart."""
    wrong = [(service.service, *row) for service in services if service.streams for row in _wrong(service.streams)]
    if wrong:
        table = table_of("Stream definitions", "service", "what", "says")
        for row in wrong:
            table.add_row(*row, style="red")
        yield table


def _wrong(streams: ServiceStreams) -> Iterator[tuple[str, str]]:
    yield from streams.refused.items()
    yield from ((stream.stream, stream.note) for stream in streams.streams if stream.note)


def _models(body: EdgeModels) -> Table:
    """The models; members that are computed on the edge stand in no version."""
    table = table_of(f"Models on {_edge(body.edge)}", "model", "state", "version", "note")
    for model in body.models:
        if model.is_model:
            table.add_row(model.name, model.state, model.version or "", model.note)
    return keep_whole(table, "model", "version")


def _edge(edge: KnownEdge) -> str:
    """An edge as its title says it."""
    labels = "".join(f", {name}={value}" for name, value in edge.labels.items())
    copied = f"; its card was copied: {', '.join(edge.rivals)} run under the same id" if edge.rivals else ""
    return f"{edge.name} ({edge.id or 'no id yet'}{labels}){copied}"


def _skill(body: Sequence[StreamScore]) -> Table:
    table = table_of("Scores", "stream", "horizon", "forecast by", "records", "RMSE", "skill")
    for stream in body:
        for horizon in stream.horizons:
            for name, score in horizon.scores.items():
                if score.n:
                    label = f"{name} (active)" if name == stream.active else name
                    cells = (f"{score.n:,}", _number(score.rmse, ".4f"), _number(score.skill, "+.3f"))
                    table.add_row(stream.stream, str(horizon.horizon), label, *cells)
    return keep_whole(table, "stream", "forecast by")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _jobs(body: Sequence[TrainingJob]) -> Table:
    table = table_of("Training jobs", "since", "model", "state", "version or reason")
    for job in body[:JOBS]:
        name = f"{job.stream}.{job.member}"
        table.add_row(_time(job.submitted), name, job.state, job.version or job.reason or "")
    return keep_whole(table, "model")


def _alerts(body: Sequence[RaisedAlert]) -> Table:
    table = table_of("Latest alarms", "time of the record", "series", "kind", "says")
    for alert in body[:ALERTS]:
        table.add_row(_time(alert.t / 1000), f"{alert.stream}/{alert.key}", alert.kind, alert.detail)
    return keep_whole(table, "series")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
