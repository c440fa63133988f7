"""One look at the four services: health, lag, streams, models, skill, jobs, alerts."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group
from rich.table import Table

from driftline.errors import InvalidInput
from driftline_cli import tokens
from driftline_cli.screen import keep_whole, table_of

TIMEOUT_S = 5.0
LAG = "driftline_lag_messages"
ALERTS = 5
SEEN = 200
"""Alerts that are asked for: those of one stream may lie behind others'."""
JOBS = 5
PATHS = {
    "ingest": {},
    "inference": {"models": "/v1/models"},
    "combiner": {"scores": "/v1/scores", "alarms": f"/v1/alerts?limit={SEEN}"},
    "trainer": {"jobs": "/v1/jobs"},
}
"""What every service is asked beside its readiness, its lag and its streams."""


@dataclass(frozen=True)
class StackStatus:
    """What a service said. ready: None when it did not answer. lag: by consumer group, messages not worked off yet.
    streams: as `GET /v1/streams` tells. body: by name of PATHS what it answered."""

    service: str
    url: str
    ready: bool | None
    detail: str
    lag: Mapping[str, int]
    streams: Any
    body: Mapping[str, Any]


async def look(urls: Mapping[str, str], only: str | None = None) -> list[StackStatus]:
    """Asks all services at once. only: the stream that is looked at, else all."""
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        services = list(await asyncio.gather(*(_ask(client, name, url) for name, url in urls.items())))
    return services if only is None else of_stream(services, only)


def of_stream(services: list[StackStatus], stream: str) -> list[StackStatus]:
    """What was said of one stream. Raises InvalidInput where services answer and none knows it."""
    known = {state["stream"] for service in services if service.streams for state in service.streams["streams"]}
    if known and stream not in known:
        raise InvalidInput(f"found no stream {stream!r}, expected one of {sorted(known)}")
    return [_of_stream(service, stream) for service in services]


def _of_stream(service: StackStatus, stream: str) -> StackStatus:
    """What was said of this stream; definitions that are refused belong to none."""
    streams = service.streams
    if streams is not None:
        streams = {**streams, "streams": _having(streams["streams"], stream)}
    return replace(service, streams=streams, body={name: _part(part, stream) for name, part in service.body.items()})


def _part(body: Any, stream: str) -> Any:
    if isinstance(body, dict):
        return {**body, "models": _having(body["models"], stream)}
    return body and _having(body, stream)


def _having(rows: list[Any], stream: str) -> list[Any]:
    return [row for row in rows if row["stream"] == stream]


async def _ask(client: httpx.AsyncClient, service: str, url: str) -> StackStatus:
    try:
        headers = tokens.reading(url)
        health = await client.get(f"{url}/readyz")
        checks = health.json()["checks"]
        metrics = await client.get(f"{url}/metrics", headers=headers)
        lag = _lag(metrics.text) if metrics.is_success else {}
        streams = await _read(client, f"{url}/v1/streams", headers)
        body = {name: await _read(client, f"{url}{path}", headers) for name, path in PATHS[service].items()}
    except httpx.HTTPError as error:
        return StackStatus(service, url, None, f"no answer: {str(error) or type(error).__name__}", {}, None, {})
    except (ValueError, KeyError):
        return StackStatus(service, url, None, "what answers there is no Driftline", {}, None, {})
    wrong = [f"{name}: {state}" for name, state in checks.items() if state != "ok"]
    closed = [f"{tokens.CLOSED}: {tokens.REMEDY}"] if tokens.is_refusal(metrics.status_code) else []
    return StackStatus(service, url, health.is_success, "; ".join([*(wrong or ["ok"]), *closed]), lag, streams, body)


async def _read(client: httpx.AsyncClient, url: str, headers: Mapping[str, str]) -> Any:
    """What it answers; None where the service has no such thing."""
    answer = await client.get(url, headers=headers)
    return answer.json() if answer.is_success else None


def _lag(text: str) -> dict[str, int]:
    groups: dict[str, int] = defaultdict(int)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == LAG:
                groups[sample.labels["group"]] += int(sample.value)
    return dict(groups)


def render(services: list[StackStatus]) -> Group:
    """One screen."""
    body = {name: part for service in services for name, part in service.body.items() if part is not None}
    tables = [_services(services), *_streams(services)]
    tables += [table(body[name]) for name, table in TABLES.items() if body.get(name)]
    return Group(*(table for table in tables if table.row_count))


def _services(services: list[StackStatus]) -> Table:
    table = table_of("Services", "service", "address", "ready", "lag", "says")
    for service in services:
        ready = {True: "yes", False: "no", None: "down"}[service.ready]
        lag = f"{sum(service.lag.values()):,}" if service.lag else ""
        table.add_row(service.service, service.url, ready, lag, service.detail, style="" if service.ready else "red")
    return keep_whole(table, "service", "address")


def _streams(services: list[StackStatus]) -> Iterator[Table]:
    """Only what is not as it should be: definitions that are refused, or that want a restart."""
    wrong = [(service.service, *row) for service in services if service.streams for row in _wrong(service.streams)]
    if wrong:
        table = table_of("Stream definitions", "service", "what", "says")
        for row in wrong:
            table.add_row(*row, style="red")
        yield table


def _wrong(streams: Any) -> Iterator[tuple[str, str]]:
    yield from streams["refused"].items()
    yield from ((stream["stream"], stream["note"]) for stream in streams["streams"] if stream["note"])


def _models(body: Any) -> Table:
    """The models; members that are computed on the edge stand in no version."""
    title = f"Models on {_edge(body['edge'])}"
    table = table_of(title, "model", "state", "version", "note")
    for model in body["models"]:
        if model["state"] != "built-in":
            name = f"{model['stream']}.{model['member']}"
            table.add_row(name, model["state"], model["version"] or "", model["note"])
    return keep_whole(table, "model", "version")


def _edge(edge: Mapping[str, Any]) -> str:
    """An edge as its title says it; those of former releases have no labels."""
    labels = "".join(f", {name}={value}" for name, value in edge.get("labels", {}).items())
    rivals = edge.get("rivals") or []
    copied = f"; its card was copied: {', '.join(rivals)} run under the same id" if rivals else ""
    return f"{edge['name']} ({edge['id'] or 'no id yet'}{labels}){copied}"


def _skill(body: Any) -> Table:
    table = table_of("Scores", "stream", "horizon", "forecast by", "records", "RMSE", "skill")
    for stream in body:
        for horizon in stream["horizons"]:
            for name, score in horizon["scores"].items():
                if score["n"]:
                    label = f"{name} (active)" if name == stream["active"] else name
                    cells = (f"{score['n']:,}", f"{score['rmse']:.4f}", f"{score['skill']:+.3f}")
                    table.add_row(stream["stream"], str(horizon["horizon"]), label, *cells)
    return keep_whole(table, "stream", "forecast by")


def _jobs(body: Any) -> Table:
    table = table_of("Training jobs", "since", "model", "state", "version or reason")
    for job in body[:JOBS]:
        name = f"{job['stream']}.{job['member']}"
        table.add_row(_time(job["submitted"]), name, job["state"], job["version"] or job["reason"] or "")
    return keep_whole(table, "model")


def _alerts(body: Any) -> Table:
    table = table_of("Latest alarms", "time of the record", "series", "kind", "says")
    for alert in body[:ALERTS]:
        series = f"{alert['stream']}/{alert['key']}"
        table.add_row(_time(alert["t"] / 1000), series, alert["kind"], alert["detail"])
    return keep_whole(table, "series")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


TABLES = {"models": _models, "scores": _skill, "jobs": _jobs, "alarms": _alerts}
