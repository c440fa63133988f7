"""Sends records as sensors that do not give up, and knows what was acknowledged.

The series are shared out among lanes. A lane sends its series' next tick only when the one before was answered with
202; whatever else comes (503, a timeout, a connection that is closed) means: send it again.
"""

import asyncio
import time
from contextlib import suppress
from itertools import count, pairwise

import httpx
import numpy as np
import stamina

from driftline_cli.replay import encode
from driftline_client import SendReceipt
from driftline_client.calls.records import NDJSON
from tests.chaos.scene import Scene

LANES = 6
ANSWER_S = 5.0
RETRY_S = 1.0


class SendAgain(Exception):
    """Not acknowledged."""


class Loader:
    """One tick of every series each 1/rate s; after an outage as fast as it is taken until it has caught up."""

    def __init__(self, scene: Scene, url: str) -> None:
        self._scene = scene
        self._url = url
        self._lanes = [range(*part) for part in _parts(scene.keys, LANES)]
        self._ticks = dict.fromkeys(self._lanes, 0)
        self._stopping = asyncio.Event()
        self._grown = asyncio.Event()
        self.repeats = 0
        """Requests that were sent again."""

    @property
    def acknowledged(self) -> np.ndarray:
        """[keys]: so many ticks of each series, from 0 on, were acknowledged."""
        found = np.zeros(self._scene.keys, dtype=np.int64)
        for lane, ticks in self._ticks.items():
            found[lane.start : lane.stop] = ticks
        return found

    async def run(self) -> None:
        """Until `stop`."""
        limits = httpx.Limits(max_connections=2 * LANES)
        async with (
            httpx.AsyncClient(base_url=self._url, timeout=ANSWER_S, limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            began = time.monotonic()
            for lane in self._lanes:
                group.create_task(self._send_all(client, lane, began))

    async def reach(self, ticks: int, within: float) -> None:
        """Returns when so many ticks of every series were acknowledged, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while min(self._ticks.values()) < ticks:
                    self._grown.clear()
                    await self._grown.wait()

    def stop(self) -> None:
        self._stopping.set()

    async def _send_all(self, client: httpx.AsyncClient, lane: range, began: float) -> None:
        for tick in count():
            await asyncio.sleep(max(0.0, began + tick / self._scene.rate - time.monotonic()))
            if self._stopping.is_set() or not await self._send(client, lane, tick):
                return
            self._ticks[lane] = tick + 1
            self._grown.set()

    async def _send(self, client: httpx.AsyncClient, lane: range, tick: int) -> bool:
        """Whether it was acknowledged; it may also be given up after `stop`, and then nobody knows."""
        body = encode(self._scene.rows(lane, tick), self._scene.stream)
        retrying = stamina.retry_context(
            on=(SendAgain, httpx.TransportError), attempts=None, timeout=None, wait_initial=0.1, wait_max=RETRY_S
        )
        async for attempt in retrying:
            if self._stopping.is_set():
                return False
            self.repeats += attempt.num > 1
            with attempt:
                await self._post(client, body, len(lane))
        return True

    async def _post(self, client: httpx.AsyncClient, body: bytes, records: int) -> None:
        answer = await client.post("/v1/records", content=body, headers={"Content-Type": NDJSON})
        if answer.is_server_error:
            raise SendAgain(answer.text)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        receipt = _receipt(answer)
        assert receipt.accepted + receipt.repeated == records, answer.text


def _receipt(answer: httpx.Response) -> SendReceipt:
    found = answer.json()
    return SendReceipt(*(found[name] for name in ("accepted", "repeated", "out_of_order", "refused_total")))


def _parts(keys: int, parts: int) -> list[tuple[int, int]]:
    edges = [keys * n // parts for n in range(parts + 1)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
