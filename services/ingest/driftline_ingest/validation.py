"""From rows to records, or to refusals that name row, column, what was found and what was expected. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from driftline import clock
from driftline.messages import Record
from driftline.streams.definition import EVERY_SERIES, SINGLE_KEY, StreamDefinition

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

    def __init__(self, stream: StreamDefinition) -> None:
        self._stream = stream
        self._time = stream.time.column
        self._ahead = stream.time.tolerance
        self._zone = None if stream.time.zone == "required" else ZoneInfo(stream.time.zone)
        named = [self._time, *([stream.key] if stream.key else []), *stream.group_columns, *stream.columns]
        self._names = frozenset(named)
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
        for name in self._stream.columns:
            value = row[name]
            if value is None or (type(value) is float and -LARGEST <= value <= LARGEST):
                values[name] = value
            else:
                values[name] = _number(name, value, text=text)
        key = _name(self._stream.key, row[self._stream.key]) if self._stream.key else SINGLE_KEY
        column = self._group_column
        group = self._common_group if column is None else _name(column, row[column])
        t = self._milliseconds(row[self._time])
        if t > 1000 * (received + self._ahead):
            raise self._from_the_future(t, received)
        return Record(self._stream.name, key, t, values, received, group)

    def _from_the_future(self, t: int, received: float) -> _Wrong:
        """It would make all that comes after it count as old. Both times are shown, since either clock may be wrong."""
        latest, now = clock.shown(received + self._ahead), clock.shown(received)
        return _Wrong(
            self._time,
            clock.shown(t / 1000),
            f"at most {latest}: the clock here shows {now}, and time.ahead is {self._ahead} s",
        )

    def _explain_columns(self, row: dict[str, object]) -> None:
        for name in (self._time, self._stream.key, *self._stream.group_columns, *self._stream.columns):
            if name is not None and name not in row:
                raise _Wrong(name, "nothing", "this column; a missing value is null")
        unknown = next(name for name in row if name not in self._names)
        raise _Wrong(str(unknown), "a column of this name", f"only {', '.join(sorted(self._names))}")

    def _milliseconds(self, value: object) -> int:
        expected = "a time such as 2014-01-01T01:00:00+01:00"
        try:
            time = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            time = None
        if time is None:
            raise _Wrong(self._time, value, expected)
        if time.tzinfo is None:
            if self._zone is None:
                raise _Wrong(self._time, value, f"{expected}, with a zone")
            time = time.replace(tzinfo=self._zone)
        try:
            inside = EPOCH <= time < LATEST
        except OverflowError:
            inside = False
        if not inside:
            raise _Wrong(self._time, value, "a time between the years 1970 and 2100")
        return round((time - EPOCH).total_seconds() * 1000)


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
