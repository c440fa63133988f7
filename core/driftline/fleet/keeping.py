"""Leaves an edge's learned state in the store, where a device that replaces it finds it: every hour what has changed.

An edge at rest writes nothing. Its objects are sealed with the fleet's key; without one nothing is left.
"""

import asyncio
import logging
import secrets
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import msgspec

from driftline.bus.port import Bus
from driftline.errors import Conflict, DriftlineError, NotFound, RefusedBackup, TooLarge
from driftline.fleet import names
from driftline.fleet.kept import (
    INDEX_LIMIT,
    TOPICS,
    Bucket,
    KeptIndex,
    KeptState,
    bucket_count,
    bucket_of,
    digest,
    index_of,
    packed,
)
from driftline.fleet.sealing import FleetKey, SealedBox, box_of_edge
from driftline.metrics import Metrics
from driftline.stoppable import StoppableWork
from driftline.store.port import Store

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Buckets that are in memory at once."""
RETRY_S: Final = 300.0
"""After a failure it is tried again so soon at most."""


@dataclass(frozen=True)
class LeftStates:
    """What was written. size: bytes."""

    objects: int = 0
    size: int = 0


@dataclass(frozen=True)
class _Newest:
    """The index that lies in the store. etag: None where none does. index: None where it can't be read."""

    etag: str | None = None
    index: KeptIndex | None = None


class StateKeeper:
    """See `driftline.service.app.BackgroundJob`.

    edge: gives the edge's id. groups: whose states are kept, of those in TOPICS. every: seconds. is_writer: whether
    this replica is the one that writes.
    """

    name = "state keeper"

    def __init__(
        self,
        bus: Bus,
        store: Store,
        key: FleetKey | None,
        edge: Callable[[], Awaitable[str]],
        metrics: Metrics,
        *,
        partitions: int,
        every: float,
        groups: Callable[[], Sequence[str]] = lambda: list(TOPICS),
        is_writer: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bus = bus
        self._store = store
        self._key = key
        self._edge = edge
        self._metrics = metrics
        self._partitions = partitions
        self._every = every
        self._groups = groups
        self._is_writer = is_writer
        self._clock = clock
        self._boot = secrets.token_hex(4)
        self._newest: _Newest | None = None
        self._work = StoppableWork()
        self._trouble = ""

    async def run(self) -> None:
        await self._work.run(self._keep())

    async def stop(self) -> None:
        await self._work.stop()

    async def _keep(self) -> None:
        if self._key is None:
            log.info("no learned state is left in the store, since DRIFTLINE_FLEET_KEY_FILE is not set")
            await asyncio.Event().wait()
        edge = await self._edge()
        # Edges that start together must not all come together.
        pause = self._every * zlib.crc32(edge.encode()) / 2**32
        while True:
            await asyncio.sleep(pause)
            pause = await self._try()

    async def _try(self) -> float:
        """Returns after how many seconds to come again."""
        if not self._is_writer():
            # Another replica writes meanwhile.
            self._newest = None
            return self._every
        try:
            await self.leave()
        except DriftlineError as error:
            if str(error) != self._trouble:
                log.warning("the learned state is not left in the store: %s", error)
            self._trouble = str(error)
            return min(self._every, RETRY_S)
        self._trouble = ""
        return self._every

    async def leave(self) -> LeftStates:
        """Writes what has changed since the last generation. Raises StoreUnavailable, BusUnavailable, Unstorable, and
        Conflict where another device writes under this id."""
        if self._key is None:
            return LeftStates()
        edge = await self._edge()
        box = box_of_edge(self._key, edge)
        try:
            if self._newest is not None:
                return await self._leave(edge, box, self._newest)
            self._newest = await self._look(edge, box)
            left = await self._leave(edge, box, self._newest)
            await self._tidy(edge, self._newest.index)
        except BaseException:
            # What of it has come to the store is not known.
            self._newest = None
            raise
        return left

    async def _look(self, edge: str, box: SealedBox) -> _Newest:
        key = names.state_index_key(edge)
        try:
            stored = await self._store.get(key, limit=INDEX_LIMIT)
            assert stored is not None  # noqa: S101 - the get was not conditional
        except NotFound:
            return _Newest()
        except TooLarge as error:
            await self._store.delete(key)
            log.warning("all states are left again: %s", error)
            return _Newest()
        try:
            return _Newest(stored.etag, index_of(box.open(stored.body, key), key))
        except RefusedBackup as error:
            log.warning("all states are left again: %s", error)
            return _Newest(stored.etag)

    async def _tidy(self, edge: str, index: KeptIndex | None) -> None:
        """Removes what a process left that ended before its index. What belongs to a generation that is still to come
        stays: another process may be about to write its index."""
        if index is None:
            return
        for key in [listed.key async for listed in self._store.list(names.state_prefix(edge))]:
            generation = names.generation_of(key)
            if generation is not None and generation <= index.generation and key not in index.keys:
                await self._store.delete(key)

    async def _leave(self, edge: str, box: SealedBox, newest: _Newest) -> LeftStates:
        before = newest.index
        size = before.size if before is not None else await self._size()
        count = bucket_count(size, len(before.buckets) if before is not None else 0)
        comparable = before is not None and before.partitions == self._partitions and len(before.buckets) == count
        former = before.buckets if before is not None and comparable else [None] * count
        generation = before.generation + 1 if before is not None else 1
        buckets: list[Bucket | None] = []
        written = LeftStates()
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            for number, states in zip(numbers, await self._collect(numbers, count), strict=True):
                key = names.state_key(edge, generation, number, self._boot)
                bucket, sealed = await asyncio.to_thread(_sealed, states, key, former[number], box)
                if sealed is not None:
                    await self._store.put(key, sealed)
                    written = LeftStates(written.objects + 1, written.size + len(sealed))
                buckets.append(bucket)
        if comparable and buckets == former:
            self._metrics.states_kept_at.set(self._clock())
            return LeftStates()
        index = KeptIndex(edge, generation, self._clock(), version("driftline"), self._partitions, buckets)
        size = await self._put_index(edge, box, newest, index)
        for key in sorted(before.keys - index.keys if before is not None else ()):
            await self._store.delete(key)
        self._metrics.states_kept_at.set(self._clock())
        self._metrics.states_kept_bytes.inc(written.size + size)
        return LeftStates(written.objects + 1, written.size + size)

    async def _put_index(self, edge: str, box: SealedBox, newest: _Newest, index: KeptIndex) -> int:
        key = names.state_index_key(edge)
        sealed = box.seal(msgspec.msgpack.encode(index), key)
        try:
            etag = await self._store.put(key, sealed, if_absent=newest.etag is None, if_match=newest.etag)
        except Conflict as error:
            raise Conflict(f"another device leaves its states under this edge's id {edge!r}: {error}") from error
        self._newest = _Newest(etag, index)
        return len(sealed)

    async def _size(self) -> int:
        """Bytes of all states, about: Kafka may still have former ones."""
        size = 0
        for group in self._groups():
            async for _, part in self._bus.states(TOPICS[group], group):
                size += sum(len(state or b"") for state in part.values())
        return size

    async def _collect(self, numbers: range, count: int) -> list[list[KeptState]]:
        """The states of some buckets."""
        buckets: list[dict[tuple[str, int, str], bytes | None]] = [{} for _ in numbers]
        for group in self._groups():

            def number(partition: int, name: str, group: str = group) -> int:
                return bucket_of(group, partition, name, count)

            def wanted(partition: int, name: str, number: Callable[[int, str], int] = number) -> bool:
                return number(partition, name) in numbers

            async for partition, part in self._bus.states(TOPICS[group], group, wanted):
                for name, state in part.items():
                    buckets[number(partition, name) - numbers.start][group, partition, name] = state
        return [[KeptState(*name, state) for name, state in bucket.items() if state is not None] for bucket in buckets]


def _sealed(
    states: Sequence[KeptState], key: str, former: Bucket | None, box: SealedBox
) -> tuple[Bucket | None, bytes | None]:
    """The bucket of these states, and what is to be written of it: None where the former one has it."""
    if not states:
        return None, None
    content = packed(states)
    sha256 = digest(content)
    if former is not None and former.sha256 == sha256:
        return former, None
    return Bucket(key, sha256, len(content), len(states)), box.seal(content, key)
