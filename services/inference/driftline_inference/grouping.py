"""In which rounds the records of a batch are worked off: those of a group see or await each other. Pure."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, zip_longest

import msgspec

from driftline.arrays import Ints
from driftline.messages import Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.in_sequence import in_sequence
from driftline.streams.layout import Layout
from driftline.streams.neighbours import Peers
from driftline.worker.series_store import SeriesStore
from driftline.worker.slots import rounds
from driftline_inference.groups import Assembly, Groups
from driftline_inference.state import ForecastTables, HeldBack

Round = list[tuple[int, Record]]
"""Records to work on at once, each with the place of the message that caused it."""


class Grouping:
    """The groups of a stream's series; a stream without any has none of them in one.

    tick: that of a record, on the grid of its series. let_go: see `driftline_inference.groups.Assembly`.
    """

    def __init__(
        self,
        stream: StreamDefinition,
        layout: Layout,
        store: SeriesStore[ForecastTables],
        *,
        tick: Callable[[Record], int],
        let_go: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._grouped = layout.grouped
        self._in_sequence = in_sequence(layout)
        self._store = store
        self._tick = tick
        self._groups = Groups()
        self._assembly = Assembly(let_go)

    @property
    def waiting(self) -> int:
        """Records that wait for others of their group."""
        return len(self._assembly)

    def stretches(self, messages: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """Parts in which no series goes to another group but with the first record: those before see it in the former
        one, wherever a batch was cut."""
        begin = 0
        groups: dict[str, str] = {}
        for index, record in enumerate(messages if self._grouped else ()):
            group = group_name(record)
            if groups.get(record.key, self._groups.find(record.key) or group) != group and index > begin:
                yield messages[begin:index]
                begin = index
            groups[record.key] = group
        yield messages[begin:]

    def rounds(self, messages: Sequence[Record]) -> list[Round]:
        """Of one stretch."""
        if self._in_sequence:
            return [list(enumerate(messages))]
        if not self._grouped:
            return [
                [(index, messages[index]) for index in part] for part in rounds([record.key for record in messages])
            ]
        groups = [group_name(record) for record in messages]
        for record, group in zip(messages, groups, strict=True):
            self._groups.join(record.key, group, self._store.slot(record.key))
        if not self._stream.together:
            # One record of a group at a time: the next one sees it.
            return [[(index, messages[index]) for index in part] for part in rounds(groups)]
        return self._assembled(messages, groups)

    def _assembled(self, messages: Sequence[Record], groups: Sequence[str]) -> list[Round]:
        """The records of groups that are complete; those of different groups are worked on at once."""
        by_group: dict[str, list[Round]] = {}
        for index, (record, group) in enumerate(zip(messages, groups, strict=True)):
            for part in self._assembly.add(group, record, self._tick(record)):
                by_group.setdefault(group, []).append([(index, released) for released in part])
        return [list(chain.from_iterable(parts)) for parts in zip_longest(*by_group.values(), fillvalue=[])]

    def leaves(self, record: Record) -> bool:
        """Whether its series goes to another group with it."""
        return self._grouped and self._groups.find(record.key) not in {None, group_name(record)}

    def withdraw(self, key: str) -> tuple[Record, ...]:
        """What waits of a series in its group, which waits for it no longer."""
        group = self._groups.of(key)
        waiting = self._assembly.of(group, key)
        self._assembly.drop(group, key)
        return waiting

    def join(self, key: str, group: str) -> None:
        """A series belongs to a group from now on, with its newest record."""
        slot = self._store[key]
        self._groups.join(key, group, slot)
        if self._stream.together:
            self._assembly.released(group, key, int(self._store.tables.history.tick[slot]))

    def forget(self, key: str) -> None:
        """There need be no such series: a state that can't be taken up to its end has not joined a group."""
        if (group := self._groups.find(key)) is not None:
            self._assembly.drop(group, key)
        self._groups.leave(key)

    def of(self, key: str) -> str:
        """The group of a series that is known; "" where the stream has none."""
        return self._groups.of(key) if self._grouped else ""

    def peers(self, keys: Sequence[str], slots: Ints) -> Peers | None:
        """The groups of n series; None where the stream has none."""
        return self._groups.peers(keys, slots) if self._grouped else None

    def save(self, key: str) -> HeldBack:
        group = self.of(key)
        return HeldBack(group, self._assembly.of(group, key))

    def restore(self, key: str, held_back: HeldBack) -> None:
        """Takes up what `save` gave, once the tables have the series."""
        if not self._grouped:
            return
        # A state from before there were groups says none: its next record does.
        group = held_back.group or key
        self.join(key, group)
        if self._stream.together:
            for record in held_back.records:
                self._assembly.restore(group, [self._completed(record)], self._tick(record))

    def _completed(self, record: Record) -> Record:
        """A record from before the definition had other columns: of a new one it has no value."""
        return msgspec.structs.replace(record, values=dict.fromkeys(self._stream.columns) | record.values)


def group_name(record: Record) -> str:
    """A series that names none is one by itself."""
    return record.group or record.key
