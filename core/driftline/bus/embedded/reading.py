"""Reads messages and states back from the segments, in threads. What is let go meanwhile is looked for again."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from itertools import islice

from driftline.bus.embedded.contents import PartitionLog, SavedCheckpoint, Spot, Stretch
from driftline.bus.embedded.folder import answering
from driftline.bus.embedded.frames import Entry, Kind
from driftline.bus.embedded.recovery import damaged
from driftline.bus.embedded.segment import Segment
from driftline.errors import UnusableData

STATES_AT_ONCE = 50


class JournalReader:
    """find: the segment of a number; None where it is gone."""

    def __init__(self, find: Callable[[int], Segment | None]) -> None:
        self._find = find

    async def messages(self, log: PartitionLog, start: int, limit: int) -> list[Entry]:
        """From offset `start` on, or the first one behind it that is still here, at most so many; fewer where a
        segment ends. Raises BusUnavailable and UnusableData."""
        while (stretch := log.stretch(start, limit)) is not None:
            read = await self._stretch(log, stretch)
            if read is not None:
                return read
        return []

    async def _stretch(self, log: PartitionLog, stretch: Stretch) -> list[Entry] | None:
        """None where the stretch is gone by now."""
        read = await self._entries(stretch.segment, stretch.positions)
        whole = [
            entry
            for offset, entry in enumerate(read, stretch.first)
            if entry is not None and (entry.kind, entry.ref, entry.number) == (Kind.MESSAGE, log.ref, offset)
        ]
        if len(whole) == len(stretch.positions):
            return whole
        if log.stretch(stretch.first, len(stretch.positions)) == stretch:
            raise self._damage(stretch.segment, stretch.positions[len(whole)])
        return None

    async def states(self, saved: SavedCheckpoint) -> AsyncGenerator[dict[str, bytes]]:
        """All of a checkpoint, in parts."""
        names = iter(list(saved.states))
        while part := list(islice(names, STATES_AT_ONCE)):
            yield await self._states(saved, part)

    async def _states(self, saved: SavedCheckpoint, names: Sequence[str]) -> dict[str, bytes]:
        states: dict[str, bytes] = {}
        while spots := {name: saved.states[name] for name in names if name in saved.states and name not in states}:
            for name, entry in (await self.at(spots)).items():
                if entry is not None and (entry.kind, entry.ref) == (Kind.STATE, saved.ref):
                    states[name] = entry.payload[entry.number :]
                elif saved.states.get(name) == spots[name]:
                    raise self._damage(spots[name].segment, spots[name].position)
        return states

    async def at(self, spots: Mapping[str, Spot]) -> dict[str, Entry | None]:
        """The entries that lie there, by the same names."""
        entries: dict[str, Entry | None] = {}
        for number in {spot.segment for spot in spots.values()}:
            inside = sorted((spot.position, name) for name, spot in spots.items() if spot.segment == number)
            read = await self._entries(number, [position for position, _ in inside])
            entries |= {name: entry for (_, name), entry in zip(inside, read, strict=True)}
        return entries

    async def _entries(self, number: int, positions: Sequence[int]) -> list[Entry | None]:
        segment = self._find(number)
        if segment is None:
            return [None] * len(positions)
        with answering(segment.path.parent):
            try:
                return await asyncio.to_thread(segment.read, positions)
            except OSError:
                if self._find(number) is segment:
                    raise
                return [None] * len(positions)

    def _damage(self, number: int, position: int) -> UnusableData:
        """Of what should be there by all that is known."""
        segment = self._find(number)
        if segment is None:
            return UnusableData(f"found no segment {number}, expected what lies at its byte {position}")
        return damaged(segment.path, position)
