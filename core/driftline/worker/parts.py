"""What is saved of a series: named parts, and what the places of their axes mean. Pure.

Where all axes mean what they meant when a state was saved, it is loaded as it is. Otherwise every array is copied place
by place, where names agree; the rest is as in a new series. So a new horizon, column or member keeps all else.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import Any, NamedTuple, Self, TypeVar, get_type_hints

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.arrays import Derived, Ints, Mask, Over, PerHorizon, Symmetric, UpperHalf
from driftline.streams.horizon_rings import HorizonRings

T = TypeVar("T")
NOWHERE = np.empty((0, 0), dtype=np.int64)
QUICK = 1
"""The level of compression: further ones take many times as long for two percent."""


class UnreadableState(ValueError):
    """A state that this release can't read: damaged, or with parts that it does not know."""


class Ring(msgspec.Struct, frozen=True):
    """An axis by tick: that of tick k is at place k modulo its length, see `driftline.streams.grid`.

    ahead: it holds the ticks from the newest record's on, otherwise those up to it.
    """

    length: int
    ahead: bool = False

    def __len__(self) -> int:
        return self.length


Axis = tuple[str | int, ...] | Ring
"""What its places mean: names, such as those of columns, or ticks."""
Axes = Mapping[str, Axis]
"""By name. One that is called `TABLE.NAME` goes before `NAME` in that table."""


def added(before: Axis, after: Axis) -> list[int]:
    """The places of an axis of names that it did not have before."""
    if isinstance(before, Ring) or isinstance(after, Ring):
        return []
    return [position for position, label in enumerate(after) if label not in before]


class SavedState(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of a series. All but the body keeps its meaning in all versions."""

    version: int
    definition: str
    """What of the stream's definition makes it useless where it is another."""
    t: int
    """Time of its newest message."""
    heard: int | None
    """See `driftline.worker.silence`."""
    body: bytes


class Body(msgspec.Struct, frozen=True, array_like=True):
    """header: an encoded `Header`. rows: of all parts, one after the other. more: what is in no array."""

    header: bytes
    rows: bytes
    more: msgspec.Raw

    def said(self, kind: type[T]) -> T:
        """What `more` is. Raises UnreadableState."""
        try:
            return msgspec.msgpack.decode(self.more, type=kind)
        except msgspec.DecodeError as error:
            raise UnreadableState(str(error)) from error


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What the rows are. parts: in their order, by table."""

    parts: dict[str, tuple[str, ...]]
    axes: dict[str, Axis]

    @classmethod
    def of(cls, names: Iterable[str], axes: Axes) -> Self:
        parts: dict[str, tuple[str, ...]] = {}
        for name in names:
            table, _, field = name.partition(".")
            parts[table] = (*parts.get(table, ()), field)
        return cls(parts, dict(axes))

    @property
    def names(self) -> list[str]:
        return [f"{table}.{field}" for table, known in self.parts.items() for field in known]


def decoded(data: bytes) -> SavedState | None:
    """None for a state of release 0.1.0, which began with another field. Raises UnreadableState."""
    try:
        return msgspec.msgpack.decode(data, type=SavedState)
    except msgspec.ValidationError:
        return None
    except msgspec.DecodeError as error:
        raise UnreadableState(str(error)) from error


def checked(saved: SavedState, version: int, definition: str) -> Body:
    """What `Parts.dump` gave. Raises UnreadableState: it is of another version or definition, or damaged."""
    if saved.version != version:
        raise UnreadableState(f"found a state of version {saved.version}, expected {version}")
    if saved.definition != definition:
        raise UnreadableState(f"found a state of {saved.definition}, expected {definition}")
    try:
        return msgspec.msgpack.decode(zlib.decompress(saved.body), type=Body)
    except (zlib.error, msgspec.DecodeError) as error:
        raise UnreadableState(str(error)) from error


@dataclass(frozen=True)
class Part:
    """An array of a table. over: the axes of what is saved of a slot."""

    table: str
    field: str
    over: tuple[str | int | Symmetric, ...]
    dtype: np.dtype[Any]
    waits: PerHorizon | None = None
    """Where it is kept by the rings of all horizons, and saved as one ring."""

    @property
    def name(self) -> str:
        return f"{self.table}.{self.field}"

    def of(self, tables: Any) -> npt.NDArray[Any]:
        """[slots, ...]."""
        array: npt.NDArray[Any] = getattr(getattr(tables, self.table), self.field)
        return array

    def axis(self, name: str, axes: Axes) -> Axis:
        return axes.get(f"{self.table}.{name}", axes.get(name, ()))

    def shape(self, axes: Axes) -> tuple[int, ...]:
        """Of what is saved of a slot."""
        return tuple(self._length(over, axes) for over in self.over)

    def _length(self, over: str | int | Symmetric, axes: Axes) -> int:
        if isinstance(over, int):
            return over
        if isinstance(over, str):
            return len(self.axis(over, axes))
        size = len(self.axis(over.axis, axes))
        return size * (size + 1) // 2

    @property
    def symmetric(self) -> Symmetric | None:
        """Its last axis, where that is one."""
        last = self.over[-1] if self.over else None
        return last if isinstance(last, Symmetric) else None

    def whole(self, row: npt.NDArray[Any], axes: Axes) -> npt.NDArray[Any]:
        """A saved row with both sides of a symmetric matrix."""
        if self.symmetric is None:
            return row
        return np.take(row, UpperHalf.of(len(self.axis(self.symmetric.axis, axes))).whole, axis=-1)

    def common(self, before: Axes, after: Axes, tick: int) -> list[tuple[Ints, Ints]]:
        """Per axis of `whole` the places that mean the same, before and after. tick: of the newest record."""
        pairs: list[tuple[Ints, Ints]] = []
        for over in self.over:
            if isinstance(over, int):
                pairs.append((np.arange(over), np.arange(over)))
            elif isinstance(over, str):
                pairs.append(_common(self.axis(over, before), self.axis(over, after), tick))
            else:
                pairs += 2 * [_common(self.axis(over.axis, before), self.axis(over.axis, after), tick)]
        return pairs


def _common(before: Axis, after: Axis, tick: int) -> tuple[Ints, Ints]:
    if isinstance(before, Ring) and isinstance(after, Ring):
        length = min(len(before), len(after))
        ticks = tick + np.arange(length) if after.ahead else tick - np.arange(length)
        return ticks % max(len(before), 1), ticks % max(len(after), 1)
    if isinstance(before, Ring) or isinstance(after, Ring):
        return _common((), (), tick)
    former = {label: position for position, label in enumerate(before)}
    kept = [(former[label], position) for position, label in enumerate(after) if label in former]
    pairs = np.array(kept, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


class _Stored(NamedTuple):
    """How an array is saved. half: where its last two axes are saved as one, otherwise None."""

    part: Part
    array: npt.NDArray[Any]
    shape: tuple[int, ...]
    size: int
    half: UpperHalf | None


class Parts:
    """All arrays of some tables, whose slots are saved with these axes.

    tables: a named tuple of dataclasses, whose arrays say by `Over` what they go over, and grow in place. clock: the
    part that is the tick of the newest record. unnamed: axes that states did not name at first, and that are taken to
    have been as they are now.
    """

    def __init__(self, tables: Any, axes: Axes, clock: str, unnamed: Iterable[str] = ()) -> None:
        self.axes = axes
        self._unnamed = {name: axes[name] for name in unnamed}
        self._clock = clock
        self._stored = {part.name: self._layout(part, tables) for part in _parts(tables)}
        self._rings = _rings((stored.part for stored in self._stored.values()), axes)
        self._header = msgspec.msgpack.encode(Header.of(self._stored, axes))
        self._size = sum(stored.size for stored in self._stored.values())
        names = list(self._stored)
        self._clock_begin = sum(self._stored[name].size for name in names[: names.index(clock)])

    def _layout(self, part: Part, tables: Any) -> _Stored:
        array, shape = part.of(tables), part.shape(self.axes)
        symmetric = part.symmetric
        half = symmetric and not symmetric.halved and UpperHalf.of(len(part.axis(symmetric.axis, self.axes)))
        return _Stored(part, array, shape, array.itemsize * prod(shape), half or None)

    def dump(self, slot: int, more: Any, awaited: Mask) -> bytes:
        """The body of a slot's state. more: what is in no array. awaited: [ring, horizons] of what waits, whether its
        truth may still come; the rest is not looked at again, and saved as NaN, which takes the least room."""
        places, _ = self._waiting(int(self._stored[self._clock].array[slot]))
        rows = b"".join(_row(stored, slot, places, awaited).tobytes() for stored in self._stored.values())
        body = Body(self._header, rows, msgspec.Raw(msgspec.msgpack.encode(more)))
        return zlib.compress(msgspec.msgpack.encode(body), QUICK)

    def load(self, body: Body, slot: int) -> bool:
        """Sets the slot to what `dump` gave, if the axes are the same. Raises UnreadableState."""
        if body.header != self._header:
            return False
        if len(body.rows) != self._size:
            raise UnreadableState(f"found rows of {len(body.rows)} bytes, expected {self._size}")
        start = 0
        newest = int(np.ndarray((), self._stored[self._clock].array.dtype, body.rows, self._clock_begin))
        places, held = self._waiting(newest)
        for part, array, shape, size, half in self._stored.values():
            # Of no size there is nothing to look at.
            if size:
                row = np.ndarray(shape, array.dtype, body.rows, start)
                if part.waits is not None:
                    array[slot, places[held]] = row[held]
                else:
                    array[slot] = row if half is None else np.take(row, half.whole, axis=-1)
            start += size
        return True

    def _waiting(self, newest: int) -> tuple[Ints, Mask]:
        """[ring, horizons] each: of one ring for all horizons the places in those of each, and whether they hold it."""
        return (NOWHERE, NOWHERE > 0) if self._rings is None else self._rings.by_tick(newest)

    def move(self, body: Body, blank: Any) -> Axes:
        """Copies what was saved with other axes, and returns those. blank: tables of one new slot, which are changed.
        Raises UnreadableState."""
        try:
            header = msgspec.msgpack.decode(body.header, type=Header)
        except msgspec.DecodeError as error:
            raise UnreadableState(str(error)) from error
        unknown = [name for name in header.names if name not in self._stored]
        if unknown:
            raise UnreadableState(f"found the part {unknown[0]!r}, which this release does not know")
        parts = {name: self._stored[name].part for name in header.names}
        axes = {**self._unnamed, **header.axes}
        rows = read(body.rows, {name: (part.dtype, part.shape(axes)) for name, part in parts.items()})
        self.copy({name: part.whole(rows[name], axes) for name, part in parts.items()}, axes, blank)
        return axes

    def copy(self, rows: Mapping[str, npt.NDArray[Any]], before: Axes, blank: Any) -> None:
        """The same of rows by part, symmetric matrices with both sides. before: their axes."""
        tick = int(rows[self._clock])
        places, held = self._waiting(tick)
        for name, row in rows.items():
            if name not in self._stored:
                continue
            part = self._stored[name].part
            own = part.of(blank)[0, ...]
            halved = part.symmetric is not None and part.symmetric.halved
            target = own[places] if part.waits is not None else part.whole(own, self.axes) if halved else own
            kept = part.common(before, self.axes, tick)
            target[np.ix_(*(after for _, after in kept))] = row[np.ix_(*(former for former, _ in kept))]
            if part.waits is not None:
                own[places[held]] = target[held]
            elif halved:
                half = UpperHalf.of(target.shape[-1])
                own[...] = target[..., half.rows, half.columns]

    def __contains__(self, name: str) -> bool:
        return name in self._stored

    def __getitem__(self, name: str) -> Part:
        return self._stored[name].part


Shapes = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Of rows one after the other, by part."""


def read(data: bytes, shapes: Shapes) -> dict[str, npt.NDArray[Any]]:
    """The rows, by part. Raises UnreadableState when the size is another."""
    sizes = [dtype.itemsize * prod(shape) for dtype, shape in shapes.values()]
    if len(data) != sum(sizes):
        raise UnreadableState(f"found rows of {len(data)} bytes, expected {sum(sizes)}")
    ends = np.cumsum(sizes).tolist()
    parts = zip(shapes.items(), ends, sizes, strict=True)
    return {
        name: np.frombuffer(data[end - size : end], dtype).reshape(shape) for (name, (dtype, shape)), end, size in parts
    }


def _row(stored: _Stored, slot: int, places: Ints, awaited: Mask) -> npt.NDArray[Any]:
    row: npt.NDArray[Any] = stored.array[slot]
    if stored.part.waits is not None:
        return np.where(awaited[..., None], row[places], row.dtype.type(np.nan))
    return row if stored.half is None else row[..., stored.half.rows, stored.half.columns]


def _parts(tables: Any) -> Iterator[Part]:
    for name in tables._fields:
        table = getattr(tables, name)
        hints = get_type_hints(type(table), include_extras=True)
        for field in fields(table):
            said = hints[field.name].__metadata__[0]
            if isinstance(said, Over):
                yield _part(name, field.name, said.axes, getattr(table, field.name).dtype)
            else:
                assert said is Derived  # noqa: S101


def _part(table: str, field: str, axes: tuple[str | int | Symmetric | PerHorizon, ...], dtype: np.dtype[Any]) -> Part:
    first = axes[0] if axes else None
    waits = first if isinstance(first, PerHorizon) else None
    rest = tuple(axis for axis in axes if not isinstance(axis, PerHorizon))
    return Part(table, field, rest if waits is None else (*waits, *rest), dtype, waits)


def _rings(parts: Iterable[Part], axes: Axes) -> HorizonRings | None:
    """Where what waits is kept, the same for all parts; None where none does."""
    waits = next((part.waits for part in parts if part.waits is not None), None)
    if waits is None:
        return None
    steps = np.array(axes[waits.horizons], dtype=np.int64)
    return HorizonRings.of(steps, len(axes[waits.ring]) - int(steps[-1]))
