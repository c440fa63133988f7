"""The newest blends of one series as JSON: the last few as they are, those before them compressed. Pure."""

from __future__ import annotations  # array[int] is a type for checkers only

import zlib
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Self

BLOCK = 16
"""Blends that are compressed together: alone they take half of the room, together less than a third."""
FAST = 1
"""Of zlib: slower levels save a tenth more."""
SEPARATOR = b"\0"
"""In no JSON."""


@dataclass(frozen=True, slots=True)
class BlendBlock:
    """Blends in a row; times: of each, milliseconds since the epoch."""

    times: array[int]
    compressed: bytes

    @classmethod
    def of(cls, blends: Sequence[tuple[int, bytes]]) -> Self:
        times = array("q", [t for t, _ in blends])
        return cls(times, zlib.compress(SEPARATOR.join(payload for _, payload in blends), FAST))

    def blends(self) -> list[tuple[int, bytes]]:
        return list(zip(self.times, zlib.decompress(self.compressed).split(SEPARATOR), strict=True))


class RememberedBlends:
    """Of one series, in order of time."""

    __slots__ = ("_blocks", "_count", "_newest", "_size", "last_t")

    def __init__(self) -> None:
        self.last_t: int | None = None
        # Lists, though the first go first: they are short, and an empty deque alone takes 600 bytes.
        self._blocks: list[BlendBlock] = []
        self._newest: list[tuple[int, bytes]] = []
        """Never empty once there was a blend: what is read live is here most often."""
        self._count = 0
        self._size = 0

    def add(self, t: int, payload: bytes) -> None:
        """t: later than that of all before."""
        self.last_t = t
        self._newest.append((t, payload))
        self._count += 1
        self._size += len(payload)
        if len(self._newest) > BLOCK:
            self._compress(self._newest[:BLOCK])
            del self._newest[:BLOCK]

    def _compress(self, blends: Sequence[tuple[int, bytes]]) -> None:
        block = BlendBlock.of(blends)
        self._blocks.append(block)
        self._size += len(block.compressed) - sum(len(payload) for _, payload in blends)

    def forget(self, points: int, size: int) -> None:
        """Keeps the newest `points`, with up to a block more, and of more than one blend no more than `size` bytes."""
        while self._blocks and (self._size > size or self._count - BLOCK >= points):
            self._size -= len(self._blocks.pop(0).compressed)
            self._count -= BLOCK
        while self._size > size and len(self._newest) > 1:
            self._size -= len(self._newest.pop(0)[1])
            self._count -= 1

    @property
    def first_t(self) -> int | None:
        """The time of the oldest."""
        oldest = [*(block.times[0] for block in islice(self._blocks, 1)), *(t for t, _ in islice(self._newest, 1))]
        return oldest[0] if oldest else None

    def at(self, t: int) -> bytes | None:
        """The newest that is not after a time."""
        if self._newest and self._newest[0][0] <= t:
            return next(payload for time, payload in reversed(self._newest) if time <= t)
        block = next((block for block in reversed(self._blocks) if block.times[0] <= t), None)
        if block is None:
            return None
        return block.blends()[bisect_right(block.times, t) - 1][1]

    def after(self, t: int, points: int) -> list[tuple[int, bytes]]:
        """Of those after a time the newest `points` at most; found from the newest end, since most often there is
        little."""
        newer = takewhile(lambda block: block.times[-1] > t, reversed(self._blocks))
        parts = [self._newest, *(block.blends() for block in newer)]
        return [blend for part in reversed(parts) for blend in part if blend[0] > t][-points:]
