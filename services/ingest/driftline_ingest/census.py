"""Which series there are and in which groups. Pure.

So the door can refuse the first record of one too many, and one that moves its series to another group.

The archive of the same process reports what it has restored, met and forgotten, of the partitions that it owns. The
door reports what it has let in, whose partition may be another replica's.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from driftline.messages import Record
from driftline.streams.definition import StreamDefinition
from driftline.worker.silence import Heard
from driftline.worker.stream_step import Series


class SeriesCounter(Protocol):
    """Counts the series."""

    def add(self, series: Series, partition: int) -> None: ...

    def forget(self, series: Series, partition: int) -> None: ...

    def release(self, partition: int) -> None: ...


class Uncounted:
    """Nobody counts."""

    def add(self, series: Series, partition: int) -> None: ...

    def forget(self, series: Series, partition: int) -> None: ...

    def release(self, partition: int) -> None: ...


class Census:
    """The keys of every stream."""

    def __init__(self, streams: Mapping[str, StreamDefinition]) -> None:
        self._streams = streams
        self._archived: dict[int, set[Series]] = defaultdict(set)
        self._admitted: dict[str, Heard] = defaultdict(Heard)
        # By stream and key how many of the above know it.
        self._known: dict[str, dict[str, int]] = defaultdict(dict)
        # By stream and key, of what was admitted in streams whose definition names a group's column.
        self._groups: dict[str, dict[str, str]] = defaultdict(dict)

    def add(self, series: Series, partition: int) -> None:
        """The archive has it on this partition."""
        if series not in self._archived[partition]:
            self._archived[partition].add(series)
            self._count(series, 1)

    def forget(self, series: Series, partition: int) -> None:
        """The archive has forgotten it: it was silent for too long."""
        if series in self._archived[partition]:
            self._archived[partition].remove(series)
            self._count(series, -1)
        self._leave(series)

    def release(self, partition: int) -> None:
        """The partition is another replica's now."""
        for series in self._archived.pop(partition, ()):
            self._count(series, -1)

    def admit(self, records: Iterable[Record]) -> None:
        """The door lets them in: they are on the bus, or about to be."""
        for name, admitted in groupby(records, key=attrgetter("stream")):
            heard, stream = self._admitted[name], self._streams[name]
            longest, has_groups = stream.longest_silence, bool(stream.group_columns)
            for record in admitted:
                if record.key not in heard:
                    self._count((name, record.key), 1)
                heard.hear(record.key, record.t)
                if has_groups:
                    self._groups[name][record.key] = record.group
                while (silent := heard.first_silent(longest)) is not None:
                    self._leave((name, silent))

    def keys(self, stream: str) -> int:
        """How many keys of a stream are known."""
        return len(self._known[stream])

    def too_many(self, stream: str, records: Iterable[Record]) -> set[str]:
        """The keys among `records` that are new and beyond what the stream may have; earlier ones come first."""
        known = self._known[stream]
        new = dict.fromkeys(record.key for record in records if record.key not in known)
        room = max(0, self._streams[stream].keys - len(known))
        return set(list(new)[room:])

    def former_groups(self, stream: str, records: Sequence[Record]) -> dict[int, str]:
        """By index the group that the series of a record has had, where the record names another. An earlier one of
        `records` counts as well."""
        if not self._streams[stream].group_columns:
            return {}
        former: dict[int, str] = {}
        new: dict[str, str] = {}
        known = self._groups[stream]
        for index, record in enumerate(records):
            group = known.get(record.key) or new.setdefault(record.key, record.group)
            if group != record.group:
                former[index] = group
        return former

    def _leave(self, series: Series) -> None:
        stream, key = series
        self._groups[stream].pop(key, None)
        if key in self._admitted[stream]:
            self._admitted[stream].forget(key)
            self._count(series, -1)

    def _count(self, series: Series, change: int) -> None:
        stream, key = series
        known = self._known[stream]
        known[key] = known.get(key, 0) + change
        if not known[key]:
            del known[key]
