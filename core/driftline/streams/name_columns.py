"""The columns of keys and groups in a file. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftline.arrays import Ints
from driftline.errors import InvalidInput
from driftline.streams.bounds import BoundedSource
from driftline.streams.definition import EVERY_SERIES, SINGLE_KEY, StreamDefinition
from driftline.streams.file_content import cut
from driftline.streams.reading.columns import Refused, check_names, compute
from driftline.streams.rows import Names


@dataclass(frozen=True)
class NameColumn:
    """Keys or groups as they lie in a file: each once, and for each row its number among them. width: characters of the
    longest."""

    names: Names
    numbers: Ints
    width: int

    def rows(self) -> Names:
        """[n]: NumPy keeps every one as wide as the longest."""
        names: Names = self.names[self.numbers]
        return names

    def of(self, which: npt.NDArray[np.bool_]) -> "NameColumn":
        return replace(self, numbers=self.numbers[which])


def constant(name: str, rows: int) -> NameColumn:
    """The same for every row."""
    return NameColumn(np.array([name]), np.zeros(rows, np.int64), len(name))


def numbered(names: Names) -> NameColumn:
    """names: of each row its own."""
    each_once, numbers = np.unique(names, return_inverse=True)
    return NameColumn(each_once, numbers, 0)


@dataclass(frozen=True)
class NameReader:
    """Reads them by a definition. Its methods raise InvalidInput, and what Arrow raises.

    width: bytes of a row's numbers in memory. mapped, is_csv: as `TableFile` has them. paths: by column its name in the
    file.
    """

    stream: StreamDefinition
    limits: BoundedSource
    paths: Mapping[str, str]
    width: int
    mapped: bool
    is_csv: bool

    def keys_and_groups(self, table: pa.Table, refused: Refused) -> tuple[NameColumn, Names]:
        """The key of each row, and [n] its group; without a column all rows have the same."""
        stream, n = self.stream, table.num_rows
        every = np.broadcast_to(np.array("" if stream.group is None else EVERY_SERIES), n)
        if not stream.key or not n:
            return constant(SINGLE_KEY, n), every
        keys = self._names(table, stream.key, "key", refused)
        if not stream.group_columns:
            self.limits.fits(n, self.width + 4 * keys.width)
            return keys, every
        groups = self._names(table, stream.group_columns[0], "group", refused)
        self.limits.fits(n, self.width + 4 * (keys.width + groups.width))
        self.check_groups(keys.of(~refused.rows), groups.of(~refused.rows))
        return keys, groups.rows()

    def _names(self, table: pa.Table, name: str, what: str, refused: Refused) -> NameColumn:
        """At least one row's. what: key or group."""
        if name not in self.paths:
            return constant(str(self.stream.sources[name].constant), table.num_rows)
        column = table[self.paths[name]]
        if self.mapped and column.null_count:
            raise self._empty(column.null_count, name, what)
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
            if self.is_csv:
                column = compute().utf8_trim_whitespace(column)
            column = column.dictionary_encode()
        encoded = column.unify_dictionaries().combine_chunks()
        texts = encoded.dictionary.cast(pa.string())
        self.limits.at_most("series" if what == "key" else "groups", len(texts), self.limits.bounds.keys)
        longest = int(compute().max(compute().utf8_length(texts)).as_py() or 1)
        self.limits.at_most(f"characters in a {what}", longest, self.limits.bounds.key_length)
        # An empty one is the text after all others.
        names = np.asarray([*texts.to_pylist(), ""], dtype=np.str_)
        numbers = compute().fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False)
        empty = int(np.isin(numbers, np.flatnonzero(names == "")).sum())
        if self.mapped and empty:
            raise self._empty(empty, name, what)
        if not self.mapped:
            check_names(self.paths[name], names, numbers, refused)
        return NameColumn(names, numbers, longest)

    def _empty(self, count: int, name: str, what: str) -> InvalidInput:
        where = f"{self.limits.source}: column {name!r}"
        return InvalidInput(f"{where}: found {count} empty {what}s, expected a {what} in every row")

    def check_groups(self, keys: NameColumn, groups: NameColumn) -> None:
        """Raises InvalidInput where a key has two groups."""
        pairs = np.unique(keys.numbers * np.int64(len(groups.names)) + groups.numbers)
        of_key, of_group = np.divmod(pairs, len(groups.names))
        # Pairs are in the order of keys, so two of one key are neighbours.
        twice = np.flatnonzero(np.diff(of_key) == 0)
        if len(twice):
            key, (one, other) = keys.names[of_key[twice[0]]], groups.names[of_group[twice[0] : twice[0] + 2]]
            where = f"{self.limits.source}: column {self.stream.group_columns[0]!r}"
            problem = f"found groups {cut(repr(str(one)))} and {cut(repr(str(other)))} of key {cut(repr(str(key)))}"
            raise InvalidInput(f"{where}: {problem}, expected one group for a key")
