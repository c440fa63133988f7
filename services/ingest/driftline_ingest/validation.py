"""From rows to records, or to refusals that name row, column, what was found and what was expected. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from driftline import clock
from driftline.messages import Record
from driftline.streams.definition import EVERY_SERIES, ISSUED, SINGLE_KEY, StreamDefinition

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
NAME_LENGTH = 200
"""Characters of a key or a group."""
LARGEST = 1e30
"""No sensor measures more, and it is a number in half the precision, too."""
SHOWN = 80
"""Characters of what was found that a refusal repeats."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a row is no record. `row` counts from 1; `value` is as it was given."""

    row: int
    column: str
    value: str
    expected: str


class _Wrong(Exception):
    def __init__(self, column: str, value: object, expected: str) -> None:
        super().__init__(column)
        self.column, self.value, self.expected = column, value, expected


class Validator:
    """Makes records of one stream. text: numbers are written as text, as in CSV."""

    def __init__(self, stream: StreamDefinition, *, futures: bool = False) -> None:
        """futures: whether the rows are futures, which say when they were issued."""
        self._stream = stream
        self._columns = tuple(stream.futures) if futures else stream.columns
        self._issued = [ISSUED] if futures else []
        self._time = stream.time.column
        self._ahead = stream.time.tolerance
        self._zone = None if stream.time.zone == "required" else ZoneInfo(stream.time.zone)
        key = [stream.key] if stream.key else []
        self._named = [*self._issued, self._time, *key, *stream.group_columns, *self._columns]
        self._names = frozenset(self._named)
        self._group_column = next(iter(stream.group_columns), None)
        self._common_group = "" if stream.group is None else EVERY_SERIES

    def records(self, rows: Sequence[object], received: float, *, text: bool) -> tuple[list[Record], list[Refusal]]:
        """The rows that are records, and why the others are none. received: seconds since the epoch."""
        records: list[Record] = []
        refusals: list[Refusal] = []
        for number, row in enumerate(rows, 1):
            try:
                records.append(self._record(row, received, text=text))
            except _Wrong as wrong:
                refusals.append(Refusal(number, wrong.column, shown(wrong.value), wrong.expected))
        return records, refusals

    def _record(self, row: object, received: float, *, text: bool) -> Record:
        if not isinstance(row, dict):
            raise _Wrong("", row, "an object of column names and values")
        if len(row) != len(self._names) or not self._names.issuperset(row):
            self._explain_columns(row)
        values: dict[str, float | None] = {}
        for name in self._columns:
            value = row[name]
            if value is None or (type(value) is float and -LARGEST <= value <= LARGEST):
                values[name] = value
            else:
                values[name] = _number(name, value, text=text)
        key = _name(self._stream.key, row[self._stream.key]) if self._stream.key else SINGLE_KEY
        column = self._group_column
        group = self._common_group if column is None else _name(column, row[column])
        t = self._milliseconds(self._time, row[self._time])
        if self._issued:
            issued = self._milliseconds(ISSUED, row[ISSUED])
            self._check(ISSUED, issued, received)
            if issued > t:
                raise _issued_late(issued, t)
            return Record(self._stream.name, key, t, values, received, group, issued)
        self._check(self._time, t, received)
        return Record(self._stream.name, key, t, values, received, group)

    def _check(self, column: str, t: int, received: float) -> None:
        if t > 1000 * (received + self._ahead):
            raise self._from_the_future(column, t, received)

    def _from_the_future(self, column: str, t: int, received: float) -> _Wrong:
        """It would make all that comes after it count as old. Both times are shown, since either clock may be wrong."""
        latest, now = clock.shown(received + self._ahead), clock.shown(received)
        return _Wrong(
            column,
            clock.shown(t / 1000),
            f"at most {latest}: the clock here shows {now}, and time.ahead is {self._ahead} s",
        )

    def _explain_columns(self, row: dict[str, object]) -> None:
        for name in self._named:
            if name not in row:
                raise _Wrong(name, "nothing", "this column; a missing value is null")
        unknown = next(name for name in row if name not in self._names)
        raise _Wrong(str(unknown), "a column of this name", f"only {', '.join(sorted(self._names))}")

    def _milliseconds(self, column: str, value: object) -> int:
        expected = "a time such as 2014-01-01T01:00:00+01:00"
        try:
            time = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            time = None
        if time is None:
            raise _Wrong(column, value, expected)
        if time.tzinfo is None:
            if self._zone is None:
                raise _Wrong(column, value, f"{expected}, with a zone")
            time = time.replace(tzinfo=self._zone)
        try:
            inside = EPOCH <= time < LATEST
        except OverflowError:
            inside = False
        if not inside:
            raise _Wrong(column, value, "a time between the years 1970 and 2100")
        return round((time - EPOCH).total_seconds() * 1000)


def _issued_late(issued: int, t: int) -> _Wrong:
    """It was not known ahead: a model that learns from it would find later that it lacks it."""
    return _Wrong(ISSUED, clock.shown(issued / 1000), f"at most {clock.shown(t / 1000)}, the time that it is for")


def _number(name: str, value: object, *, text: bool) -> float:
    expected = f"a number between -{LARGEST:g} and {LARGEST:g}, or null for a missing value"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or (isinstance(value, str) and not text):
        raise _Wrong(name, value, expected)
    # Python takes 1_0, digits of other scripts and line breaks around a number, too; nobody else does.
    if isinstance(value, str) and ("_" in value or not value.isascii() or not value.isprintable()):
        raise _Wrong(name, value, expected)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _Wrong(name, value, expected) from None
    if not -LARGEST <= number <= LARGEST:
        raise _Wrong(name, value, expected)
    return number


def _name(name: str, value: object) -> str:
    """A key or a group."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LENGTH or not value.isprintable():
        raise _Wrong(name, value, f"a name of 1 to {NAME_LENGTH} printable characters")
    return value


def shown(value: object) -> str:
    """As a refusal repeats it."""
    text = value if isinstance(value, str) and value in {"nothing", "a column of this name"} else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
