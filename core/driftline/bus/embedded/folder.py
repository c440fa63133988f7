"""The folder that holds a journal: one process's at a time, of one version, for one number of partitions."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from driftline.errors import BusUnavailable, UnusableData
from driftline.files import make_folder, replace_file

VERSION = 1
"""Of all that lies in the folder."""
LOCK = "lock"
FORMAT = "format.json"
MB = 1_000_000
SEGMENT_BYTES = 16 * MB
SMALLEST = 64_000
SEGMENTS = 8
"""Of so many segments a small journal is made."""
PID_BYTES = 32
FILES_BYTES = 8000
"""More than what lies in the folder beside the segments."""


@dataclass(frozen=True)
class EmbeddedSettings:
    """Where the journal is, and what it may hold."""

    folder: Path
    partitions: int = 4
    retention_bytes: int = 1000 * MB
    """All files of the folder together are never more than this."""
    retention_hours: float = 168.0
    """Messages that are older go, unless a group at work still needs them. Hours in which the folder was in use."""
    sync_every: float = 0.0
    """Seconds between the beginnings of two syncs at least: each writes whole pages, so fewer syncs write less, and
    acknowledgements wait for longer."""
    recent_bytes: int = 8 * MB
    """Of memory for messages that were written last: whoever reads on at the end reads no disk."""

    def __post_init__(self) -> None:
        if self.retention_bytes < SEGMENTS * SMALLEST:
            raise ValueError(f"found retention_bytes {self.retention_bytes}, expected at least {SEGMENTS * SMALLEST}")

    @property
    def segment_bytes(self) -> int:
        return min(SEGMENT_BYTES, (self.retention_bytes - FILES_BYTES) // SEGMENTS)

    @property
    def together_bytes(self) -> int:
        """Of messages are written at once: it bounds memory, and how long a sync takes."""
        return min(MB, self.segment_bytes // 4)


class Format(msgspec.Struct, frozen=True):
    """What the folder's `format.json` says of it."""

    version: int
    partitions: int


@contextmanager
def as_bus_errors(folder: Path) -> Iterator[None]:
    """The system's errors as ours: raises BusUnavailable."""
    try:
        yield
    except OSError as error:
        raise BusUnavailable(sentence_for(folder, error)) from error


def sentence_for(folder: Path, error: OSError) -> str:
    """What is wrong with the folder, for people."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"{folder}: the disk is full: nothing more is taken until it has space; what was taken is safe"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return f"{folder}: found a folder that is read-only, expected one that may be written"
        case _:
            return f"{folder}: the disk does not take it: {error.strerror}"


def lock_folder(settings: EmbeddedSettings) -> int:
    """Makes the folder where it is missing, and holds it until the lock that is returned is closed. Raises
    BusUnavailable and UnusableData."""
    folder = settings.folder
    with as_bus_errors(folder):
        make_folder(folder)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with as_bus_errors(folder):
            _hold(folder, lock)
        _check_format(settings)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _hold(folder: Path, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, PID_BYTES, 0).decode(errors="replace").strip() or "?"
        raise BusUnavailable(
            f"{folder}: the process {holder} uses this folder, and only one may: end that, or choose another folder"
        ) from error
    # It only helps people: a disk that is full or read-only must not hide behind it.
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _check_format(settings: EmbeddedSettings) -> None:
    folder, expected = settings.folder, Format(VERSION, settings.partitions)
    with as_bus_errors(folder):
        text = (folder / FORMAT).read_bytes() if (folder / FORMAT).exists() else None
        if text is None:
            _write_format(folder, expected)
            return
    try:
        written = msgspec.json.decode(text, type=Format)
    except msgspec.DecodeError as error:
        raise UnusableData(f"{folder / FORMAT}: found no version of the data in it: {error}") from error
    if written.version != expected.version:
        raise UnusableData(
            f"{folder}: found data of version {written.version}, expected {expected.version}: use the release that "
            "wrote them, or another folder"
        )
    if written.partitions != expected.partitions:
        raise UnusableData(f"{folder}: found {written.partitions} partitions, expected {expected.partitions}")


def _write_format(folder: Path, written: Format) -> None:
    if any(folder.glob("*.log")):
        raise UnusableData(f"{folder}: found data without {FORMAT}, which says their version: put that back")
    replace_file(folder / FORMAT, msgspec.json.encode(written))
