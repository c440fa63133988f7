"""Group commit: what comes while a sync is under way goes into the next one, together.

A message is staged from when it waits to be written. Workers may read on from it at once: what they make of it waits
behind it, so that whatever a power cut leaves, no output is there without its cause, and the three hops of a record
share a sync. Everybody else sees what is on the disk. Where writing fails, all that was staged is taken back: a
subscription that has read of it ends with BusUnavailable, and its worker begins with its last checkpoint.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import msgspec

from driftline.bus.embedded.contents import PartitionLog
from driftline.bus.embedded.journal import Journal
from driftline.bus.embedded.layout import CheckpointWrite, Commit, parts
from driftline.bus.embedded.recent import RecentMessages
from driftline.bus.port import Raw
from driftline.errors import BusUnavailable, DriftlineError

log = logging.getLogger(__name__)

Messages = Sequence[tuple[PartitionLog, bytes]]
OnDeath = Callable[[str, BaseException], None]

QUIET_TURNS = 10
"""A sync begins when nothing more was staged for so many turns of the event loop: a hop takes about five."""
LONGEST_S = 0.005
"""Or after that time."""


class _Waiting(msgspec.Struct, frozen=True):
    commit: Commit
    done: asyncio.Future[None]


class GroupCommit:
    """One writer, whose turns last as long as there is something to write.

    limit: bytes that are written at once, unless one commit has more. every: seconds between two syncs at least.
    announce: called with each topic of which messages are staged or on the disk by now. taken_back: called when all
    that was staged is gone. on_death: called with what ended the writer, which then writes nothing any more."""

    def __init__(
        self,
        journal: Journal,
        limit: int,
        every: float,
        recent: RecentMessages,
        announce: Callable[[str], None],
        taken_back: Callable[[], None],
        on_death: OnDeath,
    ) -> None:
        self.syncs = 0
        """Turns of the writer so far."""
        self._journal = journal
        self._limit = limit
        self._every = every
        self._next_sync = 0.0
        self._recent = recent
        self._announce = announce
        self._taken_back = taken_back
        self._on_death = on_death
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed: str | None = None
        """Why nothing is written any more."""
        self._turned = asyncio.Event()
        """Whether no turn is under way."""
        self._turned.set()
        self._refused = 0
        """Bytes that were refused last; 0 when writing goes well."""

    async def write(self, messages: Messages = (), checkpoint: CheckpointWrite | None = None, *, room: int = 0) -> None:
        """Returns when all of it is on the disk. Raises BusUnavailable, and then nothing is written. Who is cancelled
        gives up the answer: the commit is written, or refused, all the same."""
        if self._closed is not None:
            raise BusUnavailable(self._closed)
        waiting = self._enqueue(Commit(self._journal.now(), messages, checkpoint, room))
        self._stage(waiting.commit)
        await waiting.done

    def _enqueue(self, commit: Commit) -> _Waiting:
        waiting = _Waiting(commit, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return waiting

    async def write_in_parts(self, messages: Iterable[tuple[PartitionLog, bytes]]) -> None:
        """The same for messages that need not be written together, one part after the other."""
        for part in parts(messages, self._limit):
            await self.write(part)

    def _stage(self, commit: Commit) -> None:
        for partition, payload in commit.messages:
            offset = partition.next
            self._recent.add(partition, Raw(partition.label.partition, offset, commit.time, payload))
            partition.staged = offset + 1
        self._announce_all([commit])

    def _announce_all(self, commits: Iterable[Commit]) -> None:
        for topic in {partition.label.topic for commit in commits for partition, _ in commit.messages}:
            self._announce(topic)

    async def settled(self) -> None:
        """Returns when all that waits by now is written, or refused."""
        if self._waiting:
            # Behind all that waits by now. Who is cancelled looks as if it was done, so that nobody can be waited for.
            with suppress(DriftlineError):
                await self._enqueue(Commit(self._journal.now())).done
        await self._turned.wait()

    async def check(self) -> None:
        """Raises BusUnavailable. After a failure it tries whether there would be space for what was refused."""
        if self._closed is not None or self._refused:
            await self.write(room=self._refused)

    async def close(self) -> None:
        self._closed = self._closed or "the bus is closed"
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._quiet()
                self._turned.clear()
                try:
                    await self._turn(list(self._together()))
                finally:
                    self._turned.set()
                await self._expire()
        except BaseException as error:
            # A turn that was cut may be on the disk without being known here.
            self._closed = f"the bus has stopped: {error!r}"
            self._refuse([*self._waiting], BusUnavailable(self._closed))
            if not isinstance(error, Exception):
                raise
            self._on_death("the writer of the bus", error)

    async def _quiet(self) -> None:
        """Returns when what is staged has led to all that it leads to at once."""
        loop = asyncio.get_running_loop()
        if (pause := self._next_sync - loop.time()) > 0:
            await asyncio.sleep(pause)
        longest, staged, turns = loop.time() + LONGEST_S, len(self._waiting), 0
        while turns < QUIET_TURNS and loop.time() < longest:
            await asyncio.sleep(0)
            turns = turns + 1 if len(self._waiting) == staged else 0
            staged = len(self._waiting)
        self._next_sync = loop.time() + self._every

    def _together(self) -> Iterator[_Waiting]:
        size = 0
        while self._waiting and (size == 0 or size + self._waiting[0].commit.size() <= self._limit):
            waiting = self._waiting.popleft()
            size += waiting.commit.size()
            yield waiting

    async def _turn(self, together: Sequence[_Waiting]) -> None:
        try:
            await self._journal.append([waiting.commit for waiting in together])
        except DriftlineError as error:
            self._refused = max(waiting.commit.size() + waiting.commit.room for waiting in together) or 1
            # All, also what came meanwhile: order is kept for whoever sends again.
            self._refuse([*together, *self._waiting], error)
            return
        except BaseException as error:
            self._refuse(together, BusUnavailable(f"the bus has stopped: {error!r}"))
            raise
        self.syncs += 1
        self._refused = 0
        self._announce_all(waiting.commit for waiting in together)
        for waiting in together:
            if not waiting.done.done():
                waiting.done.set_result(None)

    async def _expire(self) -> None:
        try:
            await self._journal.expire()
        except DriftlineError as error:
            log.warning("nothing could be dropped from the journal: %s", error)

    def _refuse(self, refused: Sequence[_Waiting], error: DriftlineError) -> None:
        self._waiting.clear()
        self._recent.clear()
        for waiting in refused:
            for partition, _ in waiting.commit.messages:
                partition.staged = 0
            if not waiting.done.done():
                waiting.done.set_exception(type(error)(*error.args))
        self._taken_back()
