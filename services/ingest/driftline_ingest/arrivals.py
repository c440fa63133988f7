"""When a row without a time was measured: when it arrived, unless that can't be. Pure.

A message that a broker has kept, and a burst of more rows of a series than its sensor can measure in that time, are
older than they look; they are set aside.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from driftline.messages import Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.reading.refusals import Refusal
from driftline.streams.reading.rows import Records
from driftline.worker.stream_step import Series

Reason = Literal["retained", "burst", "clock"]
REASONS: Final[tuple[Reason, ...]] = ("retained", "burst", "clock")
"""Why a row without a time is set aside, as a metric's label."""
LARGEST: Final = 100_000
"""Series whose last arrival is remembered."""
BURST_S: Final = 1.0
"""Of a slow sensor, two rows that are closer than this are no two measurements of the times when they arrived; of a
fast one, two that are closer than half its period."""
MOST_AT_ONCE: Final = 3
"""A device may send several messages of one measurement; of more rows of a key in one batch none is of now."""
TIME_OF_ITS_OWN: Final = "a time of its own"
SENTENCES: Final[Mapping[Reason, str]] = {
    "retained": f"{TIME_OF_ITS_OWN}: the broker had kept this message, and may have had it for long",
    "burst": f"{TIME_OF_ITS_OWN}: others of its key came at the same time, so it was not measured when it arrived",
    "clock": f"{TIME_OF_ITS_OWN}: this machine's clock is not synchronised; `time.arrival: trust` believes it",
}


@dataclass(frozen=True)
class Dated:
    """taken: all records have a time. aside: why some rows were set aside, and how many for each reason."""

    taken: Records
    aside: Sequence[Refusal] = ()
    counts: Mapping[Reason, int] = field(default_factory=dict)


class Arrivals:
    """Remembers when rows without a time came."""

    def __init__(self, streams: Mapping[str, StreamDefinition], is_synchronised: Callable[[], bool]) -> None:
        self._streams = streams
        self._is_synchronised = is_synchronised
        self._last: OrderedDict[Series, float] = OrderedDict()

    def date(self, stream: str, taken: Records, now: float, retained: Collection[int] = ()) -> Dated:
        """Gives records without a time that of their arrival. retained: the numbers of rows that a broker had kept."""
        definition = self._streams[stream]
        doubted = definition.time.arrival == "believed" and not self._is_synchronised()
        fresh = [index for index in taken.untimed if taken.numbers[index] not in retained]
        sensors = {index: _sensor(taken.records[index], definition) for index in taken.untimed}
        latest = {sensors[index]: index for index in fresh}
        rows_of = Counter(sensors[index] for index in fresh)
        reasons: dict[int, Reason] = {}
        for index in taken.untimed:
            key = sensors[index]
            if taken.numbers[index] in retained:
                reasons[index] = "retained"
            elif doubted:
                reasons[index] = "clock"
            elif (
                latest[key] != index
                or rows_of[key] > MOST_AT_ONCE
                or self._is_burst((stream, key), now, definition.time.period)
            ):
                reasons[index] = "burst"
        for key in latest:
            self._hear((stream, key), now)
        return _without(taken, reasons, round(now * 1000), definition.time.column)

    def _is_burst(self, series: Series, now: float, period: int) -> bool:
        return now - self._last.get(series, -BURST_S) < min(BURST_S, period / 2)

    def _hear(self, series: Series, now: float) -> None:
        self._last[series] = now
        self._last.move_to_end(series)
        if len(self._last) > LARGEST:
            self._last.popitem(last=False)


def _sensor(record: Record, definition: StreamDefinition) -> str:
    """The series of a record, where a grid joins its columns with which of them it brings: several sensors of a device
    may speak at the same time."""
    if definition.grid is None:
        return record.key
    return "\0".join([record.key, *(name for name, value in record.values.items() if value is not None)])


def _without(taken: Records, reasons: Mapping[int, Reason], t: int, column: str) -> Dated:
    """Without the records that are set aside, by index and reason. t: the time of arrival."""
    untimed = set(taken.untimed)
    kept = [index for index in range(len(taken.records)) if index not in reasons]
    records = [_at(taken.records[index], t) if index in untimed else taken.records[index] for index in kept]
    aside = [Refusal(taken.numbers[n], column, "nothing", SENTENCES[reason]) for n, reason in reasons.items()]
    counts: dict[Reason, int] = {}
    for reason in reasons.values():
        counts[reason] = counts.get(reason, 0) + 1
    numbers = [taken.numbers[n] for n in kept]
    dated = msgspec.structs.replace(taken, records=records, numbers=numbers, untimed=[])
    return Dated(dated, aside, counts)


def _at(record: Record, t: int) -> Record:
    return msgspec.structs.replace(record, t=t)
