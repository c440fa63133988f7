"""Records and futures on their way in: batches of them, and what became of each. Pure.

Sending a record twice is harmless: ingest knows what it has taken.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from driftline_client.calls.call import Call, Reply, decoded, good
from driftline_client.errors import StrangeAnswer

Row = Mapping[str, Any]
"""By column a number, text or time; None and NaN are missing values."""
Rows = Row | Iterable[Row]
NDJSON = "application/x-ndjson"
BATCH = 500
"""Records of a request at most ..."""
BATCH_BYTES = 512 * 1024
"""... and bytes, unless one record is larger."""
LISTED = 100
"""Refusals that a receipt lists."""
UNUSABLE = 422
ENCODER = msgspec.json.Encoder()


class RefusedRecord(msgspec.Struct, frozen=True):
    """A record that can't be used. row: which of those that were sent, from 1."""

    row: int
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.column}: found {self.found}, expected {self.expected}"


class SendReceipt(msgspec.Struct, frozen=True):
    """The result for the records that were sent."""

    accepted: int = 0
    repeated: int = 0
    """Taken before."""
    out_of_order: int = 0
    """Too old to be taken as late."""
    refused_total: int = 0
    refused: list[RefusedRecord] = []
    """The first of them."""
    late: int | None = None
    """Of the accepted, those that came after later ones of their series."""
    detail: str | None = None
    """Why nothing was accepted although there were records."""

    @property
    def rows(self) -> int:
        return self.accepted + self.repeated + self.out_of_order + self.refused_total

    def __add__(self, later: "SendReceipt") -> "SendReceipt":
        moved = [msgspec.structs.replace(row, row=row.row + self.rows) for row in later.refused]
        return SendReceipt(
            accepted=self.accepted + later.accepted,
            repeated=self.repeated + later.repeated,
            out_of_order=self.out_of_order + later.out_of_order,
            refused_total=self.refused_total + later.refused_total,
            refused=[*self.refused, *moved][:LISTED],
            late=(self.late or 0) + (later.late or 0) or None,
            detail=later.detail or self.detail,
        )


class _Refusal(msgspec.Struct, frozen=True):
    """The part of a 422 by which a receipt is known."""

    refused_total: int | None = None


def records(stream: str, body: bytes, *, content_type: str = NDJSON, mapped: bool = False) -> Call[SendReceipt]:
    """Sends records as they are written: NDJSON, JSON or CSV.

    mapped: whether the columns are the definition's own, already mapped and scaled. Raises BadRequest for a body that
    can't be read.
    """
    return _call("/v1/records", stream, body, content_type, mapped=mapped)


def futures(stream: str, body: bytes, *, content_type: str = NDJSON, mapped: bool = False) -> Call[SendReceipt]:
    """Sends what is known ahead, such as a weather forecast; see `records`."""
    return _call("/v1/futures", stream, body, content_type, mapped=mapped)


def listed(rows: Rows) -> Iterable[Row]:
    """One record is a list of one."""
    return (rows,) if isinstance(rows, Mapping) else rows


def encoded(row: Row) -> bytes:
    """A line of NDJSON. Raises TypeError for what JSON does not have."""
    return ENCODER.encode(dict(row)) + b"\n"


def batches(lines: Iterable[bytes], most: int = BATCH) -> Iterator[bytes]:
    """Bodies of at most so many lines, taken as they are needed."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and (len(batch) >= most or size + len(line) > BATCH_BYTES):
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"".join(batch)


def total(receipts: Iterable[SendReceipt]) -> SendReceipt:
    return sum(receipts, SendReceipt())


def _call(path: str, stream: str, body: bytes, content_type: str, *, mapped: bool) -> Call[SendReceipt]:
    query = [("stream", stream), *([("mapped", "true")] if mapped else [])]
    return Call("ingest", "POST", path, _receipt, query, body, {"Content-Type": content_type})


def _receipt(reply: Reply) -> SendReceipt:
    """Also where every row was refused: that is told row by row."""
    return decoded(reply.body if _is_receipt(reply) else good(reply).body, SendReceipt)


def _is_receipt(reply: Reply) -> bool:
    """Whether a 422 is one."""
    try:
        return reply.status == UNUSABLE and decoded(reply.body, _Refusal).refused_total is not None
    except StrangeAnswer:
        return False
