"""What a file of rows holds, and what of it can't be used. Pure."""

from dataclasses import dataclass

from driftline.arrays import Ints
from driftline.errors import InvalidInput
from driftline.streams.definition import StreamDefinition
from driftline.streams.gridded.rows import gridded
from driftline.streams.reading.refusals import Refusal
from driftline.streams.rows import Rows

SHOWN = 300
"""Characters that an error repeats of what was found."""


@dataclass(frozen=True)
class FileContent:
    """What a file holds.

    source: its name in errors. refusals: the first of the rows that can't be used, by their lines, or by their rows
    where `unit` is that; refused: how many they are. ignored: columns that the definition does not name; absent: those
    of the definition that the file lacks. notes: what was found of its format, as sentences.
    """

    source: str
    rows: Rows
    issued: Ints
    """[n] of a file of futures, when each row was issued; else empty."""
    refusals: tuple[Refusal, ...] = ()
    refused: int = 0
    unit: str = "row"
    ignored: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    on_grid: bool = False
    """Whether the rows are records already: an archive or a command has written them."""

    def records(self, stream: StreamDefinition) -> Rows:
        """The rows on the stream's grid, where it has one. Raises InvalidInput where every row was refused."""
        rows = self.rows_or_refusal()
        return rows if stream.grid is None or self.on_grid else gridded(rows, stream)

    def rows_or_refusal(self) -> Rows:
        """Raises InvalidInput where every row was refused."""
        if self.refused and not len(self.rows):
            others = f"; none of its {self.refused} rows can be used" if self.refused > 1 else ""
            raise InvalidInput(f"{self.source}: {self.sentence(self.refusals[0])}{others}")
        return self.rows

    def sentence(self, refusal: Refusal) -> str:
        """Why a row can't be used."""
        column = f" column {refusal.column!r}:" if refusal.column else ""
        return f"{self.unit} {refusal.row}:{column} found {refusal.value}, expected {refusal.expected}"


def cut(text: str) -> str:
    """As much of it as an error shows."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
