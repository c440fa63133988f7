"""How the state of a series lies in a checkpoint: with the offset up to which it was worked off. Pure."""

import struct
from typing import NamedTuple

from driftline.worker.parts import UnreadableState

MARK = b"\xc1"
"""The one byte that MessagePack never begins with, so that no state of release 0.1.0 does: those had no offset."""
VERSION = 1
HEAD = struct.Struct(">cBQ")
"""The mark, the version, the offset."""


class OffsetState(NamedTuple):
    """offset: messages of the series before it are in the state; 0 where that was not kept. data: None of a series that
    was forgotten."""

    offset: int
    data: bytes | None

    def encode(self) -> bytes:
        return HEAD.pack(MARK, VERSION, self.offset) + (self.data or b"")

    @classmethod
    def decode(cls, saved: bytes) -> "OffsetState":
        """Raises UnreadableState for a state of a later release, and for a damaged one."""
        if not saved.startswith(MARK):
            return cls(0, saved)
        try:
            _, version, offset = HEAD.unpack_from(saved)
        except struct.error as error:
            raise UnreadableState(str(error)) from error
        if version != VERSION:
            raise UnreadableState(f"found a saved state of version {version}, expected {VERSION}")
        return cls(offset, saved[HEAD.size :] or None)
