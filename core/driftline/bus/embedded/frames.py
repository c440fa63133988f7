"""The bytes of the journal: frames, one a commit, made of entries. Pure.

A frame counts as a whole or not at all. Frames are numbered without a gap over all segments, so that what a file held
before it was used again is known by its lower numbers, and a frame that is missing by the gap.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

import msgspec

MAGIC = b"DLf1"
_HEAD = Struct("<4sIQQ")
"""Magic, length of the body, number of the frame, age of the folder in ms; a CRC of these and the body follows."""
_CRC = Struct("<I")
_ENTRY = Struct("<BxHIQdI")
"""Kind, label id, length of the payload, number, time in seconds, CRC of the payload, which follows."""
FRAME_BYTES = _HEAD.size + _CRC.size
ENTRY_BYTES = _ENTRY.size


class Kind(IntEnum):
    """What an entry is; `label_id` says of which partition of a topic, or of which checkpoint."""

    NAME = 1
    """The payload says what `label_id` means."""
    END = 2
    """`number` is the offset that the next message gets."""
    MESSAGE = 3
    """`number` is its offset."""
    POSITION = 4
    """`number` is a checkpoint's position; the payload is where its states belong to."""
    STATE = 5
    """The payload's first `number` bytes are the name of a series, the others its state."""
    FORGOTTEN = 6
    """The payload is the name of a series that has no state any more."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """`time`: seconds since the epoch when it was written."""

    kind: Kind
    label_id: int
    number: int
    time: float
    payload: bytes

    def size(self) -> int:
        return ENTRY_BYTES + len(self.payload)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it lies in a segment. `age`: ms that the folder had been in use for when it was written."""

    number: int
    age: int
    position: int
    body: bytes

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.position + FRAME_BYTES + len(self.body)

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Each with its position in the segment."""
        start = 0
        while start < len(self.body):
            entry = _entry(self.body, start)
            yield self.position + FRAME_BYTES + start, entry
            start += entry.size()


def _entry(data: bytes, start: int) -> Entry:
    kind, label_id, length, number, time, _ = _ENTRY.unpack_from(data, start)
    begin = start + ENTRY_BYTES
    return Entry(Kind(kind), label_id, number, time, data[begin : begin + length])


def encode(entries: Sequence[Entry], number: int, age: int) -> bytes:
    """A frame of these entries."""
    parts: list[bytes] = []
    for e in entries:
        parts += (_ENTRY.pack(e.kind, e.label_id, len(e.payload), e.number, e.time, zlib.crc32(e.payload)), e.payload)
    body = b"".join(parts)
    head = _HEAD.pack(MAGIC, len(body), number, age)
    return b"".join((head, _CRC.pack(zlib.crc32(body, zlib.crc32(head))), body))


def frame_at(data: bytes, position: int) -> Frame | None:
    """The whole frame that begins there, or None."""
    if position + FRAME_BYTES > len(data):
        return None
    magic, length, number, age = _HEAD.unpack_from(data, position)
    begin = position + FRAME_BYTES
    if magic != MAGIC or begin + length > len(data):
        return None
    body = data[begin : begin + length]
    head = data[position : position + _HEAD.size]
    if _CRC.unpack_from(data, position + _HEAD.size)[0] != zlib.crc32(body, zlib.crc32(head)):
        return None
    return Frame(number, age, position, body)


def head_at(data: bytes) -> tuple[int, int] | None:
    """Number and age of the frame of which these are the first bytes, whole or not."""
    if len(data) < FRAME_BYTES:
        return None
    magic, _, number, age = _HEAD.unpack_from(data)
    return (number, age) if magic == MAGIC else None


def frames(data: bytes, number: int | None) -> Iterator[Frame]:
    """Those that follow on one another from the beginning on. number: of the first, None for whatever it has."""
    frame = frame_at(data, 0)
    while frame is not None and (number is None or frame.number == number):
        yield frame
        number = frame.number + 1
        frame = frame_at(data, frame.end)


def newer_frame_behind(data: bytes, position: int, number: int) -> Frame | None:
    """A whole frame somewhere behind `position` that has `number` or a higher one: what lies before it is damaged."""
    while (position := data.find(MAGIC, position)) >= 0:
        if position + FRAME_BYTES <= len(data) and _HEAD.unpack_from(data, position)[2] >= number:
            frame = frame_at(data, position)
            if frame is not None:
                return frame
        position += 1
    return None


def length_at(data: bytes, start: int) -> int:
    """How long the entry is whose first bytes these are."""
    return ENTRY_BYTES + int(_ENTRY.unpack_from(data, start)[2])


def whole_entry(data: bytes, start: int) -> Entry | None:
    """The entry that begins there; None where its bytes are not what was written."""
    kind, _, length, _, _, crc = _ENTRY.unpack_from(data, start)
    begin = start + ENTRY_BYTES
    if kind not in Kind.__members__.values() or zlib.crc32(data[begin : begin + length]) != crc:
        return None
    return _entry(data, start)
