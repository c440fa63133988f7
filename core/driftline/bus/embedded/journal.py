"""The journal: appends commits to the newest segment, begins the next one, and lets the oldest go.

The event loop alone knows the contents. A thread of its own writes and syncs, and what it wrote is applied when it is
on the disk: so nothing needs a lock, and nobody sees a message that a power cut could take back.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate
from typing import ParamSpec, TypeVar

import msgspec

from driftline.bus.embedded import recovery
from driftline.bus.embedded.folder import EmbeddedSettings, as_bus_errors, lock_folder
from driftline.bus.embedded.frames import FRAME_BYTES, Entry, Kind, encode
from driftline.bus.embedded.layout import Commit, FrameLayout
from driftline.bus.embedded.reading import JournalReader
from driftline.bus.embedded.retention import Retention
from driftline.bus.embedded.segment import TRAILER, Segment
from driftline.errors import BusUnavailable

log = logging.getLogger(__name__)

SPARE = 2
"""Segments that are kept to be used again, at most."""
INDEX_BYTES = 64
ROW_BYTES = 40
POSITION_BYTES = 4
"""What an index takes at most: as such, for a partition or a series in it, and for a message."""
ROLLS = 4
"""Within the time of retention so many segments begin at least, however little is written."""

P = ParamSpec("P")
R = TypeVar("R")


class Journal:
    """Opened when it is made: raises BusUnavailable and UnusableData.

    needed: by topic and partition the first offset that a group at work may still have to read."""

    def __init__(
        self,
        settings: EmbeddedSettings,
        needed: Callable[[], Mapping[tuple[str, int], int]],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._began = monotonic()
        self._spare: list[Segment] = []
        self._refused: Segment | None = None
        """Behind what is used of it a frame may lie that was refused, whole or in part."""
        self._lock = lock_folder(settings)
        try:
            with as_bus_errors(settings.folder):
                recovered = recovery.recover(settings.folder)
                self._segments = recovered.segments
                for unused in recovered.unused:
                    unused.remove()
                if not self._segments:
                    self._segments = [Segment.make(settings.folder, 1, settings.segment_bytes)]
        except BaseException:
            os.close(self._lock)
            raise
        self.contents = recovered.contents
        self.reader = JournalReader(self._find)
        self._retention = Retention(settings, self.contents, self.reader, needed)
        self._age = self._active.last_age
        self._next_frame = self._active.last_frame + 1
        self._index_bytes = INDEX_BYTES + 2 * len(msgspec.msgpack.encode(self.contents.index(self._active.number)))
        self._thread = ThreadPoolExecutor(1, "driftline-journal")

    @property
    def _active(self) -> Segment:
        return self._segments[-1]

    def _find(self, number: int) -> Segment | None:
        return next((segment for segment in self._segments if segment.number == number), None)

    def age(self) -> int:
        """How long the folder has been in use, in ms. No clock that somebody sets moves it."""
        return self._age + int((self._monotonic() - self._began) * 1000)

    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in (*self._segments, *self._spare))

    def now(self) -> float:
        """Seconds since the epoch, for what is written."""
        return self._clock()

    async def append(self, commits: Sequence[Commit]) -> None:
        """Returns when all is on the disk. Raises BusUnavailable, and then nothing is written."""
        layout = FrameLayout()
        for commit in commits:
            layout.add(commit)
        with as_bus_errors(self._settings.folder):
            await self._write(layout.entries, max(commit.room for commit in commits))

    async def _write(self, entries: Sequence[Entry], room: int = 0) -> None:
        await self._overwrite_refused()
        frame, index = FRAME_BYTES + sum(map(Entry.size, entries)) + room, self._indexed(entries)
        if self._is_long_open() or not self._active.has_room(frame + self._index_bytes + index):
            await self._roll(frame + index)
            index = self._indexed(entries)
        active = self._active
        begin = active.used + FRAME_BYTES
        age = await self._append_to(active, entries)
        self._index_bytes += index
        positions = accumulate(map(Entry.size, entries), initial=begin)
        self.contents.apply(active.number, age, zip(positions, entries, strict=False))

    async def _overwrite_refused(self) -> None:
        """A frame that was refused must not be met by a start: its number is given to the next one, which may lie in
        another segment."""
        if self._refused is self._active:
            await self._append_to(self._active, ())
        elif self._refused is not None:
            await self._io(self._refused.remove)
        self._refused = None

    def _indexed(self, entries: Sequence[Entry]) -> int:
        """Bytes by which an index grows with these at most."""
        new = {
            e.label_id
            for e in entries
            if e.kind is Kind.MESSAGE and not self.contents.is_in(e.label_id, self._active.number)
        }
        names = [e.number or len(e.payload) for e in entries if e.kind in {Kind.STATE, Kind.FORGOTTEN}]
        return POSITION_BYTES * len(entries) + ROW_BYTES * (len(new) + len(names)) + sum(names)

    async def _append_to(self, segment: Segment, entries: Sequence[Entry]) -> int:
        """Returns the age that the frame has."""
        age = self.age()
        data = encode(entries, self._next_frame, age)
        self._refused = segment
        await self._io(segment.append, data)
        self._refused = None
        segment.count_in(len(data), self._next_frame, age)
        self._next_frame += 1
        return age

    async def _roll(self, needed: int) -> None:
        """Begins a new segment with room for so many bytes."""
        head = FRAME_BYTES + sum(map(Entry.size, self.contents.summary(self._clock())))
        segment = await self._make(max(self._settings.segment_bytes, head + needed + INDEX_BYTES + TRAILER.size))
        # Made again, since room may have been made meanwhile. It says nothing new, so it is not applied.
        await self._append_to(segment, self.contents.summary(self._clock()))
        full = self._active
        self._segments.append(segment)
        self._index_bytes = INDEX_BYTES
        with suppress(OSError):  # an index only spares time at the next start
            await self._io(full.seal, self.contents.index(full.number))

    async def _make(self, size: int) -> Segment:
        if size == self._settings.segment_bytes and self._spare:
            segment = await self._io(self._spare[0].reused_as, self._next_number())
            self._spare.pop(0)
            return segment
        while self.size() + size > self._retention.bound:
            if self._spare:
                await self._io(self._spare[-1].remove)
                self._spare.pop()
            elif size > self._settings.segment_bytes and len(self._segments) > 1:
                await self._drop_oldest()
            else:
                raise BusUnavailable(
                    f"{self._settings.folder}: found no space for {size} bytes more next to the states of all series "
                    f"within retention_bytes {self._settings.retention_bytes}, expected a higher bound"
                )
        return await self._io(Segment.make, self._settings.folder, self._next_number(), size)

    def _next_number(self) -> int:
        return max(segment.number for segment in (*self._segments, *self._spare)) + 1

    async def expire(self) -> None:
        """Lets go what is too much or too old. Raises BusUnavailable and UnusableData."""
        with as_bus_errors(self._settings.folder):
            # What lives on is written again: where all does, nothing is gained by going on.
            for oldest in list(self._segments[:-1]):
                if self._retention.can_carry_and_roll(self._segments) and not self._retention.is_expired(
                    oldest, self.age()
                ):
                    return
                await self._drop_oldest()

    def _is_long_open(self) -> bool:
        """Whether the newest segment began so long ago that what comes now should not share its end."""
        return self._active.used > 0 and self.age() - self._active.first_age > self._retention.milliseconds / ROLLS

    async def _drop_oldest(self) -> None:
        oldest = self._segments[0]
        async for entries in self._retention.still_needed(oldest):
            await self._write(entries)
        self.contents.drop(oldest.number)
        is_of_use = oldest.size == self._settings.segment_bytes and len(self._spare) < SPARE
        is_kept = is_of_use and self.size() <= self._retention.bound
        # It remains the oldest where this fails, so that the next turn tries again.
        await self._io(oldest.set_aside if is_kept else oldest.remove)
        self._segments.remove(oldest)
        if is_kept:
            self._spare.append(oldest)

    async def _io(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """In the thread that writes."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: call(*args, **kwargs))

    def close(self) -> None:
        """Nothing may be under way any more."""
        self._thread.shutdown()
        for segment in (*self._segments, *self._spare):
            segment.close()
        os.close(self._lock)
