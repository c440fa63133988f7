"""One look at the four services: health, models, skill."""

from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Group
from rich.table import Table

TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Found:
    """What a service said. `ready` is None when it did not answer."""

    service: str
    url: str
    ready: bool | None
    detail: str
    body: Any


async def ask(client: httpx.AsyncClient, service: str, url: str, path: str) -> Found:
    """Asks a service for its readiness, and for `path`."""
    try:
        health = await client.get(f"{url}/readyz")
        answer = await client.get(f"{url}{path}")
        answer.raise_for_status()
        checks = health.json()["checks"]
        body = answer.json()
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return Found(service, url, None, f"no answer: {error}", None)
    wrong = "; ".join(f"{name}: {state}" for name, state in checks.items() if state != "ok")
    return Found(service, url, health.is_success, wrong or "ok", body)


PATHS = {"ingest": "/livez", "inference": "/v1/models", "combiner": "/v1/scores", "trainer": "/v1/jobs"}


async def look(urls: dict[str, str]) -> list[Found]:
    """Asks all services."""
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        return [await ask(client, name, url, PATHS[name]) for name, url in urls.items()]


def health_table(found: list[Found]) -> Table:
    table = Table("service", "address", "ready", "says", title="Services", title_justify="left")
    for service in found:
        ready = {True: "yes", False: "no", None: "down"}[service.ready]
        table.add_row(service.service, service.url, ready, service.detail)
    return table


def models_table(body: Any) -> Table:
    table = Table("stream", "member", "state", "version", "note", title="Models", title_justify="left")
    for model in body["models"]:
        table.add_row(model["stream"], model["member"], model["state"], model["version"] or "", model["note"])
    return table


def skill_table(body: Any) -> Table:
    table = Table("stream", "horizon", "forecast by", "records", "RMSE", "skill", title="Scores", title_justify="left")
    for stream in body:
        for horizon in stream["horizons"]:
            for name, score in horizon["scores"].items():
                if score["n"]:
                    label = f"{name} (active)" if name == stream["active"] else name
                    cells = (f"{score['n']:,}", f"{score['rmse']:.4f}", f"{score['skill']:+.3f}")
                    table.add_row(stream["stream"], str(horizon["horizon"]), label, *cells)
    return table


def jobs_table(body: Any) -> Table:
    table = Table("job", "stream", "member", "state", "version", "reason", title="Training jobs", title_justify="left")
    for job in body[:5]:
        cells = (job["id"], job["stream"], job["member"], job["state"], job["version"] or "", job["reason"] or "")
        table.add_row(*cells)
    return table


DETAILS = {"inference": models_table, "combiner": skill_table, "trainer": jobs_table}


def render(found: list[Found]) -> Group:
    """One screen."""
    details = [
        DETAILS[service.service](service.body)
        for service in found
        if service.body is not None and service.service in DETAILS
    ]
    return Group(health_table(found), *details)
