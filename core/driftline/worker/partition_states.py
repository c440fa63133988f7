"""The states of the series of all partitions that are owned: restored, saved round by round, and given back. Pure.

What had changed when a round began is saved part by part while the work goes on, so the states of a checkpoint are as
of different offsets, which each of them says.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Generic

import msgspec

from driftline.bus.port import Assignment
from driftline.worker.partition_series import PartitionSeries
from driftline.worker.parts import UnreadableState
from driftline.worker.saved_states import OffsetState
from driftline.worker.silence import BEGINNING
from driftline.worker.stream_step import Age, Series, StreamStep, Timed

TIMES = "@/times"
"""The name under which the streams' times lie among the states; no stream is named so."""
AT_ONCE = 100
"""Series that are let go at once at most, a tenth of a millisecond each. Of silent ones the rest follow after the next
batch."""


class PartitionStates(Generic[Timed]):
    """As `driftline.worker.step.Step` has it. left_behind: see `driftline.worker.keyed.KeyedStep`."""

    def __init__(
        self, stream_steps: Mapping[str, StreamStep[Timed]], left_behind: Callable[[str, str, str], None]
    ) -> None:
        self._stream_steps = stream_steps
        self._left_behind = left_behind
        self.partitions: dict[int, PartitionSeries] = defaultdict(PartitionSeries)

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        owned = self.partitions[partition]
        for name, saved in states.items():
            if name == TIMES and saved is not None:
                owned.times = msgspec.msgpack.decode(saved, type=dict[str, int])
                continue
            stream, key = name.split("/", 1)
            try:
                offset, data = OffsetState(0, None) if saved is None else OffsetState.decode(saved)
            except UnreadableState as error:
                self._leave_behind(partition, (stream, key), str(error))
                continue
            owned.saved[stream, key] = offset
            owned.gone.pop((stream, key), None)
            if data is not None:
                owned.waiting.setdefault(stream, {})[key] = data
                continue
            if saved is not None:
                owned.gone[stream, key] = offset
            if owned.owns((stream, key)):
                # Deleted after it was saved: neither a state in use nor one that still waits may stay.
                self.drop(partition, (stream, key))
            else:
                owned.waiting.get(stream, {}).pop(key, None)
        self.restore_known()

    def _leave_behind(self, partition: int, series: Series, reason: str) -> None:
        """The series begins again with what is read, and the state stays until a newer one, or its end, replaces it."""
        owned, (stream, key) = self.partitions[partition], series
        self._left_behind(stream, key, reason)
        owned.saved[series] = 0
        owned.gone.pop(series, None)
        owned.waiting.get(stream, {}).pop(key, None)
        if owned.owns(series):
            self.drop(partition, series)
        if stream in self._stream_steps:
            owned.heard[stream].restore(key, None)

    def begin(self, assignment: Assignment) -> bool:
        owned = self.partitions[assignment.partition]
        owned.next = assignment.position
        # An offset beyond the position is of a topic that was there before, so that it says nothing about this one.
        foreign = [s for s, offset in owned.saved.items() if assignment.rewound or offset > assignment.silent_until]
        for series in foreign:
            owned.saved[series] = 0
            self.mark(owned, series)
        if owned.times is None:
            owned.times = {stream: heard.newest for stream, heard in owned.heard.items()}
            owned.opening = {TIMES: msgspec.msgpack.encode(owned.times)}
        elif not foreign:
            for stream, heard in owned.heard.items():
                heard.set_back(owned.times.get(stream, BEGINNING))
        return bool(foreign)

    def begin_again(self, partition: int, position: int) -> None:
        """The topic counts from `position` again: all that was saved goes by offsets that are no more."""
        owned = self.partitions[partition]
        owned.next = position
        owned.saved.clear()
        known = [(stream, key) for stream, heard in owned.heard.items() for key in heard]
        unknown = [(stream, key) for stream, states in owned.waiting.items() for key in states]
        for series in [*known, *unknown, *owned.gone]:
            self.mark(owned, series)

    def restore_known(self) -> None:
        """Takes up the states of streams that are known by now."""
        for partition in self.partitions.values():
            for stream in [stream for stream in partition.waiting if stream in self._stream_steps]:
                for key, data in partition.waiting.pop(stream).items():
                    age = self._take_up(partition, (stream, key), data)
                    partition.heard[stream].restore(key, age.heard)

    def _take_up(self, partition: PartitionSeries, series: Series, data: bytes) -> Age:
        """Restores a series. Where another partition has it, too, since topics grew or it belongs to a group by now,
        the newer state stays: the older is of the partition that the series has left."""
        stream, key = series
        stream_step = self._stream_steps[stream]
        last = stream_step.last_t(key)
        if last is None or not any(other.owns(series) for other in self.partitions.values() if other is not partition):
            return stream_step.restore(key, data)
        # Forgotten before each is restored, so that nothing of one is left in the other.
        other_state = stream_step.save(key)
        stream_step.forget(key)
        age = stream_step.restore(key, data)
        if stream_step.last_t(key) is None or age.t < last:
            stream_step.forget(key)
            stream_step.restore(key, other_state)
        return age

    def begin_round(self, partition: int, restart: int) -> Mapping[str, bytes]:
        owned = self.partitions[partition]
        owned.saved.clear()
        owned.restart, owned.round, owned.changed = restart, owned.unsaved(), {}
        # No restart reads what was before their end any more.
        for series in [series for series, end in owned.gone.items() if end <= restart]:
            owned.round.setdefault(series, "")
        times = {stream: heard.newest for stream, heard in owned.heard.items()}
        if times == owned.times:
            return {}
        owned.times = times
        return {TIMES: msgspec.msgpack.encode(times)}

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        owned = self.partitions[partition]
        given = owned.next_cut(limit)
        # No longer changed before it is written: if the write fails, the session restarts from the checkpoint.
        for series in given:
            owned.changed.pop(series, None)
            owned.round.pop(series, None)
        states = {f"{stream}/{key}": self._saved(owned, (stream, key)) for stream, key in given}
        if not states:
            return {}
        opening, owned.opening = owned.opening, {}
        return opening | states

    def left(self, partition: int) -> int:
        return len(self.partitions[partition].round)

    def unsaved(self, partition: int) -> int:
        owned = self.partitions[partition]
        return len(owned.round.keys() | owned.changed.keys()) if owned.round else len(owned.changed)

    def _saved(self, partition: PartitionSeries, series: Series) -> bytes | None:
        stream, key = series
        if key in partition.waiting.get(stream, {}):
            return OffsetState(partition.next, partition.waiting[stream][key]).encode()
        if partition.owns(series) and self.knows(series):
            partition.gone.pop(series, None)
            heard = partition.heard[stream].at(key)
            return OffsetState(partition.next, self._stream_steps[stream].save(key, heard)).encode()
        # A series that was forgotten. Its end is saved first, and deleted once no restart reads what was before it.
        if series in partition.gone and partition.gone[series] <= partition.restart:
            del partition.gone[series]
            return None
        partition.gone[series] = partition.next
        return OffsetState(partition.next, None).encode()

    def forget(self, partition: int, series: Series) -> None:
        owned = self.partitions[partition]
        owned.gone.pop(series, None)
        self.mark(owned, series)
        self.drop(partition, series)

    def drop(self, partition: int, series: Series) -> None:
        """Lets go of a series here; its slot is given back unless another partition has it, too, since topics grew."""
        stream, key = series
        self.partitions[partition].heard[stream].forget(key)
        if not any(other.owns(series) for other in self.partitions.values()):
            self._stream_steps[stream].forget(key)

    def mark(self, partition: PartitionSeries, series: Series) -> None:
        stream, key = series
        partition.mark(series, self._stream_steps[stream].group_of(key) if self.knows(series) else "")

    def knows(self, series: Series) -> bool:
        """Whether it has a state. One whose saved state did not fit its definition is heard of all the same."""
        stream, key = series
        return stream in self._stream_steps and self._stream_steps[stream].last_t(key) is not None

    def release(self, partition: int) -> bool:
        owned = self.partitions.get(partition)
        if owned is None:
            return False
        known = ((stream, key) for stream, heard in owned.heard.items() for key in heard)
        for series in list(islice(known, AT_ONCE)):
            self.drop(partition, series)
        if any(owned.heard.values()):
            return True
        del self.partitions[partition]
        return False
