"""State of many series in arrays: one row ("slot") each, grown in place."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import fields
from functools import cache
from itertools import zip_longest
from typing import Any, TypeVar

import numpy.typing as npt

T = TypeVar("T")
FIRST_SLOTS = 8
LARGEST_STEP = 64
"""Slots that are made at once at most: what a step costs, and what it makes in vain, has a bound."""


class Slots:
    """Which slot belongs to which series, and which are free again."""

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self.capacity = 0

    def __contains__(self, series: str) -> bool:
        return series in self._slots

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __getitem__(self, series: str) -> int:
        return self._slots[series]

    def add(self, series: str) -> int:
        """Gives `series` a slot; when `capacity` has grown, the tables must grow to it before the slot is used."""
        if not self._free:
            grown = self.capacity + min(max(FIRST_SLOTS, self.capacity), LARGEST_STEP)
            self._free = list(range(grown - 1, self.capacity - 1, -1))
            self.capacity = grown
        self._slots[series] = slot = self._free.pop()
        return slot

    def remove(self, series: str) -> None:
        self._free.append(self._slots.pop(series))


@cache
def _names(kind: Hashable) -> tuple[str, ...]:
    """Of the arrays of a dataclass; kept, since looking them up costs more than copying a row."""
    return tuple(field.name for field in fields(kind))  # type: ignore[arg-type]


def _arrays(table: Any) -> Iterator[npt.NDArray[Any]]:
    return (getattr(table, name) for name in _names(type(table)))  # type: ignore[arg-type]


def grow(table: T, new: T) -> None:
    """Puts the slots of `new`, a table of the same dataclass, behind those of `table`, in place.

    Arrays of some size are moved by the system without a copy. There must be no view of them, which would look at
    memory that is gone; a look at some slots by an array of them is a copy.
    """
    for array, more in zip(_arrays(table), _arrays(new), strict=True):
        slots = len(array)
        array.resize((slots + len(more), *array.shape[1:]), refcheck=False)
        array[slots:] = more


def reset(table: Any, slot: int, blank: Any) -> None:
    """Makes `slot` as new; `blank` is a table of one slot."""
    for array, new in zip(_arrays(table), _arrays(blank), strict=True):
        array[slot] = new[0]


def rounds(keys: Sequence[str]) -> Iterator[list[int]]:
    """The positions of `keys` in rounds that hold each key at most once: all first ones, all second ones, and so on."""
    positions: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        positions.setdefault(key, []).append(position)
    for column in zip_longest(*positions.values()):
        yield [position for position in column if position is not None]
