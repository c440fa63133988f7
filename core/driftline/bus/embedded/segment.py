"""One file of the journal: frames from its beginning on, and once it is full an index at its end.

Its space is reserved when it is made, so that a disk that is full says so then, and not in the middle of a commit. A
segment that is dropped is used again for a new one: writing over it costs the file system nothing but the data.
Everything here blocks.
"""

import os
import weakref
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct

import msgspec

from driftline.bus.embedded.contents import SegmentIndex
from driftline.bus.embedded.frames import ENTRY_BYTES, FRAME_BYTES, Entry, Frame, head_at, length_at, whole_entry
from driftline.files import sync_folder

TRAILER = Struct("<4sQQQIII")
"""Magic, numbers of the first and last frame, age of the last, position, length and CRC of the index. Ends the file."""
TRAILER_MAGIC = b"DLi1"
WINDOW = 65536
"""Read from the disk at once."""
NAME = "{:012d}.log"
SPARE_SUFFIX = ".spare"
"""Of a file that holds nothing any more, and waits to be used again."""


class _OpenFile:
    """A descriptor that is closed when nobody refers to it any more: a thread may still read what was dropped, and the
    next file that is opened would get its number."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)


class Segment:
    """`used`: bytes from the beginning that hold whole frames. Its file is closed with the last reference to it."""

    def __init__(self, path: Path, file: _OpenFile) -> None:
        self.path = path
        self.number = int(path.stem)
        self.size = os.fstat(file.descriptor).st_size
        self.used = 0
        self.first_frame = 0
        self.last_frame = 0
        self.first_age = 0
        self.last_age = 0
        self._file = file

    @property
    def _descriptor(self) -> int:
        return self._file.descriptor

    @classmethod
    def make(cls, folder: Path, number: int, size: int) -> "Segment":
        """A new one with all of its space. Raises OSError, and then there is none."""
        path = folder / NAME.format(number)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            os.fsync(descriptor)
            sync_folder(folder)
        except BaseException:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()
            raise
        return cls(path, _OpenFile(descriptor))

    @classmethod
    def open(cls, path: Path) -> "Segment":
        return cls(path, _OpenFile(os.open(path, os.O_RDWR | os.O_CLOEXEC)))

    def set_aside(self) -> None:
        """It is no segment from now on, also for the next start. Raises OSError, and may then be called again."""
        self._rename(self.path.with_suffix(SPARE_SUFFIX))

    def reused_as(self, number: int) -> "Segment":
        """The same file as the segment `number`, with nothing in it. Raises OSError, and may then be called again."""
        # Before anything is written: else a power cut could leave new frames under the old name.
        self._rename(self.path.with_name(NAME.format(number)))
        return Segment(self.path, self._file)

    def _rename(self, path: Path) -> None:
        self.path.rename(path)
        # Before the sync, which may fail: that is the file's name by now.
        self.path = path
        # One by one: a segment must not come back without those behind it.
        sync_folder(path.parent)

    def has_room(self, length: int) -> bool:
        """Whether so many bytes fit behind what is used."""
        return self.used + length + TRAILER.size <= self.size

    def append(self, frame: bytes) -> None:
        """Writes behind what is used. When it returns the frame is on the disk; `count_in` then counts it in."""
        written = 0
        while written < len(frame):
            written += os.pwrite(self._descriptor, frame[written:], self.used + written)
        os.fdatasync(self._descriptor)

    def count_in(self, length: int, number: int, age: int) -> None:
        if self.used == 0:
            self.first_frame, self.first_age = number, age
        self.used += length
        self.last_frame, self.last_age = number, age

    def count_in_all(self, frames: Sequence[Frame]) -> None:
        """What was read of it."""
        for frame in frames:
            self.count_in(frame.end - frame.position, frame.number, frame.age)

    def seal(self, index: SegmentIndex) -> None:
        """Writes an index, which only spares a reading of the whole file."""
        data = msgspec.msgpack.encode(index)
        if not self.has_room(len(data)):
            return
        ends = (self.first_frame, self.last_frame, self.last_age)
        trailer = TRAILER.pack(TRAILER_MAGIC, *ends, self.used, len(data), zlib.crc32(data))
        os.pwrite(self._descriptor, data, self.used)
        os.pwrite(self._descriptor, trailer, self.size - TRAILER.size)
        os.fdatasync(self._descriptor)

    def index(self) -> SegmentIndex | None:
        """What `seal` wrote; None where it did not, or where it is not whole."""
        trailer = os.pread(self._descriptor, TRAILER.size, max(0, self.size - TRAILER.size))
        if len(trailer) < TRAILER.size:
            return None
        magic, first, last, age, used, length, crc = TRAILER.unpack(trailer)
        data = os.pread(self._descriptor, length, used) if magic == TRAILER_MAGIC else b""
        head = self.head()
        if not data or zlib.crc32(data) != crc or head is None or head[0] != first:
            return None
        self.first_frame, self.last_frame, self.used = first, last, used
        self.first_age, self.last_age = head[1], age
        try:
            return msgspec.msgpack.decode(data, type=SegmentIndex)
        except msgspec.DecodeError:
            return None

    def head(self) -> tuple[int, int] | None:
        """Number and age of what seems to be its first frame."""
        return head_at(os.pread(self._descriptor, FRAME_BYTES, 0))

    def read_all(self) -> bytes:
        return os.pread(self._descriptor, self.size, 0)

    def read(self, positions: Sequence[int]) -> list[Entry | None]:
        """The entries that lie there, in rising order; None for one that is not what was written."""
        return list(self._entries(positions))

    def _entries(self, positions: Sequence[int]) -> Iterator[Entry | None]:
        window, base = b"", 0
        for position in positions:
            start = position - base
            if start + ENTRY_BYTES > len(window) or start + length_at(window, start) > len(window):
                window, base = self._window(position), position
                start = 0
            yield whole_entry(window, start) if len(window) >= ENTRY_BYTES else None

    def _window(self, position: int) -> bytes:
        window = os.pread(self._descriptor, WINDOW, position)
        if len(window) < ENTRY_BYTES:
            return window
        length = min(length_at(window, 0), self.size)
        return window if length <= len(window) else os.pread(self._descriptor, length, position)

    def close(self) -> None:
        """At once. Nothing may be read any more."""
        self._file.close()

    def remove(self) -> None:
        """Gives its space back. Raises OSError, and may then be called again."""
        self.path.unlink(missing_ok=True)
        # One by one, as with names.
        sync_folder(self.path.parent)
