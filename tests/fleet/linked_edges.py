"""Whole edges in one process: the three services of each on an embedded bus of its own, and between it and the store
a link that loses requests. Their doors are called without sockets."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
from fastapi import FastAPI

from driftline.bus.edge import edge_id
from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.port import Envelope
from driftline.errors import StoreUnavailable
from driftline.messages import BLENDS, Blend
from driftline.metrics import Metrics
from driftline.store.hints import Keys, hinted
from driftline.store.port import Listed, Store, Stored
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.replay import encode
from driftline_client.calls.records import NDJSON
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_edge.shared_bus import SharedBus
from driftline_inference.app import create_app as create_inference
from driftline_inference.app import state_keeper
from driftline_inference.settings import InferenceSettings
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings

PATIENCE_S = 60
PARTITIONS = 2
MEMBER = "batch"
FLEET_KEY = bytes(range(32))


class NotYet(Exception):
    """What is waited for has not come."""


class LossyStore:
    """See `driftline.store.port.Store`: `store`, behind a link. share: of the requests that come through; of the others
    half are lost on the way there, and half are done but their answer is lost."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        self._store = store
        self._chance = chance
        self.share = 1.0
        self.requests: Counter[str] = Counter()
        self.uploaded = 0
        """Bytes of bodies."""
        self.downloaded = 0

    def _depart(self, request: str) -> None:
        self.requests[request] += 1
        self._is_lost = self._chance.random() >= self.share
        if self._is_lost and self._chance.random() < 0.5:
            raise StoreUnavailable("the link lost the request")

    def _arrive(self, *, lost: bool) -> None:
        if lost:
            raise StoreUnavailable("the link lost the answer")

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        self._depart("GET")
        lost = self._is_lost
        stored = await self._store.get(key, unless=unless, limit=limit)
        self._arrive(lost=lost)
        self.downloaded += len(stored.body) if stored is not None else 0
        return stored

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        self._depart("PUT")
        lost = self._is_lost
        self.uploaded += len(body)
        etag = await self._store.put(key, body, if_absent=if_absent, if_match=if_match)
        self._arrive(lost=lost)
        return etag

    async def delete(self, key: str) -> None:
        self._depart("DELETE")
        lost = self._is_lost
        await self._store.delete(key)
        self._arrive(lost=lost)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        self._depart("LIST")
        self._arrive(lost=self._is_lost)
        async for listed in self._store.list(prefix, after=after):
            yield listed

    async def watch(self, prefix: str, *, suffix: str = "", poll: float) -> AsyncGenerator[Keys]:
        """No event comes over this link."""
        async with aclosing(hinted(None, poll=poll)) as waking:
            async for keys in waking:
                yield keys

    async def check(self) -> None:
        self._depart("CHECK")
        self._arrive(lost=self._is_lost)

    async def close(self) -> None:
        """The store is shared."""


class LinkedEdge:
    """Its services at work while it is open, as `driftline_edge.app` has them. values: what was blended, by key and
    time; doubled: how often that came again."""

    def __init__(self, folder: Path, link: LossyStore, stream: StreamDefinition, trusted: str) -> None:
        self.folder = folder
        self.link = link
        self.stream = stream
        self.values: dict[tuple[str, int], list[float | None]] = {}
        self.doubled = 0
        self.deaths: list[str] = []
        self.leaves_last = False
        """Whether it leaves what it has learned in the store when its services have ended, as the process does."""
        self._trusted = trusted
        self._life = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "fleet-key").write_bytes(FLEET_KEY)
        self._inference_settings = InferenceSettings(
            edge=self.folder.name,
            trusted_keys=self._trusted,
            cache=self.folder / "cache",
            fleet_key_file=self.folder / "fleet-key",
            **self._common(),
        )
        self.bus = bus_in(self.folder)
        self._life.push_async_callback(self.bus.close)
        self._life.push_async_callback(self._leave_last)
        shared, streams = SharedBus(self.bus), {self.stream.name: self.stream}
        common: dict[str, Any] = {"streams": streams, "on_death": self._die}
        ingest = create_ingest(
            IngestSettings(spool=self.folder / "spool", **self._common()), shared, self.link, **common
        )
        self.inference = create_inference(self._inference_settings, shared, self.link, **common)
        combiner = create_combiner(CombinerSettings(page_points=0, **self._common()), shared, **common)
        for app in (ingest, self.inference, combiner):
            await self._life.enter_async_context(app.router.lifespan_context(app))
        self._client = await self._life.enter_async_context(client_of(ingest))
        self._pages = await self._life.enter_async_context(aclosing(self.bus.tail(BLENDS)))
        await anext(self._pages)
        self.id = await edge_id(self.bus)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._life.aclose()

    def _common(self) -> Mapping[str, Any]:
        """As on an embedded bus: whatever is read at once is one commit."""
        return {"delivery": "exactly_once", "exactly_once_every": 0.0, "partitions": PARTITIONS}

    def _die(self, job: str, error: BaseException) -> None:
        self.deaths.append(f"{job}: {error!r}")

    @property
    def serving(self) -> str | None:
        version: str | None = self.inference.state.registry.state(self.stream.name, MEMBER).version
        return version

    async def send(self, rows: Rows) -> None:
        """Returns when all of them are blended."""
        await self.post(rows)
        awaited = set(zip(rows.keys.tolist(), rows.t.tolist(), strict=True)) - self.values.keys()
        async with asyncio.timeout(PATIENCE_S):
            while awaited:
                awaited -= self._take(await anext(self._pages))

    async def post(self, rows: Rows) -> None:
        answer = await self._client.post(
            "/v1/records",
            params={"stream": self.stream.name},
            content=encode(rows, self.stream),
            headers={"Content-Type": NDJSON},
        )
        answer.raise_for_status()

    def _take(self, page: "list[Envelope[Blend]] | Any") -> set[tuple[str, int]]:
        came = {(envelope.value.key, envelope.value.t): envelope.value.value for envelope in page}
        self.doubled += len(page) - len(came) + len(came.keys() & self.values.keys())
        self.values.update(came)
        return set(came)

    async def report(self) -> None:
        """Leaves a heartbeat, if the link lets it through."""
        await self.inference.state.heartbeats.beat()

    async def follow(self) -> None:
        """Looks at the pointers, if the link lets it."""
        with suppress(StoreUnavailable):
            await self.inference.state.reconciler.reconcile()

    async def _leave_last(self) -> None:
        if self.leaves_last:
            await self.leave()

    async def leave(self) -> None:
        """Leaves what was learned up to the last checkpoint in the store."""
        keeper = state_keeper(
            self._inference_settings,
            self.bus,
            self.link,
            partial(edge_id, self.bus),
            Metrics(),
            streams={self.stream.name: self.stream},
        )
        await keeper.leave()


def bus_in(folder: Path) -> EmbeddedBus:
    return EmbeddedBus(EmbeddedSettings(folder / "bus", PARTITIONS, sync_every=0.0))


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://edge", timeout=PATIENCE_S)
