"""Folders and files that survive a power cut: their bytes and their names are on the disk when these calls return.

All block, and raise OSError.
"""

import os
import tempfile
from pathlib import Path

PART_PREFIX, PART_SUFFIX = ".", ".part"
"""Of a file that is still being written; after a crash it stays, and is of no use."""


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """With all folders above it that are missing. mode: of this one, if it is made."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode, exist_ok=True)
    sync_folder(folder.parent)


def replace_file(path: Path, body: bytes, *, mode: int = 0o600) -> None:
    """The file holds all of `body` or what it held before, whatever happens meanwhile."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PART_PREFIX, suffix=PART_SUFFIX)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Has the names of its files on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
