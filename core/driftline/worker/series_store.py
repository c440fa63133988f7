"""The state of many series of one stream: a slot each in every table, and the time of its newest message. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from driftline.worker import slots as tables
from driftline.worker.slots import Slots

T = TypeVar("T", bound=tuple[Any, ...])


class SeriesStore(Generic[T]):
    """blank: makes the tables, a named tuple of dataclasses of arrays, for so many new series.

    `tables` is the same object for good; its arrays grow in place.
    """

    def __init__(self, blank: Callable[[int], T]) -> None:
        self._blank = blank
        self._slots = Slots()
        self._last_t: dict[str, int] = {}
        self._capacity = 0
        self._new = blank(1)
        """What a slot is like that nobody has."""
        self.tables = blank(0)

    def __contains__(self, key: str) -> bool:
        return key in self._slots

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __getitem__(self, key: str) -> int:
        """The slot of a series that is known."""
        return self._slots[key]

    @property
    def capacity(self) -> int:
        """Rows of every table."""
        return self._capacity

    def slot(self, key: str) -> int:
        """The slot of a series; a new one where it has none."""
        if key in self._slots:
            return self._slots[key]
        slot = self._slots.add(key)
        if more := self._slots.capacity - self._capacity:
            for table, new in zip(self.tables, self._blank(more), strict=True):
                tables.grow(table, new)
            self._capacity += more
        return slot

    def last_t(self, key: str) -> int | None:
        """Time of its newest message."""
        return self._last_t.get(key)

    def time_of(self, key: str) -> int:
        """The same of a series that has had a message."""
        return self._last_t[key]

    def advance(self, times: Iterable[tuple[str, int]]) -> None:
        """Keys and times of messages that were worked off, in their order."""
        self._last_t.update(times)

    def timed(self) -> Iterator[tuple[str, int]]:
        """Every series with the time of its newest message."""
        return iter(self._last_t.items())

    def forget(self, key: str) -> None:
        """Its slot is as new, and free for another."""
        slot = self._slots[key]
        for table, blank in zip(self.tables, self._new, strict=True):
            tables.reset(table, slot, blank)
        self._slots.remove(key)
        self._last_t.pop(key, None)
