"""The same as `rows` for whole columns of a file: values, names and times that Arrow holds. Pure.

Whatever Arrow reads as the row reader does is left to it, since it is faster by far; every other value goes the row
reader's way. A row that can't be used is noted in `Refused`, and the others are taken.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftline.arrays import Floats, Ints
from driftline.streams.reading.refusals import UnusableError, shown
from driftline.streams.reading.times import TimeRule, is_second_pass
from driftline.streams.reading.values import LARGEST, NUMBER, Decimal, NumberRule, name_of

Mask = npt.NDArray[np.bool_]
GAP_US = 60_000_000
"""Before and after a gap of local time lie instants that are next to each other; two passes of an hour are further
apart."""


@dataclass
class Refused:
    """Which rows of a file can't be used, and why: of each row the first reason. rows: [n] so far."""

    rows: Mask
    why: dict[int, UnusableError] = field(default_factory=dict)

    @classmethod
    def none(cls, count: int) -> "Refused":
        return cls(np.zeros(count, dtype=bool))

    def add(self, which: Ints, why: Callable[[int], UnusableError]) -> None:
        """which: numbers of rows from 0."""
        for row in which[~self.rows[which]].tolist():
            self.why[row] = why(row)
        self.rows[which] = True

    def first(self, count: int) -> list[tuple[int, UnusableError]]:
        """So many, in the order of rows."""
        return sorted(self.why.items())[:count]


def is_text(column: pa.ChunkedArray) -> bool:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def numbers_of_texts(column: pa.ChunkedArray, rule: NumberRule, decimal: Decimal, refused: Refused) -> Floats:
    """[n]: NaN missing."""
    if decimal == "." and not rule.source.values:
        try:
            return in_range(column.cast(pa.float64()).to_numpy(), rule, refused)
        except pa.ArrowException:
            # Not only plain numbers: each different text is looked at.
            pass
    texts, codes = _encoded(column)
    values = np.full(len(texts) + 1, np.nan)
    unusable: dict[int, UnusableError] = {}
    for code, text in enumerate(texts):
        try:
            number = rule.number(text, text=True, decimal=decimal)
        except UnusableError as error:
            unusable[code] = error
        else:
            values[code] = np.nan if number is None else number
    _refuse(codes, unusable, refused)
    numbers: Floats = values[codes]
    return numbers


def in_range(numbers: Floats, rule: NumberRule, refused: Refused) -> Floats:
    """Scaled, without those that mean a missing value; what no sensor measures is refused."""
    if rule.numbers:
        numbers = np.where(np.isin(numbers, list(rule.numbers)), np.nan, numbers)
    if rule.source.converts:
        numbers = numbers * rule.source.scale + rule.source.offset
    with np.errstate(invalid="ignore"):
        wild = np.flatnonzero(np.abs(numbers) > LARGEST)
    refused.add(wild, lambda row: UnusableError(rule.name, float(numbers[row]), NUMBER))
    return numbers


def check_names(column: str, names: npt.NDArray[np.str_], numbers: Ints, refused: Refused) -> None:
    """names: each key or group once; numbers: [n] of each row its own among them."""
    unusable: dict[int, UnusableError] = {}
    for code, name in enumerate(names.tolist()):
        try:
            name_of(column, name)
        except UnusableError as error:
            unusable[code] = error
    _refuse(numbers, unusable, refused)


def times_of_texts(column: pa.ChunkedArray, name: str, rule: TimeRule, keys: Ints, refused: Refused) -> Ints:
    """[n] milliseconds since 1970. keys: [n] numbers of the rows' series, which have their own order."""
    if rule.may_be_iso:
        zoned = _cast(column, pa.timestamp("us", tz="UTC"))
        if zoned is not None:
            return _inside(_milliseconds(zoned.cast(pa.int64()).to_numpy()), column, name, rule, refused)
        naive = _cast(column, pa.timestamp("us"))
        if naive is not None and rule.zone is not None:
            return _inside(local_times(naive, name, rule, keys, refused), column, name, rule, refused)
    return times_of_values(column.to_pylist(), name, rule, keys, refused)


def times_of_values(values: list[Any], name: str, rule: TimeRule, keys: Ints, refused: Refused) -> Ints:
    """The same for whatever a row may hold."""
    t = np.zeros(len(values), dtype=np.int64)
    newest: dict[int, int] = {}
    usable = ~refused.rows
    for row in np.flatnonzero(usable).tolist():
        key = int(keys[row])
        before = newest.get(key)
        try:
            t[row] = time = rule.milliseconds(name, values[row], before)
        except UnusableError as error:
            refused.why[row] = error
            refused.rows[row] = True
        else:
            newest[key] = time if before is None else max(time, before)
    return t


def joined_texts(day: pa.ChunkedArray, time: pa.ChunkedArray) -> pa.ChunkedArray:
    """Of the columns of day and time of day; see `driftline.streams.reading.times.joined`."""
    parts = (pa.array([text or None for text in column.cast(pa.string()).to_pylist()]) for column in (day, time))
    return pa.chunked_array([compute().binary_join_element_wise(*parts, " ")])


def local_times(naive: pa.ChunkedArray, name: str, rule: TimeRule, keys: Ints, refused: Refused) -> Ints:
    """[n] milliseconds since 1970 of times by the hands of a clock in the rule's zone; no time is missing."""
    zone = str(rule.zone)
    assume = compute().assume_timezone
    first, second = (
        assume(naive, zone, ambiguous=side, nonexistent=side).cast(pa.int64()).to_numpy()
        for side in ("earliest", "latest")
    )
    t = _milliseconds(first)
    apart = second - first
    gap = np.flatnonzero((apart > 0) & (apart < GAP_US))
    refused.add(gap, lambda row: _no_such_time(name, naive[row].as_py(), rule))
    twice = np.flatnonzero(apart >= GAP_US)
    if len(twice):
        _pass_by_order(t, _milliseconds(second), twice, keys, rule, refused)
    return t


def _pass_by_order(t: Ints, other: Ints, twice: Ints, keys: Ints, rule: TimeRule, refused: Refused) -> None:
    """Puts the second pass of an hour that comes twice where it is meant."""
    ambiguous = np.zeros(len(t), dtype=bool)
    ambiguous[twice] = True
    newest: dict[int, int] = {}
    for row in np.flatnonzero(np.isin(keys, keys[twice]) & ~refused.rows).tolist():
        key = int(keys[row])
        before = newest.get(key)
        first, second = int(t[row]), int(other[row])
        if ambiguous[row] and is_second_pass(first, second, before, rule.step(second - first), 0.0):
            t[row] = second
        newest[key] = int(t[row]) if before is None else max(int(t[row]), before)


def _milliseconds(microseconds: Ints) -> Ints:
    """Rounded as the row reader rounds."""
    milliseconds: Ints = np.round(microseconds / 1e6 * 1000).astype(np.int64)
    return milliseconds


def _inside(t: Ints, column: pa.ChunkedArray, name: str, rule: TimeRule, refused: Refused) -> Ints:
    first, last = rule.between
    beyond = np.flatnonzero((t < first) | (t >= last))
    refused.add(beyond, lambda row: rule.beyond(name, str(column[row].as_py())))
    return t


def _no_such_time(name: str, naive: Any, rule: TimeRule) -> UnusableError:
    try:
        rule.milliseconds(name, naive.isoformat())
    except UnusableError as error:
        return error
    return UnusableError(name, shown(naive), f"a time that exists in {rule.zone}")


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """None where a text is none of these, or there is none."""
    if column.null_count:
        return None
    try:
        return column.cast(kind)
    except pa.ArrowException:
        return None


def _encoded(column: pa.ChunkedArray) -> tuple[list[str], Ints]:
    """Each different text, and for each row its number among them; one more than those for an empty row."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    texts: list[str] = encoded.dictionary.to_pylist()
    codes: Ints = compute().fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False).astype(np.int64)
    return texts, codes


def _refuse(codes: Ints, unusable: dict[int, UnusableError], refused: Refused) -> None:
    if unusable:
        refused.add(np.flatnonzero(np.isin(codes, list(unusable))), lambda row: unusable[int(codes[row])])


def compute() -> Any:
    """Arrow's functions of columns, imported as late as they are needed."""
    import pyarrow.compute as pc  # noqa: PLC0415 - 9 MB that ingest, which only writes, does without

    return pc
