"""A watch looks at the store when an event says so, and only an event that may concern it wakes it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from driftline.errors import StoreUnavailable
from driftline.metrics import Metrics
from driftline.service import webhook
from driftline.service.access.gate import AccessGate, SharedToken
from driftline.service.access.sessions import Sessions
from driftline.service.app import create_service
from driftline.store.hints import Keys
from driftline.store.reconcile import StoreReconciler
from driftline.store.s3 import S3Settings, S3Store
from driftline_cli.broker import free_port

PATIENCE_S = 10


def event(key: str) -> bytes:
    return json.dumps({"Records": [{"s3": {"object": {"key": key}}}]}).encode()


class Looks:
    """Counts how often the store was looked at."""

    def __init__(self) -> None:
        self.count = 0
        self.keys: Keys = frozenset()
        self.error: Exception | None = None
        self._changed = asyncio.Event()

    async def look(self, keys: Keys) -> None:
        self.count += 1
        self.keys = keys
        self._changed.set()
        if self.error is not None:
            raise self.error

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.count < count:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
async def watch(tmp_path: Path, looks: Looks) -> StoreReconciler:
    """Over a store whose own watch wakes once, at the start."""
    store = S3Store(S3Settings("driftline", endpoint=f"http://127.0.0.1:{free_port()}"))
    return StoreReconciler("watch", store, "models/", poll=3600, reconcile=looks.look, base="site-1/")


@pytest.fixture
async def app(watch: StoreReconciler) -> AsyncIterator[FastAPI]:
    metrics = Metrics()
    gate = AccessGate([SharedToken("hush")], Sessions(b"key"), metrics.requests_unauthorised, closed=False)
    app = create_service("x", "x", metrics=metrics, jobs=[watch], gate=gate, roles=webhook.ROLES)
    app.include_router(webhook.routes(watch))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as made:
        yield made


HEADERS = {"Authorization": "Bearer hush"}


async def test_an_event_wakes_the_watch_whatever_its_dialect(client: httpx.AsyncClient, looks: Looks):
    await looks.reach(1)
    bodies = (event("site-1/models/a/batch/current.json"), event("site-1%2Fmodels%2Fa"), b"what no one understands")
    for seen, body in enumerate(bodies, 2):
        assert (await client.post("/v1/events/s3", content=body, headers=HEADERS)).status_code == 202
        await looks.reach(seen)


async def test_the_reader_is_told_which_keys_may_have_changed(client: httpx.AsyncClient, looks: Looks):
    await looks.reach(1)
    assert looks.keys is None, "at the start it may be any"
    key = "models/a/batch/current.json"
    await client.post("/v1/events/s3", content=event(f"site-1/{key}"), headers=HEADERS)
    await looks.reach(2)
    assert looks.keys == {key}


async def test_an_event_about_something_else_wakes_nobody(watch: StoreReconciler):
    assert not watch.hint(event("site-1/windows/a"))
    assert not watch.hint(event("models/a"))
    assert watch.hint(event("site-1/models/a"))


async def test_a_store_that_is_away_is_looked_at_again_at_the_next_event(client: httpx.AsyncClient, looks: Looks):
    await looks.reach(1)
    looks.error = StoreUnavailable("away")
    for seen in (2, 3):
        await client.post("/v1/events/s3", content=event("site-1/models/a"), headers=HEADERS)
        await looks.reach(seen)


async def test_who_has_no_token_can_not_wake_it(client: httpx.AsyncClient):
    assert (await client.post("/v1/events/s3", content=b"{}")).status_code == 401


async def test_an_event_that_is_too_large_is_refused(client: httpx.AsyncClient):
    answer = await client.post("/v1/events/s3", content=b" " * (webhook.EVENT_LIMIT + 1), headers=HEADERS)
    assert answer.status_code == 413


class Ticks:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_once_events_name_keys_a_poll_looks_at_everything_only_now_and_then(looks: Looks):
    ticks = Ticks()
    store = S3Store(S3Settings("driftline", endpoint=f"http://127.0.0.1:{free_port()}"))
    watch = StoreReconciler("watch", store, "windows/", poll=0.02, reconcile=looks.look, relist=600.0, ticks=ticks)
    running = asyncio.create_task(watch.run())

    async def next_look() -> Keys:
        await looks.reach(looks.count + 1)
        return looks.keys

    await looks.reach(1)
    assert await next_look() is None, "nothing has shown yet that events come"
    watch.hint(event("windows/a"))
    while await next_look() is None:
        pass
    assert await next_look() == frozenset()
    looks.error = StoreUnavailable("away")
    await next_look()
    looks.error = None
    while await next_look() is not None:
        pass
    assert await next_look() == frozenset()
    ticks.now = 600.0
    while await next_look() is not None:
        pass
    watch.wake()
    while await next_look() is not None:
        pass
    await watch.stop()
    await asyncio.wait({running})
