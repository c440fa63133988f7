"""Which series are neighbours, and which of their records wait for each other. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftline.arrays import Ints
from driftline.messages import Record
from driftline.streams.grid import NEVER
from driftline.streams.neighbours import Peers


class Groups:
    """The series of every group, by their slots."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._slots: dict[str, dict[str, int]] = {}
        self._arrays: dict[str, Ints] = {}

    def join(self, key: str, group: str, slot: int) -> None:
        """A series belongs to a group from now on."""
        if self._of.get(key) == group:
            return
        self.leave(key)
        self._of[key] = group
        self._slots.setdefault(group, {})[key] = slot
        self._arrays.pop(group, None)

    def leave(self, key: str) -> None:
        """A series is forgotten; there need be none."""
        group = self._of.pop(key, None)
        if group is None:
            return
        del self._slots[group][key]
        self._arrays.pop(group, None)
        if not self._slots[group]:
            del self._slots[group]

    def of(self, key: str) -> str:
        """The group of a series that has one."""
        return self._of[key]

    def find(self, key: str) -> str | None:
        """The same of any series; None where it has none."""
        return self._of.get(key)

    def slots(self, group: str) -> Ints:
        """Of all its series."""
        if group not in self._arrays:
            # In the order of keys: sums over them are the same to the last bit, whoever came first after a restart.
            slots = [slot for _, slot in sorted(self._slots[group].items())]
            self._arrays[group] = np.array(slots, dtype=np.int64)
        return self._arrays[group]

    def peers(self, keys: Sequence[str], slots: Ints) -> Peers:
        """The groups of n series, which have these keys and slots."""
        groups = [self._of[key] for key in keys]
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        return Peers.of(slots, [numbers[group] for group in groups], [self.slots(group) for group in numbers])


@dataclass
class _Waiting:
    """Records of one tick of a group. again: the newest further one of series that it has a record of."""

    tick: int
    records: dict[str, Record] = field(default_factory=dict)
    again: dict[str, Record] = field(default_factory=dict)

    def add(self, record: Record) -> bool:
        """Takes a record in, and returns whether another one is let go for it: of those in one tick the last counts."""
        if record.key not in self.records:
            self.records[record.key] = record
            return False
        is_full = record.key in self.again
        self.again[record.key] = record
        return is_full

    def rounds(self) -> list[list[Record]]:
        """The group's records, then the further ones, by their keys, since a state says no other order."""
        parts = (self.records, self.again)
        return [[record for _, record in sorted(part.items())] for part in parts if part]


class Assembly:
    """Holds the records of a group back until its last series of that time has come, or the first record of a later
    time. The series that had a record at the tick before are waited for. Of a series two records wait at most.

    let_go: gets each record's stream where another of its series and tick came while it waited.
    """

    def __init__(self, let_go: Callable[[str], None] = lambda _: None) -> None:
        self._let_go = let_go
        self._waiting: dict[str, _Waiting] = {}
        self._ticks: dict[str, dict[str, int]] = {}
        """By group of each of its series the newest tick that was released."""
        self._newest: dict[str, tuple[int, set[str]]] = {}
        """By group the newest of these, and the series that had a record of it."""

    def add(self, group: str, record: Record, tick: int) -> list[list[Record]]:
        """Takes a record in, and gives the records that may be forecast now, in rounds."""
        released: list[list[Record]] = []
        waiting = self._waiting.get(group)
        if waiting is not None and tick > waiting.tick:
            released += self._release(group)
            waiting = None
        if tick <= self._newest.get(group, (NEVER, set()))[0] or (waiting is not None and tick < waiting.tick):
            # Its group has been forecast without it.
            self.released(group, record.key, tick)
            return [*released, [record]]
        waiting = self._waiting.setdefault(group, _Waiting(tick))
        if waiting.add(record):
            self._let_go(record.stream)
        if self._newest.get(group, (NEVER, set()))[1] <= waiting.records.keys():
            released += self._release(group)
        return released

    def _release(self, group: str) -> list[list[Record]]:
        waiting = self._waiting.pop(group)
        for key in waiting.records:
            self.released(group, key, waiting.tick)
        return waiting.rounds()

    def released(self, group: str, key: str, tick: int) -> None:
        """A series had a record of that tick; NEVER where it had none."""
        if tick == NEVER:
            return
        self._ticks.setdefault(group, {})[key] = tick
        newest, keys = self._newest.get(group, (NEVER, set()))
        if tick > newest:
            self._newest[group] = (tick, {key})
        elif tick == newest:
            keys.add(key)

    def of(self, group: str, key: str) -> tuple[Record, ...]:
        """What of a series waits."""
        waiting = self._waiting.get(group)
        if waiting is None:
            return ()
        return tuple(part[key] for part in (waiting.records, waiting.again) if key in part)

    def restore(self, group: str, records: Iterable[Record], tick: int) -> None:
        """Puts back what waited of a series. tick: that of its records."""
        for record in records:
            self._waiting.setdefault(group, _Waiting(tick)).add(record)

    def drop(self, group: str, key: str) -> None:
        """Lets go of a series, and of what waits of it. The others of its group are waited for as if it had never been
        there: so it is after a restart, too."""
        self._drop_tick(group, key)
        waiting = self._waiting.get(group)
        if waiting is None:
            return
        waiting.records.pop(key, None)
        waiting.again.pop(key, None)
        if not waiting.records:
            del self._waiting[group]

    def _drop_tick(self, group: str, key: str) -> None:
        ticks = self._ticks.get(group, {})
        if ticks.pop(key, None) is None:
            return
        if not ticks:
            del self._ticks[group], self._newest[group]
            return
        _, keys = self._newest[group]
        keys.discard(key)
        if not keys:
            # It alone was so far ahead, perhaps at a time that can't be.
            newest = max(ticks.values())
            self._newest[group] = (newest, {key for key, tick in ticks.items() if tick == newest})

    def __len__(self) -> int:
        """Records that wait."""
        return sum(len(waiting.records) + len(waiting.again) for waiting in self._waiting.values())
