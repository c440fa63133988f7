"""Records that were never there before, and the sensors that send them."""

import asyncio
from collections import defaultdict
from types import TracebackType
from typing import Self

import aiohttp
import numpy as np

from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.replay import encode as encode_lines
from driftline_client.calls.records import NDJSON

KEPT_S = 4.0
"""A connection that rests longer is given up, before the server does so in the middle of a request."""


class Clock:
    """Rows with times that were never used before, so that no record is dropped as a repeat."""

    def __init__(self, stream: StreamDefinition, template: Rows, keys: int) -> None:
        self._stream = stream
        self._template = template
        self._keys = keys
        self._n = 0

    @property
    def sent(self) -> int:
        """Rows that were asked for so far."""
        return self._n

    def rows(self, count: int) -> Rows:
        """`count` records of the series in turn, with real values."""
        n = np.arange(self._n, self._n + count)
        self._n += count
        step = self._stream.time.period * 1000
        keys = np.array([f"sensor-{key:03d}" for key in n % self._keys])
        t = 1_420_070_400_000 + n // self._keys * step
        place = (n // self._keys + n % self._keys * 97) % len(self._template)
        return Rows(keys, t, self._template.values[place])


def labels(rows: Rows) -> list[str]:
    """As `tests.bench.measure.label` names what comes of them."""
    return [f"{key}/{t}" for key, t in zip(rows.keys, rows.t, strict=True)]


class Sensors:
    """Sends each record in a request of its own, a series' records one after the other: none may overtake another."""

    def __init__(self, url: str, stream: StreamDefinition, rows: Rows) -> None:
        self._url = url
        self._stream = stream
        self.bodies = {name: encode_lines(rows.take(slice(n, n + 1)), stream) for n, name in enumerate(labels(rows))}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        # A lighter client than httpx: on the same cores, the client's cost is measured with the chain's.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S)
        self._client = aiohttp.ClientSession(self._url, connector=connector, headers={"Content-Type": NDJSON})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def send(self, name: str) -> None:
        """Returns when it was taken in."""
        posting = self._client.post("/v1/records", params={"stream": self._stream.name}, data=self.bodies[name])
        async with self._turns[name.partition("/")[0]], posting as answer:
            answer.raise_for_status()
