"""Rows of many series in arrays, with what was known ahead of them. Pure NumPy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints
from driftline.messages import Record
from driftline.streams.definition import StreamDefinition

ENCODED_AT_ONCE = 1_000_000
"""Keys that are sorted at once."""

Names = npt.NDArray[np.str_]
"""[n] keys or groups."""


def _nobody() -> Names:
    return np.empty(0, np.str_)


@dataclass(frozen=True)
class FutureRows:
    """Futures of any keys in the table's order. values: [n, futures] as `StreamDefinition.futures`, NaN missing."""

    keys: Names
    issued: Ints
    """[n] milliseconds since the epoch, UTC: when the values were issued ..."""
    t: Ints
    """... and the time that they are for."""
    values: Floats

    @classmethod
    def empty(cls, futures: int = 0) -> "FutureRows":
        """futures: columns."""
        none = np.empty(0, np.int64)
        return cls(_nobody(), none, none, np.empty((0, futures)))

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: npt.NDArray[np.bool_] | Ints) -> "FutureRows":
        return FutureRows(self.keys[which], self.issued[which], self.t[which], self.values[which])

    def by_key(self) -> "dict[str, FutureRows]":
        """Per key its rows in the table's order."""
        if not len(self):
            return {}
        names, codes = encoded(self.keys)
        together = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        parts = np.split(together, ends[:-1])
        return {str(name): self.take(places) for name, places in zip(names, parts, strict=True)}


@dataclass(frozen=True)
class Rows:
    """Records of any keys in the table's order. values: [n, columns] as `StreamDefinition.columns`, NaN missing."""

    keys: Names
    t: Ints
    """[n] milliseconds since the epoch, UTC."""
    values: Floats
    groups: Names = field(default_factory=_nobody)
    """[n] the group of each row's series; "" where the stream has no groups, which is how they are if none are given.
    A key may have different ones until `in_newest_groups`."""
    futures: FutureRows = field(default_factory=FutureRows.empty)
    """What was known ahead, of these keys and others: part of the rows share all of it."""

    def __post_init__(self) -> None:
        if not len(self.groups):
            # All rows share one "", so that streams without groups pay no memory for them.
            object.__setattr__(self, "groups", np.broadcast_to(np.array(""), len(self.t)))

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: npt.NDArray[np.bool_] | Ints | slice) -> "Rows":
        return Rows(self.keys[which], self.t[which], self.values[which], self.groups[which], self.futures)

    def with_futures(self, parts: "list[FutureRows]") -> "Rows":
        """Together with these futures, which follow those that there are."""
        return Rows(self.keys, self.t, self.values, self.groups, _joined_futures([self.futures, *parts]))

    def by_key(self) -> dict[str, "Rows"]:
        """Per key its rows in order of time, a repeated time once: the first row that has the target, or the first."""
        return {key: self.take(places) for key, places in self.series()}

    def series(self) -> Iterator[tuple[str, Ints]]:
        """As `by_key`, one key after the other, by the places of its rows: a long history lies in memory once."""
        names, codes = encoded(self.keys)
        together = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        del codes
        for name, places in zip(names, np.split(together, ends[:-1]), strict=False):
            yield str(name), places[_each_time_once(self.take(places))]

    def steps(self) -> Ints:
        """Milliseconds from each record to the next of its series."""
        return np.concatenate([np.diff(self.t[places]) for _, places in self.series()] or [np.empty(0, np.int64)])

    def with_short_keys(self) -> "Rows":
        """With numbers, in the keys' order, as keys: NumPy keeps every key as wide as the longest."""
        names, codes = encoded(self.keys)
        width = len(str(len(names)))
        numbers = np.array([f"{n:0{width}}" for n in range(len(names))], dtype=np.str_)
        return Rows(numbers[codes], self.t, self.values, self.groups, self._short_futures(names, numbers))

    def _short_futures(self, names: Names, numbers: Names) -> FutureRows:
        """The futures of these keys, under their numbers. names: in order."""
        if not len(self.futures):
            return self.futures
        futures = self.futures.take(np.isin(self.futures.keys, names))
        return replace(futures, keys=numbers[np.searchsorted(names, futures.keys)])

    def in_newest_groups(self) -> "Rows":
        """Without the rows that a series has from a group before its newest one: its neighbours were others then."""
        if not self.groups.any():
            return self
        names, which = encoded(self.keys)
        newest = np.empty(len(names), dtype=np.int64)
        in_time = np.argsort(self.t, kind="stable")
        # Of several writes to one place the last stays, which is the newest row of the key.
        newest[which[in_time]] = in_time
        same: npt.NDArray[np.bool_] = self.groups == self.groups[newest[which]]
        return self if bool(same.all()) else self.take(same)


def encoded(keys: npt.NDArray[np.str_]) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int32]]:
    """The names in order, and which of them each key is. Part by part: to sort all takes several times their memory."""
    parts = [keys[start : start + ENCODED_AT_ONCE] for start in range(0, len(keys), ENCODED_AT_ONCE)]
    names = np.unique(np.concatenate([np.unique(part) for part in parts])) if parts else keys
    codes = [np.searchsorted(names, part).astype(np.int32) for part in parts]
    return names, np.concatenate(codes) if codes else np.empty(0, np.int32)


def _each_time_once(rows: Rows) -> Ints:
    order = np.lexsort((np.isnan(rows.values[:, 0]), rows.t))
    places: Ints = order[np.unique(rows.t[order], return_index=True)[1]]
    return places


def concatenate(parts: list[Rows]) -> Rows:
    """All parts, one after the other; at least one."""
    return Rows(
        np.concatenate([p.keys for p in parts]),
        np.concatenate([p.t for p in parts]),
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.groups for p in parts]),
        _joined_futures([p.futures for p in parts]),
    )


def _joined_futures(parts: list[FutureRows]) -> FutureRows:
    # Parts of one table share their futures.
    parts = [part for n, part in enumerate(parts) if len(part) and not any(part is other for other in parts[:n])]
    if not parts:
        return FutureRows.empty()
    return FutureRows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(FutureRows)))


def rows_of(records: Sequence[Record], stream: StreamDefinition) -> Rows:
    """Records of a stream, in their order."""
    values = [[record.values[name] for name in stream.columns] for record in records]
    return Rows(
        np.array([record.key for record in records], dtype=np.str_),
        np.array([record.t for record in records], dtype=np.int64),
        np.array(values, dtype=np.float64).reshape(len(records), len(stream.columns)),
        np.array([record.group for record in records], dtype=np.str_),
    )
