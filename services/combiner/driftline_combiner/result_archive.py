"""The windows of results that this edge has archived, read from the store as far as they are asked for."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from driftline.bus.edge import edge_id
from driftline.bus.port import Bus
from driftline.errors import InvalidInput, NotFound, TooLarge
from driftline.store.object_names import folder_of
from driftline.store.port import Listed, Store, read
from driftline.store.windows import WindowName, parse
from driftline.streams.definition import StreamDefinition
from driftline_combiner.history import OverlappingWindows, PastForecast

log = logging.getLogger(__name__)

RESULTS = "results"
WINDOW_LIMIT = 16 * 1024 * 1024
"""Bytes of a window."""


@dataclass(frozen=True)
class HistoryRange:
    """What is asked for. horizons: steps ahead. begin, end: milliseconds since the epoch; the end is not part of it."""

    stream: StreamDefinition
    key: str
    horizons: Sequence[int]
    begin: int
    end: int


class EdgeName:
    """The id under which this edge archives. joined: that of its fleet, where it has joined one."""

    def __init__(self, bus: Bus, joined: str | None) -> None:
        self._bus = bus
        self._known = joined

    async def id(self) -> str:
        """Asked of the bus once. Raises BusUnavailable."""
        if self._known is None:
            self._known = await edge_id(self._bus)
        return self._known


class ResultArchive:
    """Reads one window at a time, and only this edge's own: what others write is not to be believed here. edge_id:
    gives the id of this edge."""

    def __init__(self, store: Store, edge_id: Callable[[], Awaitable[str]]) -> None:
        self._store = store
        self._edge_id = edge_id
        self._one_at_a_time = asyncio.Lock()

    async def rows(self, asked: HistoryRange) -> AsyncGenerator[PastForecast]:
        """In order of time. Raises Unavailable."""
        windows = OverlappingWindows()
        async for listed, name in self._windows(asked):
            for row in windows.take(name.first):
                yield row
            windows.add(await self._read(asked, listed.key))
        for row in windows.take():
            yield row

    async def _windows(self, asked: HistoryRange) -> AsyncIterator[tuple[Listed, WindowName]]:
        """By their first times, which their names begin with."""
        edge = await self._edge_id()
        async for listed in self._store.list(f"{RESULTS}/{asked.stream.name}/{folder_of(asked.key)}/"):
            name = parse(listed.key.rpartition("/")[2])
            if name is None or name.edge != edge:
                continue
            if name.first >= asked.end:
                return
            if name.last >= asked.begin:
                yield listed, name

    async def _read(self, asked: HistoryRange, key: str) -> Sequence[PastForecast]:
        """One that can't be read is left out: the others are worth reading."""
        from driftline_combiner.result_file import read_results  # noqa: PLC0415 - pyarrow is large, and rarely needed

        try:
            async with self._one_at_a_time:
                body = await read(self._store, key, WINDOW_LIMIT)
                return await asyncio.to_thread(read_results, body, asked.stream, asked.horizons, asked.begin, asked.end)
        except NotFound:
            return ()  # retention has removed it meanwhile
        except (InvalidInput, TooLarge) as error:
            log.warning("a window of results is left out: %s", error, extra={"key": key})
            return ()
