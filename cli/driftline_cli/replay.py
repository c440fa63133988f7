"""Replays a table of records through ingest's door, as fast as it takes them, at a rate, or at the recorded pace."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from driftline.arrays import Floats
from driftline.errors import InvalidInput
from driftline.streams.definition import ISSUED, StreamDefinition
from driftline.streams.rows import FutureRows, Rows
from driftline_cli import tokens
from driftline_cli.progress import Progress
from driftline_client import AsyncClient, SendReceipt

SMOOTH_S = 0.05
"""At a rate, as many rows are sent at once as are due in this time."""
FUTURES_AT_ONCE = 5_000
PATIENCE_S = 60.0
"""How long a replay tries again while ingest is away; sending twice is harmless."""


def encode(rows: Rows, stream: StreamDefinition) -> bytes:
    """The rows as NDJSON with the stream's own column names."""
    times = np.datetime_as_string(rows.t.astype("datetime64[ms]"), unit="ms")
    parts = zip(rows.keys, rows.groups, times, rows.values, strict=True)
    return msgspec.json.Encoder().encode_lines(
        [_named(stream, stream.columns, key, group, f"{t}Z", values) for key, group, t, values in parts]
    )


def _named(
    stream: StreamDefinition, columns: Sequence[str], key: str, group: str, t: str, values: Any
) -> dict[str, object]:
    row: dict[str, object] = dict(zip(columns, map(float, values), strict=True))
    row[stream.time.column] = t
    if stream.key:
        row[stream.key] = str(key)
    for name in stream.group_columns:
        row[name] = str(group)
    return row


def encode_futures(futures: FutureRows, stream: StreamDefinition, groups: Mapping[str, str]) -> bytes:
    """The same of futures. groups: by key, which a table of futures has not."""
    times = (np.datetime_as_string(t.astype("datetime64[ms]"), unit="ms") for t in (futures.t, futures.issued))
    parts = zip(futures.keys.tolist(), *times, futures.values, strict=True)
    columns = tuple(stream.futures)
    return msgspec.json.Encoder().encode_lines(
        [
            {**_named(stream, columns, key, groups[key], f"{t}Z", values), ISSUED: f"{issued}Z"}
            for key, t, issued, values in parts
        ]
    )


async def post(client: AsyncClient, stream: StreamDefinition, rows: Rows) -> SendReceipt:
    """Sends rows to ingest and returns its answer; the client tries again while it is away.

    Raises InvalidInput when ingest refuses them all, and ClientError.
    """
    receipt = await client.send_body(stream.source, encode(rows, stream), mapped=True)
    if receipt.refused and receipt.refused_total == receipt.rows:
        raise InvalidInput(f"ingest refuses all {receipt.rows:,} records that it was sent: {receipt.refused[0]}")
    return receipt


async def post_futures(
    client: AsyncClient, stream: StreamDefinition, futures: FutureRows, groups: Mapping[str, str]
) -> None:
    """The same for futures, as many at once as ingest takes by default. Raises InvalidInput when it refuses one."""
    for start in range(0, len(futures), FUTURES_AT_ONCE):
        some = futures.take(np.arange(start, min(start + FUTURES_AT_ONCE, len(futures))))
        receipt = await client.send_futures_body(stream.source, encode_futures(some, stream, groups), mapped=True)
        if receipt.refused:
            raise InvalidInput(f"ingest refuses futures that it was sent: {receipt.refused[0]}")


def chunks(rows: Rows, size: int) -> Iterator[Rows]:
    """The rows in order, `size` at a time."""
    return (rows.take(slice(start, start + size)) for start in range(0, len(rows), size))


def _due(rows: Rows, rate: float, recorded_pace: float | None) -> Floats:
    """[n]: seconds after the start when each row is to be sent."""
    if recorded_pace is None:
        return np.arange(len(rows)) / rate
    recorded: Floats = (rows.t - rows.t[0]) / 1000 / recorded_pace
    return recorded


async def replay(
    client: AsyncClient,
    stream: StreamDefinition,
    rows: Rows,
    *,
    batch: int = 500,
    rate: float = math.inf,
    recorded_pace: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[SendReceipt]:
    """Sends all rows and yields ingest's answer to each batch.

    rate: rows a second at most. recorded_pace: how many times faster than recorded; overrides `rate`.
    """
    began = clock()
    due = _due(rows, rate, recorded_pace)
    if recorded_pace is not None:
        batch = 1
    elif math.isfinite(rate):
        batch = max(1, min(batch, int(rate * SMOOTH_S)))
    for start in range(0, len(rows), batch):
        await asyncio.sleep(max(0.0, began + float(due[start]) - clock()))
        yield await post(client, stream, rows.take(slice(start, start + batch)))


async def send(
    stream: StreamDefinition,
    rows: Rows,
    to: str,
    *,
    rate: float,
    pace: float | None,
    token: str | None,
    progress: Progress,
) -> SendReceipt:
    """Replays to the ingest at `to`, and returns what it answered to all of it."""
    total = SendReceipt()
    async with AsyncClient(ingest=to, token=tokens.token_of(to, token), patience=PATIENCE_S) as client:
        async for receipt in replay(client, stream, rows, rate=rate, recorded_pace=pace):
            total += receipt
            progress("sending", total.rows, len(rows))
    return total
