"""Replays a table of records through ingest's door, as fast as it takes them, at a rate, or at the recorded pace."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import msgspec
import numpy as np
import stamina

from driftline.arrays import Floats
from driftline.errors import InvalidInput, Unavailable
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli import tokens
from driftline_cli.progress import Progress

NDJSON = "application/x-ndjson"
SMOOTH_S = 0.05
"""At a rate, as many rows are sent at once as are due in this time."""
ANSWER_S = 30.0
TRIES_S = 60.0
"""How long a replay tries again while ingest is away; sending twice is harmless."""


class ReplayReceipt(msgspec.Struct, frozen=True):
    """What ingest answered for some rows."""

    accepted: int = 0
    repeated: int = 0
    out_of_order: int = 0
    refused_total: int = 0

    @property
    def rows(self) -> int:
        return self.accepted + self.repeated + self.out_of_order + self.refused_total

    def __add__(self, other: "ReplayReceipt") -> "ReplayReceipt":
        return ReplayReceipt(
            self.accepted + other.accepted,
            self.repeated + other.repeated,
            self.out_of_order + other.out_of_order,
            self.refused_total + other.refused_total,
        )


def encode(rows: Rows, stream: StreamDefinition) -> bytes:
    """The rows as NDJSON with the stream's own column names."""
    times = np.datetime_as_string(rows.t.astype("datetime64[ms]"), unit="ms")
    parts = zip(rows.keys, rows.groups, times, rows.values, strict=True)
    return msgspec.json.Encoder().encode_lines(
        [_row(stream, key, group, f"{t}Z", values) for key, group, t, values in parts]
    )


def _row(stream: StreamDefinition, key: str, group: str, t: str, values: Any) -> dict[str, object]:
    row: dict[str, object] = dict(zip(stream.columns, map(float, values), strict=True))
    row[stream.time.column] = t
    if stream.key:
        row[stream.key] = str(key)
    for name in stream.group_columns:
        row[name] = str(group)
    return row


async def post(client: httpx.AsyncClient, stream: StreamDefinition, rows: Rows) -> ReplayReceipt:
    """Sends rows to ingest and returns its answer; tries again while it is away.

    Raises InvalidInput when ingest refuses them all, Unavailable when it stays away.
    """
    body = encode(rows, stream)
    try:
        response = await _send(client, stream.source, body)
    except (httpx.TransportError, httpx.HTTPStatusError) as error:
        # A timeout of httpx's has no text.
        reason = str(error) or type(error).__name__
        raise Unavailable(f"ingest at {client.base_url} can't take records: {reason}") from error
    if response.is_client_error:
        raise InvalidInput(f"ingest answered {response.status_code}: {response.text[:500]}")
    return msgspec.json.decode(response.content, type=ReplayReceipt)


def _passing(error: Exception) -> bool:
    """Whether trying again may help."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError)


@stamina.retry(on=_passing, attempts=None, timeout=TRIES_S)
async def _send(client: httpx.AsyncClient, source: str, body: bytes) -> httpx.Response:
    response = await client.post(
        "/v1/records", params={"stream": source, "mapped": "true"}, content=body, headers={"Content-Type": NDJSON}
    )
    if response.is_server_error:
        response.raise_for_status()
    return response


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
    client: httpx.AsyncClient,
    stream: StreamDefinition,
    rows: Rows,
    *,
    batch: int = 500,
    rate: float = math.inf,
    recorded_pace: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[ReplayReceipt]:
    """Posts all rows and yields ingest's answer to each batch.

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
) -> ReplayReceipt:
    """Replays to the ingest at `to`, and returns what it answered to all of it."""
    total = ReplayReceipt()
    async with httpx.AsyncClient(base_url=to, headers=tokens.headers(to, token), timeout=ANSWER_S) as client:
        async for receipt in replay(client, stream, rows, rate=rate, recorded_pace=pace):
            total += receipt
            progress("sending", total.rows, len(rows))
    return total
