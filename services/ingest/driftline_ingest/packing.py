"""How the archive holds messages in memory and writes them into files. Pure."""

from __future__ import annotations  # array[float] is a type for checkers only

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from driftline.store.object_names import folder_of
from driftline.store.windows import WindowName
from driftline.worker.stream_step import Timed_contra

Columns = tuple[str, ...]
FUTURES = "futures"
"""The kind of windows that hold what was known ahead."""


class FuturePacking(Protocol[Timed_contra]):
    """How futures, which come among the messages, lie in memory and in a file."""

    def issued(self, message: Timed_contra) -> int | None:
        """When it was issued; None for a message that is no future."""

    def pack(self, message: Timed_contra) -> array[float]:
        """A future as a few numbers."""

    def encode(self, stream: str, key: str, rows: Sequence[array[float]]) -> bytes:
        """The file."""


class Packing(Protocol[Timed_contra]):
    """How messages lie in memory and in a file."""

    kind: str
    """The first part of the objects' names."""

    @property
    def futures(self) -> FuturePacking[Timed_contra] | None:
        """None where there are none among the messages."""

    def size(self, stream: str) -> int:
        """Messages in a full window."""

    def period(self, stream: str) -> int:
        """Milliseconds from one message of a series to the next."""

    def longest_silence(self, stream: str) -> int:
        """Milliseconds of the stream's time after which a series is forgotten."""

    def ahead(self, stream: str) -> int:
        """Seconds by which a record may be ahead of the clock."""

    def patience(self, stream: str) -> int:
        """Messages that came without their truth and may still be completed."""

    def truths(self, stream: str) -> Columns:
        """The columns whose truth may come later."""

    def lacks(self, message: Timed_contra) -> Columns:
        """Whose truth is missing."""

    def pack(self, message: Timed_contra) -> array[float]:
        """A message as a few numbers, for the time until its window is full."""

    def group(self, message: Timed_contra) -> str:
        """The group that its series has in the file; "" where there are none."""

    def encode(self, stream: str, key: str, rows: Sequence[array[float]], group: str = "") -> bytes:
        """The file."""


@dataclass(frozen=True)
class FullWindow:
    """Messages of one series. first, last: times of those that no window had before, milliseconds since the epoch; of
    futures when the first and the last were issued. A
    window of late truths alone begins where the one before ended, and ends as many milliseconds later as there were
    such windows since."""

    kind: str
    stream: str
    key: str
    first: int
    last: int
    rows: Sequence[array[float]]
    group: str = ""

    def name(self, edge: str) -> str:
        """Its key in the store. edge: the id of who archives it."""
        return f"{self.kind}/{self.stream}/{folder_of(self.key)}/{WindowName(self.first, self.last, edge).format()}"
