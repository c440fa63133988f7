"""Group commit: what comes while a sync is under way goes into the next one, together."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from driftline.bus.embedded.contents import PartitionLog
from driftline.bus.embedded.frames import Entry
from driftline.bus.embedded.journal import Journal
from driftline.bus.embedded.layout import Commit, parts
from driftline.errors import BusUnavailable, DriftlineError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    commit: Commit
    done: asyncio.Future[None]


class Writing:
    """One writer, whose turns last as long as there is something to write.

    limit: bytes that are written at once, unless one commit has more.
    written: called with the messages that are on the disk by now, before their writers hear of it."""

    def __init__(
        self, journal: Journal, limit: int, written: Callable[[Sequence[tuple[PartitionLog, Entry]]], None]
    ) -> None:
        self.syncs = 0
        """Turns of the writer so far."""
        self._journal = journal
        self._limit = limit
        self._written = written
        self._waiting: deque[_Waiting] = deque()
        self._last: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._refused = 0
        """Bytes that were refused last; 0 when writing goes well."""

    async def write(self, commit: Commit) -> None:
        """Returns when it is on the disk. Raises BusUnavailable, and then it is not written."""
        if self._is_closed:
            raise BusUnavailable("the bus is closed")
        self._last = asyncio.get_running_loop().create_future()
        waiting = _Waiting(commit, self._last)
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        await waiting.done

    async def write_in_parts(self, messages: Iterable[tuple[PartitionLog, bytes]]) -> None:
        """The same for messages that need not be written together, one part after the other."""
        for part in parts(messages, self._limit):
            await self.write(Commit(part))

    async def settled(self) -> None:
        """Returns when all that waits by now is written, or refused."""
        if self._last is not None and not self._last.done():
            await asyncio.wait([self._last])

    async def check(self) -> None:
        """Raises BusUnavailable. After a failure it tries whether there would be space for what was refused."""
        if self._is_closed or self._refused:
            await self.write(Commit(room=self._refused))

    async def close(self) -> None:
        self._is_closed = True
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._turn(list(self._together()))
        except BaseException as error:
            # A turn that was cut may be on the disk without being known here.
            self._is_closed = True
            self._refuse([*self._waiting], BusUnavailable(f"the bus has stopped: {error!r}"))
            raise

    def _together(self) -> Iterator[_Waiting]:
        size = 0
        while self._waiting and (size == 0 or size + self._waiting[0].commit.size() <= self._limit):
            waiting = self._waiting.popleft()
            size += waiting.commit.size()
            yield waiting

    async def _turn(self, together: Sequence[_Waiting]) -> None:
        try:
            messages = await self._journal.append([waiting.commit for waiting in together])
        except DriftlineError as error:
            self._refused = max(waiting.commit.size() + waiting.commit.room for waiting in together) or 1
            # All, also what came meanwhile: order is kept for whoever sends again.
            self._refuse([*together, *self._waiting], error)
            return
        except BaseException:
            self._refuse(together, BusUnavailable("the bus has stopped"))
            raise
        self.syncs += 1
        self._refused = 0
        self._written(messages)
        for waiting in together:
            if not waiting.done.done():
                waiting.done.set_result(None)
        try:
            await self._journal.expire()
        except DriftlineError as error:
            log.warning("nothing could be dropped from the journal: %s", error)

    def _refuse(self, refused: Sequence[_Waiting], error: DriftlineError) -> None:
        self._waiting.clear()
        for waiting in refused:
            if not waiting.done.done():
                waiting.done.set_exception(type(error)(*error.args))
