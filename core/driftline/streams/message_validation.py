"""Which messages on the bus can be used, by the definition of their stream. Pure."""

from collections.abc import Collection, Mapping

from driftline.streams.definition import StreamDefinition
from driftline.streams.grid import LATEST


def refusal(
    streams: Mapping[str, StreamDefinition],
    name: str,
    values: Collection[str] | None = None,
    *,
    future: bool = False,
    times: Collection[int] = (),
) -> str | None:
    """Why a message of the stream `name` can't be used, or None. values: what a record has; it needs all columns, or
    one of them where streams share it. future: whether it is a future, which needs those instead. times: all that it
    has, in milliseconds."""
    stream = streams.get(name)
    if stream is None:
        return f"found stream {name!r}, expected one of {sorted(streams)}"
    for t in times:
        if not 0 <= t < LATEST:
            return f"found the time {t}, expected milliseconds from 1970 on, before the year 2100"
    if future and not stream.futures:
        return f"found a future, expected none: stream {name!r} has no `futures`"
    return None if values is None else _lacking(stream, tuple(stream.futures) if future else stream.columns, values)


def _lacking(stream: StreamDefinition, columns: tuple[str, ...], values: Collection[str]) -> str | None:
    missing = [column for column in columns if column not in values]
    if stream.shares and len(missing) < len(columns):
        # It was taken in before one of the streams was there.
        return None
    return f"found no value for {missing[0]!r}, expected {list(columns)}" if missing else None
