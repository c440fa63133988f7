"""From rows to records, or to refusals that name row, column, what was found and what was expected. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from driftline import clock
from driftline.messages import Record
from driftline.streams.data_sections import ColumnSource, Time
from driftline.streams.definition import EVERY_SERIES, ISSUED, SINGLE_KEY, StreamDefinition
from driftline.streams.reading.csv_text import Wanted
from driftline.streams.reading.nested import spread
from driftline.streams.reading.paths import ABSENT, FieldPath
from driftline.streams.reading.refusals import Refusal, UnusableError
from driftline.streams.reading.times import EARLIEST, TimeRule, joined
from driftline.streams.reading.values import LARGEST, Decimal, name_of, number_rules

UNTIMED = -1
"""The time of a record whose row has none, until its arrival is taken for it."""
NAMES_SHOWN = 10
"""Names of fields that a refusal repeats."""
NAMES_KEPT = 100
"""Different names of unknown fields that are told apart."""
KEYS_KEPT = 10_000
"""Series whose newest time is remembered, for the hour that comes twice."""
NO_SOURCE = ColumnSource()
FLOATS = {float}


class Records(msgspec.Struct, frozen=True):
    """What rows hold.

    numbers: [records] of each record its row, from 1. untimed: which records have no time of their own. ignored: by
    name how many rows have a field that nothing names. newest: by key the newest time, to be given to `remember`.
    absent: by measured column how many records lack it; instead: the names that the first of them has.
    """

    records: list[Record]
    refusals: list[Refusal]
    numbers: Sequence[int]
    untimed: list[int]
    ignored: dict[str, int]
    newest: dict[str, int]
    absent: dict[str, int] = {}
    instead: list[str] = []

    def without(self, surplus: Collection[int]) -> "Records":
        """Without some records, by index."""
        out = frozenset(surplus)
        kept = [index for index in range(len(self.records)) if index not in out]
        records, numbers = [self.records[n] for n in kept], [self.numbers[n] for n in kept]
        return msgspec.structs.replace(self, records=records, numbers=numbers)


class RowReader:
    """Makes records of one stream."""

    def __init__(
        self,
        stream: StreamDefinition,
        *,
        futures: bool = False,
        arrival: bool = False,
        dated: bool = False,
        earliest: datetime = EARLIEST,
    ) -> None:
        """futures: whether the rows are futures, which say when they were issued. arrival: whether a row may come
        without a time. dated: whether rows of the stream's columns say when they were issued."""
        self._stream = stream
        self._columns = tuple(stream.futures) if futures else stream.columns
        self._issued = [ISSUED] if futures or dated else []
        self._time = stream.time.column
        self._ahead = stream.time.tolerance
        self._times = TimeRule(stream.time, earliest, readings=stream.grid is not None)
        self._numbers = number_rules(self._columns, stream.sources)
        self._are_plain = all(rule.is_plain for rule in self._numbers.values())
        key = [stream.key] if stream.key else []
        self._named = [*self._issued, self._time, *key, *stream.group_columns, *self._columns]
        self._names = frozenset(self._named)
        self._paths = {name: FieldPath.of(self._source(name).path or name) for name in self._named}
        self._fields_of = {name: path.text for name, path in self._paths.items()}
        self._time_field = self._fields_of[self._time]
        self._constants = {name: self._source(name).constant for name in [*key, *stream.group_columns]}
        self._date = None if stream.time.date is None else FieldPath.of(stream.time.date)
        paths = [*self._paths.values(), *([self._date] if self._date else [])]
        self._fields = frozenset(part for path in paths for part in (path.field, path.text))
        self._objects = frozenset(path.field for path in paths if path.steps)
        self._is_mapped = self._date is not None or any(self._source(name) != NO_SOURCE for name in self._named)
        self._group_column = next(iter(stream.group_columns), None)
        self._common_group = "" if stream.group is None else EVERY_SERIES
        self._arrival = arrival and not futures and stream.time.arrival != "refuse"
        self._by_order = self._times.by_order
        self._newest: dict[str, int] = {}
        self.wanted = Wanted(self._paths[self._time].text, frozenset(self._paths[name].text for name in self._columns))
        """What to look for in a header."""

    def _source(self, name: str) -> ColumnSource:
        return self._stream.sources.get(name, NO_SOURCE)

    @property
    def guesses(self) -> Collection[str]:
        """What the definition does not say and had to be guessed, as sentences."""
        return self._times.guesses.values()

    def field_of(self, column: str) -> str:
        """The name of the field that a column comes from, or the way to it."""
        return self._fields_of[column]

    @property
    def fields(self) -> Collection[str]:
        """The names of fields that are read."""
        return self._fields

    @property
    def objects(self) -> Collection[str]:
        """The names of those of them that are looked into."""
        return self._objects

    def measures(self, row: Mapping[str, object]) -> bool:
        """Whether a row has any of the stream's values."""
        return any(self._paths[name].value(row) is not ABSENT for name in self._columns)

    def read(self, rows: Sequence[object], received: float, *, text: bool, decimal: Decimal = ".") -> Records:
        """The rows that are records, and why the others are none. received: seconds since the epoch, 0 for what nobody
        waits for: then no time is ahead of it. text: numbers are written as text."""
        if self._stream.rows is not None:
            rows = [part for row in rows for part in spread(row, self._stream.rows)]
        records: list[Record] = []
        refusals: list[Refusal] = []
        taken = Records(records, refusals, range(1, len(rows) + 1), [], {}, {}, {}, [])
        for number, row in enumerate(rows, 1):
            try:
                records.append(self._record(row, received, taken, text=text, decimal=decimal))
            except UnusableError as error:
                refusals.append(error.of_row(number))
        if not refusals:
            return taken
        refused = {refusal.row for refusal in refusals}
        numbers = [number for number in taken.numbers if number not in refused]
        return msgspec.structs.replace(taken, numbers=numbers)

    def remember(self, taken: Records) -> None:
        """The next rows come after these. Call it when they are acknowledged, so that what is sent again is read as it
        was the first time."""
        if not taken.newest:
            return
        for key, t in taken.newest.items():
            self._newest.pop(key, None)
            self._newest[key] = t
        while len(self._newest) > KEYS_KEPT:
            del self._newest[next(iter(self._newest))]

    def _record(self, row: object, received: float, taken: Records, *, text: bool, decimal: Decimal) -> Record:
        if not isinstance(row, dict):
            raise UnusableError("", row, "an object of column names and values")
        if self._is_mapped or len(row) != len(self._names) or not self._names.issuperset(row):
            row = self._mapped(row, taken)
        values: dict[str, Any] = {name: row[name] for name in self._columns}
        plain = self._are_plain
        if not (plain and _are_floats(values.values())):
            for name, value in values.items():
                if value is not None and not (plain and type(value) is float and -LARGEST <= value <= LARGEST):
                    values[name] = self._numbers[name].number(value, text=text, decimal=decimal)
        named = self._stream.key
        key = name_of(self._fields_of[named], row[named], text=text) if named else SINGLE_KEY
        column = self._group_column
        group = self._common_group if column is None else name_of(self._fields_of[column], row[column], text=text)
        time = row[self._time]
        if time is ABSENT:
            taken.untimed.append(len(taken.records))
            return Record(self._stream.name, key, UNTIMED, values, received, group)
        if self._by_order:
            t = self._t(self._time, time, key, received, taken)
        else:
            t = self._times.milliseconds(self._time_field, time)
        if self._issued:
            issued = self._issue(row[ISSUED], t, key, received, taken)
            return Record(self._stream.name, key, t, values, received, group, issued)
        if received and t > 1000 * (received + self._ahead):
            raise from_the_future(self._time_field, t, received, self._stream.time)
        return Record(self._stream.name, key, t, values, received, group)

    def _issue(self, value: object, t: int, key: str, received: float, taken: Records) -> int:
        """When a future for the time t was issued."""
        issued = self._t(ISSUED, value, key, received, taken)
        if received and issued > 1000 * (received + self._ahead):
            raise from_the_future(ISSUED, issued, received, self._stream.time)
        if issued > t:
            raise _issued_late(issued, t)
        return issued

    def _t(self, column: str, value: object, key: str, received: float, taken: Records) -> int:
        before = taken.newest.get(key, self._newest.get(key))
        t = self._times.milliseconds(self._fields_of[column], value, before, received)
        if column == self._time and (before is None or t > before):
            taken.newest[key] = t
        return t

    def _mapped(self, row: Mapping[str, object], taken: Records) -> dict[str, object]:
        """The row by the definition's names. A measured column that it lacks is missing."""
        for name in row:
            if name not in self._fields:
                self._ignore(name, taken)
        mapped = {name: path.value(row) for name, path in self._paths.items()}
        if self._date is not None:
            mapped[self._time] = self._joined_time(row, mapped[self._time])
        mapped |= {name: constant for name, constant in self._constants.items() if constant is not None}
        optional = {self._time} if self._arrival else set()
        lacking = next((name for name in self._named if mapped[name] is ABSENT and name not in self._numbers), None)
        if all(mapped[name] is ABSENT for name in self._columns):
            raise self._nothing_of(row)
        if lacking is not None and lacking not in optional:
            raise UnusableError(self._paths[lacking].text, "nothing", self._expected(lacking, row))
        for name in self._columns:
            if mapped[name] is ABSENT:
                mapped[name] = None
                taken.absent[name] = taken.absent.get(name, 0) + 1
                if not taken.instead:
                    taken.instead.append(listed(row))
        return mapped

    def _joined_time(self, row: Mapping[str, object], time: object) -> object:
        """Of the fields of day and time of day. Raises UnusableError where only one of them is there."""
        assert self._date is not None, "see _mapped"  # noqa: S101
        day = self._date.value(row)
        if day is ABSENT and time is ABSENT:
            return ABSENT
        lacking = self._date if day is ABSENT else self._paths[self._time] if time is ABSENT else None
        if lacking is not None:
            raise UnusableError(lacking.text, "nothing", self._expected(self._time, row))
        return joined(day, time)

    def _ignore(self, name: object, taken: Records) -> None:
        if self._stream.unknown == "refuse":
            known = sorted({path.field for path in [*self._paths.values(), *([self._date] if self._date else [])]})
            raise UnusableError(str(name), "a column of this name", f"only {', '.join(known)}")
        ignored = taken.ignored
        if name in ignored or len(ignored) < NAMES_KEPT:
            ignored[str(name)] = ignored.get(str(name), 0) + 1

    def _nothing_of(self, row: Mapping[str, object]) -> UnusableError:
        """Nothing was measured: it says what else was sent."""
        sought = [self._paths[name].text for name in self._columns]
        if len(sought) == 1:
            expected = f"this column; a missing value is null; the row has {listed(row)}"
            return UnusableError(sought[0], "nothing", expected)
        return UnusableError(sought[0], "nothing", f"one of {', '.join(sought)} at least; the row has {listed(row)}")

    def _expected(self, name: str, row: Mapping[str, object]) -> str:
        what = "the time" if name == self._time else "this column"
        return f"{what}; the row has {listed(row)}"


def _are_floats(values: Collection[Any]) -> bool:
    """Whether all are numbers with decimals that are what they are, as most are. One that is not a number makes none of
    the sum, and one that is too large a sum that is."""
    return set(map(type, values)) == FLOATS and sum(map(abs, values)) <= LARGEST


def from_the_future(column: str, t: int, received: float, time: Time) -> UnusableError:
    """It would make all that comes after it count as old. Both times are shown, since either clock may be wrong."""
    latest, now = clock.shown(received + time.tolerance), clock.shown(received)
    expected = f"at most {latest}: the clock here shows {now}, and time.ahead is {time.tolerance} s"
    return UnusableError(column, clock.shown(t / 1000), expected)


def listed(row: Mapping[str, object]) -> str:
    names = [str(name) for name in list(row)[:NAMES_SHOWN]]
    more = f" and {len(row) - NAMES_SHOWN} more" if len(row) > NAMES_SHOWN else ""
    return f"{', '.join(names) or 'no fields'}{more}"


def _issued_late(issued: int, t: int) -> UnusableError:
    """It was not known ahead: a model that learns from it would find later that it lacks it."""
    return UnusableError(
        ISSUED, clock.shown(issued / 1000), f"at most {clock.shown(t / 1000)}, the time that it is for"
    )
