"""Windows that wait for the store, in a folder of this machine: weeks of them, and the newest go first.

Each lies under the name that it will have in the store. Beyond `limit` bytes the oldest are dropped; what they held is
counted by time before they go, and that outlives a restart.
"""

import asyncio
import io
import logging
from bisect import bisect_left, insort
from collections.abc import Callable

import msgspec

from driftline.errors import NotFound, StoreUnavailable
from driftline.messages import Gap
from driftline.store.folder import FolderStore
from driftline.store.port import read
from driftline.store.windows import parse
from driftline_ingest.gaps import Gaps

log = logging.getLogger(__name__)

NOTES = "gaps.json"
NOTES_LIMIT = 10_000_000
"""Bytes that are read of it."""
DROPPED_AT_ONCE = 20


class BacklogNotes(msgspec.Struct, frozen=True):
    """What outlives a restart. dropping: windows that are counted in the gaps already, and may still be there."""

    gaps: list[Gap]
    dropping: list[str] = []


class Backlog:
    """folder: for this process alone. gaps: what was dropped so far, kept there, too. on_lost: called with what is
    dropped, and adds it to them."""

    def __init__(self, folder: FolderStore, limit: int, gaps: Gaps, on_lost: Callable[[Gap], None]) -> None:
        self._folder = folder
        self._limit = limit
        self._on_lost = on_lost
        self._gaps = gaps
        self._sizes: dict[str, int] = {}
        self._by_time: list[tuple[int, str]] = []
        """The time of the newest row of each, and its name."""
        self._bytes = 0
        self._is_open = False
        self._changing = asyncio.Lock()
        self._is_filled = asyncio.Event()

    @property
    def windows(self) -> int:
        """How many wait."""
        return len(self._sizes)

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return self._bytes

    async def check(self) -> None:
        """Raises StoreUnavailable while windows wait. See `driftline.service.app.ReadinessCheck`."""
        if self.windows:
            raise StoreUnavailable(f"{self.windows} windows ({self._bytes / 1e6:.1f} MB) wait for the store")

    async def open(self) -> None:
        """Takes up what a former run has left. Raises StoreUnavailable while the folder can't be used."""
        async with self._changing:
            await self._open()

    async def keep_notes(self) -> None:
        """Writes the gaps down. Raises StoreUnavailable."""
        async with self._changing:
            await self._open()
            await self._put_notes([])

    async def filled(self) -> None:
        """Returns when a window waits."""
        await self._is_filled.wait()

    def newest(self) -> str:
        """The name of the newest window; there must be one."""
        return self._by_time[-1][1]

    async def add(self, name: str, body: bytes) -> None:
        """Returns when it is on the disk. Raises StoreUnavailable where that is full, and Unstorable."""
        async with self._changing:
            await self._open()
            while self._sizes and self._bytes + len(body) > self._limit:
                await self._drop_oldest(self._bytes + len(body) - self._limit)
            await self._folder.put(name, body)
            self._leave_out(name)
            self._take_in(name, len(body))

    async def read(self, name: str) -> bytes | None:
        """None where it was dropped meanwhile, or lies where the disk is broken: it must not hold up the others."""
        try:
            return await self._body(name)
        except NotFound:
            pass
        except StoreUnavailable as error:
            log.error("a window is left on the disk until the next start: %s", error, extra={"window": name})  # noqa: TRY400
        self._leave_out(name)
        return None

    async def remove(self, name: str) -> None:
        """The store has it. What can't be removed must not hold up the others: the next start looks at it again."""
        async with self._changing:
            self._leave_out(name)
            try:
                await self._folder.delete(name)
            except StoreUnavailable as error:
                log.warning("a window that was sent is left on the disk: %s", error, extra={"window": name})

    async def _open(self) -> None:
        if self._is_open:
            return
        notes = await self._notes()
        for name in notes.dropping:
            await self._folder.delete(name)
        waiting = [listed async for listed in self._folder.list("") if parse(listed.key.rpartition("/")[2])]
        # Taken in at once: whoever fails before comes again.
        for gap in notes.gaps:
            self._gaps.add(gap)
        for listed in waiting:
            self._take_in(listed.key, listed.size)
        self._is_open = True

    async def _notes(self) -> BacklogNotes:
        try:
            body = await read(self._folder, NOTES, NOTES_LIMIT)
            return msgspec.json.decode(body, type=BacklogNotes)
        except NotFound:
            return BacklogNotes([])
        except msgspec.DecodeError as error:
            log.warning("what was dropped before is not known: %s", error)
            return BacklogNotes([])

    async def _drop_oldest(self, excess: int) -> None:
        """Drops some of the oldest, until so many bytes are gone or DROPPED_AT_ONCE windows."""
        names: list[str] = []
        for _, name in self._by_time[:DROPPED_AT_ONCE]:
            if excess <= 0:
                break
            names.append(name)
            excess -= self._sizes[name]
        for name in names:
            self._on_lost(await self._gap(name))
        # Noted first, so that after a crash none of them is counted twice.
        await self._put_notes(names)
        for name in names:
            await self._folder.delete(name)
            self._leave_out(name)

    async def _put_notes(self, dropping: list[str]) -> None:
        await self._folder.put(NOTES, msgspec.json.encode(BacklogNotes(list(self._gaps), dropping)))

    async def _gap(self, name: str) -> Gap:
        """What a window holds; of one that can't be read the times alone."""
        try:
            rows = await asyncio.to_thread(_rows, await self._body(name))
        except (NotFound, StoreUnavailable) as error:
            log.warning("how many rows a window had is not known: %s", error, extra={"window": name})
            rows = 0
        kind, stream, *_, file = name.split("/")
        times = parse(file)
        assert times is not None, "other names are not taken in"  # noqa: S101
        return Gap(stream=stream, what=kind, since=times.first, until=times.last, count=rows)

    async def _body(self, name: str) -> bytes:
        """Of a window, whatever its size: the limit may be another one than when it was written."""
        stored = await self._folder.get(name)
        assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
        return stored.body

    def _take_in(self, name: str, size: int) -> None:
        insort(self._by_time, (_newest(name), name))
        self._sizes[name] = size
        self._bytes += size
        self._is_filled.set()

    def _leave_out(self, name: str) -> None:
        if (size := self._sizes.pop(name, None)) is None:
            return
        self._bytes -= size
        del self._by_time[bisect_left(self._by_time, (_newest(name), name))]
        if not self._sizes:
            self._is_filled.clear()


def _newest(name: str) -> int:
    times = parse(name.rpartition("/")[2])
    return times.last if times is not None else 0


def _rows(body: bytes) -> int:
    """Of a Parquet file; 0 of one that has rotted."""
    import pyarrow as pa  # noqa: PLC0415 - large, and not needed before something is dropped
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return int(pq.ParquetFile(io.BytesIO(body)).metadata.num_rows)
    except (pa.ArrowException, OSError):
        return 0
