"""Reads messages and states back from the segments, in threads. What is let go meanwhile is looked for again."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from itertools import islice

from driftline.bus.embedded.contents import Location, PartitionLog, SavedCheckpoint, SegmentSpan
from driftline.bus.embedded.folder import as_bus_errors
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
        while (span := log.span(start, limit)) is not None:
            read = await self._messages_in(log, span)
            if read is not None:
                return read
        return []

    async def _messages_in(self, log: PartitionLog, span: SegmentSpan) -> list[Entry] | None:
        """None where the span is gone by now."""
        read = await self._entries(span.segment, span.positions)
        whole = [
            entry
            for offset, entry in enumerate(read, span.first)
            if entry is not None and (entry.kind, entry.label_id, entry.number) == (Kind.MESSAGE, log.label_id, offset)
        ]
        if len(whole) == len(span.positions):
            return whole
        if log.span(span.first, len(span.positions)) == span:
            raise self._damage(span.segment, span.positions[len(whole)])
        return None

    async def states(
        self, saved: SavedCheckpoint, names: Iterable[str] | None = None
    ) -> AsyncGenerator[dict[str, bytes]]:
        """Those of a checkpoint that have these names, or all, in parts."""
        wanted = iter(list(saved.states if names is None else names))
        while part := list(islice(wanted, STATES_AT_ONCE)):
            yield await self._states(saved, part)

    async def _states(self, saved: SavedCheckpoint, names: Sequence[str]) -> dict[str, bytes]:
        states: dict[str, bytes] = {}
        while locations := {name: saved.states[name] for name in names if name in saved.states and name not in states}:
            for name, entry in (await self.at(locations)).items():
                if entry is not None and (entry.kind, entry.label_id) == (Kind.STATE, saved.label_id):
                    states[name] = entry.payload[entry.number :]
                elif saved.states.get(name) == locations[name]:
                    raise self._damage(locations[name].segment, locations[name].position)
        return states

    async def at(self, locations: Mapping[str, Location]) -> dict[str, Entry | None]:
        """The entries that lie there, by the same names."""
        entries: dict[str, Entry | None] = {}
        for number in {location.segment for location in locations.values()}:
            inside = sorted(
                (location.position, name) for name, location in locations.items() if location.segment == number
            )
            read = await self._entries(number, [position for position, _ in inside])
            entries |= {name: entry for (_, name), entry in zip(inside, read, strict=True)}
        return entries

    async def _entries(self, number: int, positions: Sequence[int]) -> list[Entry | None]:
        segment = self._find(number)
        if segment is None:
            return [None] * len(positions)
        with as_bus_errors(segment.path.parent):
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
