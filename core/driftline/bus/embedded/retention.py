"""What of a journal goes, when, and what of it must be written again before.

Messages go by age and for space. The newest states of series, and topics that are kept for ever, outlive their segment.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from itertools import islice

from driftline.bus.embedded.contents import Contents, PartitionLog
from driftline.bus.embedded.folder import FILES_BYTES, EmbeddedSettings
from driftline.bus.embedded.frames import Entry
from driftline.bus.embedded.reading import JournalReader
from driftline.bus.embedded.recovery import damaged
from driftline.bus.embedded.segment import Segment
from driftline.messages import EDGE

KEPT_FOR_EVER = {EDGE.name}
"""Small topics whose messages never go."""
CARRIED_AT_ONCE = 20
CARRIED_SHARE = 16
"""States that live on are written so many at once, or as many as are this part of a segment."""
HOUR_MS = 3_600_000


class Retention:
    """Decides, and changes nothing. needed: by topic and partition the first offset that a group at work may still have
    to read."""

    def __init__(
        self,
        settings: EmbeddedSettings,
        contents: Contents,
        reader: JournalReader,
        needed: Callable[[], Mapping[tuple[str, int], int]],
    ) -> None:
        self.milliseconds = settings.retention_hours * HOUR_MS
        self._settings = settings
        self._contents = contents
        self._reader = reader
        self._needed = needed

    @property
    def bound(self) -> int:
        """Bytes that all segments may take."""
        return self._settings.retention_bytes - FILES_BYTES

    def can_carry_and_roll(self, segments: Sequence[Segment]) -> bool:
        """Whether within the bound there is space for what of any segment lives on, and for the next one."""
        free = self.bound - sum(segment.size for segment in segments)
        return free >= max(segment.size for segment in segments) + self._settings.segment_bytes

    def is_expired(self, segment: Segment, age: int) -> bool:
        """Whether it is too old, and no group at work needs it. age: of the folder, in ms."""
        if age - segment.last_age <= self.milliseconds:
            return False
        needed = self._needed()
        return all(
            span.end <= needed.get((partition.label.topic, partition.label.partition), span.end)
            for partition in self._contents.logs_in(segment.number)
            for span in partition.spans
            if span.segment == segment.number
        )

    async def still_needed(self, segment: Segment) -> AsyncGenerator[list[Entry]]:
        """What must outlive the segment, in parts: the newest states of series, and topics that are kept for ever."""
        for partition in self._contents.logs_in(segment.number):
            if partition.label.topic in KEPT_FOR_EVER:
                yield await self._all_of(partition)
        locations = (
            (f"{saved.label_id}/{name}", location)
            for saved, name, location in list(self._contents.states_in(segment.number))
        )
        while part := dict(islice(locations, CARRIED_AT_ONCE)):
            read = await self._reader.at(part)
            for name, entry in read.items():
                if entry is None:
                    raise damaged(segment.path, part[name].position)
            for entries in _parts([e for e in read.values() if e], self._settings.segment_bytes // CARRIED_SHARE):
                yield entries

    async def _all_of(self, partition: PartitionLog) -> list[Entry]:
        """In one part, since what is written again replaces all behind it."""
        entries: list[Entry] = []
        while not entries or entries[-1].number + 1 < partition.end:
            entries += await self._reader.messages(partition, partition.first + len(entries), partition.end)
        return entries


def _parts(entries: Sequence[Entry], size: int) -> Iterator[list[Entry]]:
    """In their order, each part with at least so many bytes, but for the last."""
    part: list[Entry] = []
    for entry in entries:
        part.append(entry)
        if sum(map(Entry.size, part)) >= size:
            yield part
            part = []
    if part:
        yield part
