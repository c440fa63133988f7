"""What is compared: records go in at one end and are seen at the other, as fast as they are taken, or at a pace."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import httpx
import numpy as np
from aiokafka import AIOKafkaProducer

from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.replay import encode as encode_lines
from driftline_client.calls.records import NDJSON
from tests.bench.load import Clock, Sensors, labels
from tests.bench.measure import Arrivals, Latency, Sightings, latency, paced

KEYS = 100
BODY = 500
"""Records in a request, or sent at once, at saturation."""
POSTERS = 4
LONGEST_NAME = 16


class Side(Protocol):
    """One of those that are compared."""

    async def throughput(self, count: int) -> float:
        """Records a second from the first that is sent to the last that is seen."""

    async def latency(self, rate: float, count: int) -> Latency:
        """From sent to seen, of single records at `rate` a second."""


@dataclass(frozen=True)
class Reader:
    """Sees the blends of some series from a time on. full: of how many at saturation; paced: of how many otherwise."""

    open: Callable[[Sequence[str], int], AbstractAsyncContextManager[Sightings]]
    full: int = KEYS
    paced: int = KEYS


class ChainSide:
    """Driftline, from ingest's door at `url` to whoever reads blends."""

    def __init__(self, url: str, stream: StreamDefinition, clock: Clock, reader: Reader) -> None:
        self._url = url
        self._stream = stream
        self._clock = clock
        self._reader = reader

    async def throughput(self, count: int) -> float:
        rows = self._clock.rows(count)
        bodies = [self._bodies(rows, poster) for poster in range(POSTERS)]
        names = labels(rows)
        # The last of them: those that come last are among theirs.
        keys, awaited = _watched(names, self._reader.full)
        async with self._reader.open(keys, int(rows.t[0]) - 1) as sightings:
            began = time.perf_counter()
            await self._post(bodies)
            await sightings.until(awaited)
            return count / (max(sightings.at[name] for name in awaited) - began)

    async def latency(self, rate: float, count: int) -> Latency:
        rows = self._clock.rows(count)
        keys, awaited = _watched(labels(rows), self._reader.paced)
        async with (
            self._reader.open(keys, int(rows.t[0]) - 1) as sightings,
            Sensors(self._url, self._stream, rows) as sensors,
        ):
            sent = await paced(labels(rows), rate, sensors.send)
            await sightings.until(awaited)
            return latency(rate, {name: sent[name] for name in awaited}, sightings.at)

    def _bodies(self, rows: Rows, poster: int) -> list[bytes]:
        """What one client sends. A key stays with one client."""
        mine = rows.take(np.flatnonzero(np.arange(len(rows)) % KEYS % POSTERS == poster))
        starts = range(0, len(mine), BODY)
        return [encode_lines(mine.take(slice(start, start + BODY)), self._stream) for start in starts]

    async def _post(self, bodies: Sequence[Sequence[bytes]]) -> None:
        """As fast as ingest takes them: a few clients, each with one body under way."""
        parameters, headers = {"stream": self._stream.name}, {"Content-Type": NDJSON}
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client:

            async def post_all(own: Sequence[bytes]) -> None:
                for body in own:
                    answer = await client.post("/v1/records", params=parameters, content=body, headers=headers)
                    answer.raise_for_status()

            await asyncio.gather(*map(post_all, bodies))


def _watched(names: Sequence[str], count: int) -> tuple[list[str], list[str]]:
    """The last `count` series, and their records among these."""
    keys = sorted({name.partition("/")[0] for name in names})[-count:]
    return keys, [name for name in names if name.partition("/")[0] in keys]


class HopsSide:
    """Bare hops from topic to topic. size: bytes of a message at the first of them."""

    def __init__(self, brokers: str, producer: AIOKafkaProducer, hops: Sequence[str], size: int) -> None:
        self._brokers = brokers
        self._producer = producer
        self._hops = hops
        self._size = size

    async def throughput(self, count: int) -> float:
        names = _names(count)
        async with self._arrivals() as arrivals:
            began = time.perf_counter()
            for start in range(0, count, BODY):
                await asyncio.gather(*[await self._send(name) for name in names[start : start + BODY]])
            await arrivals.until(names)
            return count / (max(arrivals.at.values()) - began)

    async def latency(self, rate: float, count: int) -> Latency:
        names = _names(count)

        async def send(name: str) -> None:
            await (await self._send(name))

        async with self._arrivals() as arrivals:
            sent = await paced(names, rate, send)
            await arrivals.until(names)
            return latency(rate, sent, arrivals.at)

    def _arrivals(self) -> Arrivals:
        return Arrivals(self._brokers, self._hops[-1], lambda payload: payload[:LONGEST_NAME].decode())

    async def _send(self, name: str) -> "asyncio.Future[object]":
        number = int(name)
        key = b"sensor-%03d" % (number % KEYS)
        payload = name.encode().ljust(self._size)
        future: asyncio.Future[object] = await self._producer.send(
            self._hops[0], payload, key=key, partition=number % 4
        )
        return future


def _names(count: int) -> list[str]:
    """Never used before."""
    begin = time.time_ns() % 10**12
    return [f"{begin + n:0{LONGEST_NAME}d}" for n in range(count)]
