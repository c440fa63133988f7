"""What a table that comes from outside may be at most. Pure."""

from dataclasses import dataclass

from driftline.errors import InvalidInput

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class TableBounds:
    """Held against what a file says of itself before it is unpacked, and against what is found in it."""

    rows: int = 5_000_000
    row_groups: int = 10_000
    columns: int = 1_000
    unpacked: int = 128 * MEBIBYTE
    """Bytes of all rows in memory."""
    keys: int = 10_000
    """Series."""
    key_length: int = 200
    """Characters of a key, as at ingest's door."""
    line: int = 64 * 1024
    """Bytes of a line of CSV."""


NONE = TableBounds(*[2**63 - 1] * 7)
"""For files that a person reads for himself."""


@dataclass(frozen=True)
class BoundedSource:
    """A file, by its name in errors, and what it may be at most."""

    source: str
    bounds: TableBounds

    def at_most(self, what: str, number: int, bound: int) -> None:
        """Raises InvalidInput."""
        if not 0 <= number <= bound:
            raise InvalidInput(f"{self.source}: found {number} {what}, expected at most {bound}")

    def fits(self, rows: int, width: int) -> None:
        """width: bytes of a row in memory. Raises InvalidInput."""
        self.at_most("unpacked bytes", rows * width, self.bounds.unpacked)
