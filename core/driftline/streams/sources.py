"""Sources: what is sent and archived once, and forecast as several streams. Pure.

A source is a definition, too: its columns are those of all its streams, its `targets` what any of them forecasts. A
stream that shares its source with nobody is its own source.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from driftline.messages import Record
from driftline.streams.data_sections import ColumnSource, Grid
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import Section

ALIKE: Final = ("time", "key", "group", "rows", "unknown", "csv", "keys", "forget", "window")
"""What the streams of a source agree on, by its key in a definition."""
DOORS: Final = ("mqtt", "kafka")
"""The same of what one of them at least has."""
Kind = Literal["level", "angle"]
LEVEL: Final[Kind] = "level"
AS_IT_IS: Final = ColumnSource()
"""How a column is read that no definition maps."""


def disagreement(one: StreamDefinition, other: StreamDefinition) -> str | None:
    """What two streams of a source say differently about its records, or None: the key, what `other` says, and what
    `one` does."""
    for key, said, expected in _said_of_both(one, other):
        if said != expected:
            return f"{key}: found {_shown(said)}, expected {_shown(expected)}"
    if one.columns != other.columns and any(s.mqtt is not None and s.mqtt.is_of_one_column for s in (one, other)):
        return "mqtt: found payload number, expected json or csv for several columns, or the same"
    return None


def _said_of_both(one: StreamDefinition, other: StreamDefinition) -> Iterator[tuple[str, object, object]]:
    """What the streams of a source agree on: its key, what `other` says of it, and what `one` does."""
    for key in ALIKE:
        yield key, getattr(other, key), getattr(one, key)
    for name in sorted({*_columns_of(one)} & {*_columns_of(other)}):
        yield f"columns.{name}", other.sources.get(name, AS_IT_IS), one.sources.get(name, AS_IT_IS)
    yield "grid", _common_grid(other), _common_grid(one)
    if one.grid is not None and other.grid is not None:
        yield from _gridded_of_both(one, one.grid, other, other.grid)
    for key in DOORS:
        if getattr(one, key) is not None and getattr(other, key) is not None:
            yield key, getattr(other, key), getattr(one, key)


def _common_grid(stream: StreamDefinition) -> Grid | None:
    """Without what each stream says of its own columns, and the same whether it says what it need not."""
    grid, period = stream.grid, stream.time.period
    if grid is None:
        return None
    hold = None if grid.held(period) == Grid().held(period) else grid.hold
    return grid.model_copy(update={"take": "mean", "every": None, "hold": hold})


def _gridded_of_both(
    one: StreamDefinition, grid: Grid, other: StreamDefinition, other_grid: Grid
) -> Iterator[tuple[str, object, object]]:
    """A value is made once of a period's readings, and the mean of angles is another than that of levels."""
    for name in sorted({*one.columns} & {*other.columns}):
        yield f"grid.take.{name}", other_grid.take_of(name), grid.take_of(name)
    for name in sorted(one.features.keys() & other.features.keys()):
        yield f"features.{name}", other.features[name], one.features[name]


def _shown(value: object) -> str:
    """Of a section what is not the default."""
    dump = getattr(value, "model_dump", None)
    return repr(value if dump is None else dump(exclude_defaults=True))


def _columns_of(stream: StreamDefinition) -> Iterator[str]:
    yield from (stream.time.column, *stream.columns, *stream.futures, *stream.group_columns)
    if stream.key is not None:
        yield stream.key


def refusal(stream: StreamDefinition, file: str, known: Iterable[tuple[str, StreamDefinition]]) -> str | None:
    """Why the stream in `file` can't be used together with those that are known, or None. known: each with its
    file."""
    for other_file, other in known:
        if stream.name == other.source != stream.source or other.name == stream.source != other.source:
            # What is sent under that name would be of one of them, and not of the other.
            named, sharing = (stream, other) if stream.name == other.source else (other, stream)
            expected = f"expected `source: {named.name}` as {sharing.name!r} has it"
            return f"{file}: source: found {named.source!r} for the stream {named.name!r}, {expected}; see {other_file}"
        problem = disagreement(other, stream) if stream.source == other.source else None
        if problem is not None:
            return f"{file}: {problem} as in {other_file}: both are of the source {stream.source!r}"
    return None


def joined(streams: Sequence[StreamDefinition]) -> StreamDefinition:
    """The source of these streams, which are all of it. The columns of a stream that comes later follow the others."""
    first = streams[0]
    if len(streams) == 1 and not first.shares:
        return first
    features: dict[str, Kind] = {}
    futures: dict[str, Kind] = {}
    mappings: dict[str, ColumnSource] = {}
    for stream in streams:
        features |= dict.fromkeys([name for name in stream.columns if name not in features], LEVEL) | stream.features
        futures |= stream.futures
        mappings |= stream.sources
    return first.model_copy(
        update={
            "name": first.source,
            "targets": tuple(dict.fromkeys(target for stream in streams for target in stream.awaited_columns)),
            "features": features,
            "futures": futures,
            "sources": mappings,
            "lags": max(stream.lags for stream in streams),
            "horizon": max((stream.horizon for stream in streams), key=lambda horizon: horizon[-1]),
            "patience": max(stream.patience for stream in streams),
            "grid": _joined_grid(streams),
            **{key: _first(getattr(stream, key) for stream in streams) for key in DOORS},
        }
    )


def _joined_grid(streams: Sequence[StreamDefinition]) -> Grid | None:
    takes = {name: s.grid.take_of(name) for s in streams if s.grid is not None for name in s.columns}
    grid = streams[0].grid
    return grid and grid.model_copy(update={"take": takes})


def _first(sections: Iterable[Section | None]) -> Section | None:
    return next((section for section in sections if section is not None), None)


def records_of(record: Record, streams: Sequence[StreamDefinition]) -> Sequence[Record]:
    """What a record of their source is to each of the streams; itself where it is named after no source. One that
    came before a stream was there, and has nothing that it forecasts, is nothing to that stream."""
    if not streams or (len(streams) == 1 and streams[0].name == record.stream):
        return (record,)
    return [_of(record, stream) for stream in streams if _concerns(record, stream)]


def _concerns(record: Record, stream: StreamDefinition) -> bool:
    if record.issued is None:
        return stream.target in record.values
    return any(name in record.values for name in stream.futures)


def _of(record: Record, stream: StreamDefinition) -> Record:
    columns = stream.columns if record.issued is None else stream.futures
    values = {name: record.values.get(name) for name in columns}
    return msgspec.structs.replace(record, stream=stream.name, values=values)
