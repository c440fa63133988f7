"""Lets everything come to rest, and reads what came of it: both topics and the store. Bounded, by conditions."""

import asyncio
import io
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import stamina

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.errors import BusUnavailable, StoreUnavailable
from driftline.messages import BLENDS, FORECASTS, RECORDS, Topic
from driftline.store.s3 import S3Settings, S3Store
from driftline_cli.stack import BUCKET
from tests.chaos.archived import Archived
from tests.chaos.published import Blends, Forecasts, Published
from tests.chaos.scene import Scene

REST_S = 240.0
"""Until all must have come, from the end of the load on. Reading it may take longer on a busy machine."""
QUIET_S = 45.0
"""When nothing at all came for so long, no more comes: sessions, transactions and pauses between tries are shorter."""
DONE_S = 2.0
"""The same once all is there: a repeat may still follow."""
AT_ONCE = 16
PLACES_SHOWN = 10


class StillLacking(Exception):
    """Not all windows are there yet."""


@asynccontextmanager
async def bus_at(brokers: str) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(KafkaSettings(brokers))
    try:
        yield bus
    finally:
        await bus.close()


async def published(
    brokers: str, scene: Scene, acknowledged: np.ndarray, within: float = REST_S
) -> tuple[Forecasts, Blends]:
    """Both topics from their beginning, until every acknowledged name is there or nothing more comes."""
    until = time.time() + within
    return await asyncio.gather(
        _read(brokers, FORECASTS, lambda: Forecasts(scene), acknowledged, until),
        _read(brokers, BLENDS, lambda: Blends(scene), acknowledged, until),
    )


async def _read(
    brokers: str, topic: Topic[Any], begin: Callable[[], Any], acknowledged: np.ndarray, until: float
) -> Any:
    """What came under each name. A broker that is away for a moment is read from the beginning again."""
    async for attempt in stamina.retry_context(on=BusUnavailable, attempts=None, timeout=REST_S, wait_max=2.0):
        with attempt:
            found = begin()
            await _follow(brokers, topic, found, acknowledged, until)
    return found


async def _follow(
    brokers: str, topic: Topic[Any], found: Forecasts | Blends, acknowledged: np.ndarray, until: float
) -> None:
    """until: what comes to the topic later than that, in seconds since the epoch, is not waited for."""
    async with bus_at(brokers) as bus, aclosing(bus.tail(topic, earliest=True)) as pages:
        newest = 0.0
        while newest < until:
            try:
                async with asyncio.timeout(_patience(found, acknowledged)):
                    page = await anext(pages)
            except TimeoutError:
                return
            for envelope in page:
                found.note(envelope.value, envelope.timestamp)
                newest = max(newest, envelope.timestamp)


def _patience(found: Published, acknowledged: np.ndarray) -> float:
    return QUIET_S if found.lacks(acknowledged) else DONE_S


async def places(brokers: str, scene: Scene, missing: set[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Where records lie on their topic, of those that are there: partition and offset."""
    found: dict[tuple[int, int], str] = {}
    async with bus_at(brokers) as bus, aclosing(bus.tail(RECORDS, earliest=True)) as pages:
        while len(found) < len(missing):
            try:
                async with asyncio.timeout(DONE_S * 2):
                    page = await anext(pages)
            except TimeoutError:
                break
            for envelope in page:
                place = scene.place(envelope.value.key, envelope.value.t)
                if place in missing and place not in found:
                    found[place] = f"partition {envelope.partition} offset {envelope.offset}"
    return found


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The store's client looks for its credentials there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


async def archived(
    endpoint: str, scene: Scene, acknowledged: np.ndarray, within: float = REST_S
) -> tuple[Archived, Archived]:
    """Windows and results, once every full window is there, or nothing more came in `within` seconds: nothing is sent
    any more, so that is soon enough however far a busy machine is behind."""
    store = S3Store(S3Settings(BUCKET, endpoint=endpoint))
    kinds = (Archived(scene, "windows"), Archived(scene, "results"))
    read: set[str] = set()
    try:
        known = -1
        while len(read) > known:
            known = len(read)
            # What is lacking in the end is the judge's to tell.
            with suppress(StillLacking, StoreUnavailable):
                await _until_all(store, kinds, read, acknowledged, within)
                break
    finally:
        await store.close()
    return kinds


async def _until_all(
    store: S3Store, kinds: Sequence[Archived], read: set[str], acknowledged: np.ndarray, within: float
) -> None:
    """Raises StillLacking and StoreUnavailable."""
    async for attempt in stamina.retry_context(
        on=(StillLacking, StoreUnavailable), attempts=None, timeout=within, wait_initial=0.5, wait_max=2.0
    ):
        with attempt:
            await _look_for_all(store, kinds, read, acknowledged)


async def _look_for_all(store: S3Store, kinds: Sequence[Archived], read: set[str], acknowledged: np.ndarray) -> None:
    """Raises StillLacking."""
    for kind in kinds:
        await _look(store, kind, read)
    if any(kind.lacks(acknowledged) for kind in kinds):
        raise StillLacking


async def _look(store: S3Store, kind: Archived, read: set[str]) -> None:
    """Reads what was not there before. A name that ends otherwise is what a killed store has left half written."""
    prefix = f"{kind.kind}/{kind.scene.stream.name}/"
    names = [listed.key async for listed in store.list(prefix) if listed.key.endswith(".parquet")]
    fresh = [name for name in names if name not in read]
    for first in range(0, len(fresh), AT_ONCE):
        some = fresh[first : first + AT_ONCE]
        bodies = await asyncio.gather(*(store.get(name) for name in some))
        for name, body in zip(some, bodies, strict=True):
            kind.add(name, *_rows(body.body, kind))
            read.add(name)


def _rows(body: bytes, kind: Archived) -> tuple[list[str], list[int]]:
    stream = kind.scene.stream
    key, t = (stream.key, stream.time.column) if kind.kind == "windows" else ("key", "t")
    table = pq.read_table(io.BytesIO(body), columns=[key, t])
    return table[key].to_pylist(), table[t].cast("int64").to_pylist()
