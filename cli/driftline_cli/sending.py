"""Sends records that come line by line, CSV or NDJSON, to a running ingest: each soon, and as many at once as wait."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from driftline.errors import InvalidInput
from driftline_client import AsyncClient, BadRequest, SendReceipt
from driftline_client.calls.records import BATCH, BATCH_BYTES, NDJSON
from driftline_client.gathering import gathered

CSV = "text/csv"
LONGEST = 64 * 1024
"""Bytes of a line."""
WAITING = 1000
"""Lines that are read ahead of what ingest has taken."""


@dataclass(frozen=True)
class SentLine:
    """number: from 1, as editors count."""

    number: int
    text: bytes


@dataclass(frozen=True)
class BrokenLine:
    """A line that is no record of the stream."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"


Refused = Callable[[BrokenLine], None]


async def send(source: BinaryIO, client: AsyncClient, stream: str, refused: Refused) -> AsyncIterator[SendReceipt]:
    """A receipt for each batch that was acknowledged. refused: gets every line that is no record; the rest goes on.

    The first line says what they are: NDJSON where it begins with a brace, else the header of CSV, in which a record
    is one line.
    """
    form: LineForm | None = None
    async for lines in gathered(_lines(source), BATCH):
        kept = [line for line in lines if len(line.text) <= LONGEST]
        for line in [line for line in lines if len(line.text) > LONGEST]:
            refused(BrokenLine(line.number, f"found more than {LONGEST:,} bytes, expected at most as many"))
            yield SendReceipt(refused_total=1)
        if form is None and kept:
            form = LineForm.of(kept[0])
            kept = kept if form.header is None else kept[1:]
        for part in _parts(kept):
            assert form is not None, "something was kept"  # noqa: S101
            yield await _send(client, stream, form, part, refused)


@dataclass(frozen=True)
class LineForm:
    """How lines become a body. header: CSV's first line."""

    header: SentLine | None

    @classmethod
    def of(cls, first: SentLine) -> "LineForm":
        return cls(None if first.text.lstrip().startswith(b"{") else first)

    @property
    def content_type(self) -> str:
        return NDJSON if self.header is None else CSV

    def body(self, lines: Sequence[SentLine]) -> bytes:
        return b"\n".join(line.text for line in ([self.header, *lines] if self.header else lines))


async def _send(
    client: AsyncClient, stream: str, form: LineForm, lines: Sequence[SentLine], refused: Refused
) -> SendReceipt:
    """A body that can't be read at all is halved until the line is found that is to blame."""
    try:
        receipt = await client.send_body(stream, form.body(lines), content_type=form.content_type)
    except BadRequest as error:
        # Else it is not a line's fault: the stream is unknown, or the format.
        if error.status != 400:  # noqa: PLR2004
            raise InvalidInput(f"ingest says: {error.detail}") from error
        return await _halved(client, stream, form, lines, refused, error)
    for row in receipt.refused:
        refused(BrokenLine(lines[row.row - 1].number, str(row)))
    if (unlisted := receipt.refused_total - len(receipt.refused)) > 0:
        refused(BrokenLine(lines[-1].number, f"and {unlisted} before it"))
    return receipt


async def _halved(
    client: AsyncClient, stream: str, form: LineForm, lines: Sequence[SentLine], refused: Refused, error: BadRequest
) -> SendReceipt:
    if len(lines) == 1:
        refused(BrokenLine(lines[0].number, error.detail))
        return SendReceipt(refused_total=1)
    half = len(lines) // 2
    first = await _send(client, stream, form, lines[:half], refused)
    return first + await _send(client, stream, form, lines[half:], refused)


def _parts(lines: Sequence[SentLine]) -> Iterator[Sequence[SentLine]]:
    """Of at most BATCH_BYTES each."""
    part: list[SentLine] = []
    size = 0
    for line in lines:
        if part and size + len(line.text) > BATCH_BYTES:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line.text)
    if part:
        yield part


async def _lines(source: BinaryIO) -> AsyncIterator[SentLine]:
    """Read in a thread of its own, which ends with the process: nothing ends a read of a terminal."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[SentLine | None] = asyncio.Queue(maxsize=WAITING)
    threading.Thread(target=_read, args=(source, loop, lines), daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line


def _read(source: BinaryIO, loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[SentLine | None]") -> None:
    number = 0
    with suppress(RuntimeError):  # the loop is closed: nobody reads on
        while text := source.readline(LONGEST + 2):
            number += 1
            whole = text
            while not whole.endswith(b"\n") and (more := source.readline(LONGEST)):
                whole = more  # the rest of a line that is too long
            if text.strip():
                asyncio.run_coroutine_threadsafe(lines.put(SentLine(number, text.rstrip(b"\r\n"))), loop).result()
        asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()
