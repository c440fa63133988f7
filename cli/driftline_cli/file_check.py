"""What would become of a file's rows: taken, refused or missing, before anything is sent. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from rich.table import Table
from rich.text import Text

from driftline.arrays import Ints
from driftline.clock import shown
from driftline.streams.definition import StreamDefinition
from driftline.streams.file_content import FileContent
from driftline.streams.period import contradiction
from driftline.streams.rows import Rows
from driftline_cli import directions

LINES_SHOWN = 5
"""Lines of one kind of refusal that are shown."""
REASONS_SHOWN = 20


class RefusedRows(msgspec.Struct, frozen=True):
    """Rows that are refused for one reason. lines: the first of them; value: that of the first."""

    column: str
    value: str
    expected: str
    count: int
    lines: list[int]


class ColumnCheck(msgspec.Struct, frozen=True):
    """The values of a column that are taken, and how many of them are missing. least, most: of those that are not."""

    column: str
    values: int
    missing: int
    least: float | None
    most: float | None


class FileCheck(msgspec.Struct, frozen=True):
    """What a file would give to a stream.

    unit: what `lines` count. repeated: rows with the time of another of their key. uneven: share of the steps between
    records of a key that are no whole number of periods. records: what the grid makes of the rows that are taken, where
    the stream has one.
    """

    file: str
    stream: str
    taken: int
    refused: int
    series: int
    first: str | None
    last: str | None
    columns: list[ColumnCheck]
    reasons: list[RefusedRows]
    unit: str
    repeated: int
    uneven: float
    ignored: list[str]
    absent: list[str]
    notes: list[str]
    records: int | None = None

    @property
    def fine(self) -> bool:
        """Whether every row can be used."""
        return not self.refused and bool(self.taken)


def check(content: FileContent, stream: StreamDefinition) -> FileCheck:
    """What its rows would be to ingest."""
    rows = content.rows
    on_grid = content.records(stream) if len(rows) and stream.grid is not None else None
    problem = contradiction(on_grid.steps(), stream) if on_grid is not None and not stream.grid_fills else None
    first, last = (shown(int(t) / 1000) for t in (rows.t.min(), rows.t.max())) if len(rows) else (None, None)
    steps, repeated = _steps(rows)
    period = stream.time.period * 1000
    whole = np.maximum(1, np.round(steps / period)) * period
    uneven = float(np.mean(np.abs(steps - whole) > period / 4)) if len(steps) else 0.0
    return FileCheck(
        content.source,
        stream.name,
        len(rows),
        content.refused,
        len(set(rows.keys.tolist())),
        first,
        last,
        [_column(name, rows.values[:, index]) for index, name in enumerate(stream.columns)],
        _reasons(content),
        content.unit,
        repeated,
        round(uneven, 4),
        list(content.ignored),
        list(content.absent),
        [*content.notes, *([f"grid: {problem}"] if problem else []), *_direction(content, stream)],
        None if on_grid is None else len(on_grid),
    )


def _steps(rows: Rows) -> tuple[Ints, int]:
    """Milliseconds between the records of each key, and how many rows have the time of another."""
    order = np.lexsort((rows.t, rows.keys))
    keys, steps = rows.keys[order], np.diff(rows.t[order])
    steps = steps[keys[1:] == keys[:-1]]
    return steps[steps > 0], int(np.sum(steps == 0))


def _column(name: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> ColumnCheck:
    present = values[~np.isnan(values)]
    ends = (float(present.min()), float(present.max())) if len(present) else (None, None)
    return ColumnCheck(name, len(present), len(values) - len(present), *ends)


def _reasons(content: FileContent) -> list[RefusedRows]:
    """The most frequent first, of the refusals that were kept."""
    alike: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for refusal in content.refusals:
        alike[refusal.column, refusal.expected].append((refusal.row, refusal.value))
    reasons = [
        RefusedRows(column, rows[0][1], expected, len(rows), [line for line, _ in rows[:LINES_SHOWN]])
        for (column, expected), rows in alike.items()
    ]
    return sorted(reasons, key=lambda reason: -reason.count)[:REASONS_SHOWN]


def render(result: FileCheck) -> Iterator[Table | Text]:
    """For people."""
    yield Text(f"{result.file}: {result.taken:,} rows would be taken, {result.refused:,} refused")
    if result.taken:
        series = "1 series" if result.series == 1 else f"{result.series:,} series"
        yield Text(f"{series}, from {result.first} to {result.last}")
        yield _table(result.columns)
    for reason in result.reasons:
        yield Text(sentence(reason, result.unit))
    yield from (Text(f"- {note}") for note in notes(result))


def _table(columns: Sequence[ColumnCheck]) -> Table:
    table = Table()
    table.add_column("column")
    for name in ("values", "missing", "least", "most"):
        table.add_column(name, justify="right")
    for column in columns:
        ends = ("-" if value is None else f"{value:.6g}" for value in (column.least, column.most))
        table.add_row(Text(column.column), f"{column.values:,}", f"{column.missing:,}", *ends)
    return table


def sentence(reason: RefusedRows, unit: str) -> str:
    """Why rows are refused."""
    more = ", …" if reason.count > len(reason.lines) else ""
    lines = f"{unit}{'s' if reason.count > 1 else ''} {', '.join(map(str, reason.lines))}{more}"
    where = f" column {reason.column!r}:" if reason.column else ""
    return f"refused: {lines} ({reason.count:,}):{where} found {reason.value}, expected {reason.expected}"


def notes(result: FileCheck) -> Iterator[str]:
    """What else there is to say, in sentences."""
    yield from result.notes
    if result.absent:
        yield f"columns that the file lacks, so that they are missing in every row: {', '.join(result.absent)}"
    if result.ignored:
        yield f"columns that the definition does not name are ignored: {', '.join(result.ignored)}"
    if result.repeated:
        yield f"{result.repeated:,} rows have a time that another row of their key has: the first counts"
    if result.records is not None:
        yield f"the grid makes {result.records:,} records of them"
    elif result.uneven > 0.1:  # noqa: PLR2004 - a tenth
        yield f"{result.uneven:.0%} of the steps between records are no whole number of periods (`time.period`)"


def _direction(content: FileContent, stream: StreamDefinition) -> list[str]:
    said = directions.warning(content.rows, stream.target)
    return [] if said is None else [said]


def warnings(content: FileContent, stream: StreamDefinition) -> list[str]:
    """What a command that uses the rest of the file says of it."""
    sentences = [*content.notes, *_direction(content, stream)]
    if content.refused:
        first = content.sentence(content.refusals[0])
        sentences.append(f"{content.refused:,} rows can't be used, the first of them: {first}")
    if content.absent:
        sentences.append(f"columns that the file lacks are missing in every row: {', '.join(content.absent)}")
    return [f"{content.source}: {sentence}" for sentence in sentences]
