"""A backup as a file: a tar of named files behind a header that has the SHA-256 of each, compressed, and sealed where
there is a key.

The sealed form is a row of chunks (STREAM: Hoang, Reyhanitabar, Rogaway and Vizár 2015, section 8): none can be left
out, put elsewhere or added, and the last one says that it is the last. All here blocks.
"""

import errno
import gzip
import hashlib
import io
import os
import shutil
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Final, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from driftline.errors import InvalidInput, RefusedBackup, Unavailable
from driftline.files import PART_PREFIX, PART_SUFFIX, make_folder, sync_folder
from driftline.fleet.sealing import FleetKey, cipher

VERSION: Final = 1
HEADER: Final = "backup.json"
HEADER_LIMIT: Final = 4 << 20
"""Bytes of a header at most."""
MAGIC: Final = b"DLB1"
SALT_BYTES: Final = 16
CHUNK: Final = 1 << 20
TAG: Final = 16
LENGTH: Final = struct.Struct("<I")
COMPRESSED: Final = b"\x1f\x8b"
QUICK: Final = 1
PURPOSE: Final = "backup"


class BackedUpFile(msgspec.Struct, frozen=True):
    """One file. size: bytes."""

    size: int
    sha256: str


class BackupHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is of."""

    version: int
    edge: str
    """Its id."""
    at: float
    """Seconds since the epoch when it was made."""
    software: str
    bus: str
    """`embedded`: the bus's own files. `kafka`: the states that were read from it."""
    partitions: int
    waiting: int = 0
    """Of Kafka: records that were not forecast or not archived yet. They are at the broker alone."""
    files: dict[str, BackedUpFile]
    """By name, in their order."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


class _HeaderVersion(msgspec.Struct, frozen=True):
    version: int


Source = Path | bytes
"""A file, or a file's content."""


class Readable(Protocol):
    """A file that is read from its beginning to its end."""

    def read(self, size: int = -1, /) -> bytes: ...


def describe(sources: Mapping[str, Source]) -> dict[str, BackedUpFile]:
    """Raises OSError."""
    described = {}
    for name, source in sources.items():
        sha256, size = hashlib.sha256(), 0
        with _opened(source) as file:
            while part := file.read(CHUNK):
                sha256.update(part)
                size += len(part)
        described[name] = BackedUpFile(size, sha256.hexdigest())
    return described


def write(path: Path, header: BackupHeader, sources: Mapping[str, Source], key: FleetKey | None) -> None:
    """Writes the whole file or none; nobody else may read it. The sources are as the header describes them. Raises
    Unavailable for a disk that is full, and OSError."""
    with _on_disk(path.parent):
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=PART_PREFIX, suffix=PART_SUFFIX)
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                _write_all(file, header, sources, key)
                file.flush()
                os.fsync(handle)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _write_all(file: IO[bytes], header: BackupHeader, sources: Mapping[str, Source], key: FleetKey | None) -> None:
    sealing = _Sealing(file, key) if key is not None else None
    with (
        gzip.GzipFile(fileobj=sealing or file, mode="wb", compresslevel=QUICK, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as tar,
    ):
        for name, source in {HEADER: msgspec.json.encode(header), **sources}.items():
            info = tarfile.TarInfo(name)
            info.size = len(source) if isinstance(source, bytes) else source.stat().st_size
            info.mode, info.mtime = 0o600, int(header.at)
            with _opened(source) as content:
                tar.addfile(info, content)
    if sealing is not None:
        sealing.finish()


def unpack(path: Path, key: FleetKey | None, folder: Path) -> BackupHeader:
    """Puts all files of a backup below an empty folder. Raises RefusedBackup for what is none, or not whole;
    InvalidInput where it needs a key; Unavailable where there is no room; OSError."""
    try:
        with path.open("rb") as file, _on_disk(folder):
            return _unpack(path, _plain(path, file, key), folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedBackup(f"{path}: it is damaged, or was not written to its end: {error}") from error


def _plain(path: Path, file: IO[bytes], key: FleetKey | None) -> Readable:
    begin = file.read(len(MAGIC))
    if begin == MAGIC:
        if key is None:
            raise InvalidInput(f"{path}: it is sealed with the fleet's key: set DRIFTLINE_FLEET_KEY_FILE")
        return _Opening(path, file, key)
    if not begin.startswith(COMPRESSED):
        raise RefusedBackup(f"{path}: found no backup of an edge")
    file.seek(0)
    return file


def _unpack(path: Path, plain: Readable, folder: Path) -> BackupHeader:
    with gzip.GzipFile(fileobj=plain, mode="rb") as compressed:  # type: ignore[call-overload]
        with tarfile.open(fileobj=compressed, mode="r|") as tar:
            members = iter(tar)
            header = _header(path, tar, next(members, None))
            _check_room(folder, header.size)
            for (name, described), member in zip(header.files.items(), members, strict=False):
                if member.name != name or not member.isreg() or member.size != described.size:
                    raise RefusedBackup(f"{path}: found {member.name!r}, expected {name!r} as the header describes it")
                _extract(path, tar, member, described, folder)
            if missing := [name for name in header.files if not (folder / name).is_file()]:
                raise RefusedBackup(f"{path}: found no {missing[0]!r}, which the header names")
        # What comes behind the last file is part of what the checksum is of.
        while compressed.read(CHUNK):
            continue
    return header


def _header(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> BackupHeader:
    content = tar.extractfile(member) if member is not None and member.name == HEADER else None
    if member is None or content is None or member.size > HEADER_LIMIT:
        raise RefusedBackup(f"{path}: found no backup of an edge, expected {HEADER!r} as its first file")
    text = content.read()
    version = msgspec.json.decode(text, type=_HeaderVersion).version
    if version != VERSION:
        raise RefusedBackup(f"{path}: found a backup of version {version}, expected {VERSION}: use a later release")
    header = msgspec.json.decode(text, type=BackupHeader)
    for name in header.files:
        if not _is_inside(name):
            raise RefusedBackup(f"{path}: found a file {name!r}, expected a path without `..`")
    return header


def _is_inside(name: str) -> bool:
    pure = PurePosixPath(name)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in name


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Unavailable(f"{folder}: found {free:,} bytes free, expected at least {size:,}")


def _extract(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, described: BackedUpFile, folder: Path) -> None:
    content = tar.extractfile(member)
    assert content is not None  # noqa: S101 - it is a regular file
    target = folder / member.name
    make_folder(target.parent, mode=0o700)
    sha256 = hashlib.sha256()
    with open(target, "xb", opener=_private) as file:
        while part := content.read(CHUNK):
            sha256.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(target.parent)
    if sha256.hexdigest() != described.sha256:
        raise RefusedBackup(f"{path}: {member.name!r} is damaged: found another SHA-256 than the header names")


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


@contextmanager
def _opened(source: Source) -> Iterator[IO[bytes]]:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        yield file


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Unavailable(f"{folder}: the disk is full: make room, and do it again") from error
        raise


class _Chunks:
    """The key of one file, and the nonces of its chunks."""

    def __init__(self, key: FleetKey, salt: bytes) -> None:
        self._aead: ChaCha20Poly1305 = cipher(key.secret, PURPOSE, salt)
        self._number = 0

    def seal(self, chunk: bytes, *, is_last: bool) -> bytes:
        return self._next(self._aead.encrypt, chunk, is_last=is_last)

    def open(self, chunk: bytes, *, is_last: bool) -> bytes:
        """Raises InvalidTag."""
        return self._next(self._aead.decrypt, chunk, is_last=is_last)

    def _next(self, convert: Callable[[bytes, bytes, None], bytes], chunk: bytes, *, is_last: bool) -> bytes:
        nonce = self._number.to_bytes(11, "big") + bytes([is_last])
        self._number += 1
        return convert(nonce, chunk, None)


class _Sealing:
    """Seals what is written."""

    def __init__(self, file: IO[bytes], key: FleetKey) -> None:
        salt = os.urandom(SALT_BYTES)
        self._file = file
        self._chunks = _Chunks(key, salt)
        self._buffer = bytearray()
        file.write(MAGIC + salt)

    def write(self, data: bytes) -> int:
        self._buffer += data
        while len(self._buffer) > CHUNK:
            self._put(bytes(self._buffer[:CHUNK]), is_last=False)
            del self._buffer[:CHUNK]
        return len(data)

    def flush(self) -> None:
        """A chunk is written when it is full."""

    def finish(self) -> None:
        self._put(bytes(self._buffer), is_last=True)

    def _put(self, chunk: bytes, *, is_last: bool) -> None:
        sealed = self._chunks.seal(chunk, is_last=is_last)
        self._file.write(LENGTH.pack(len(sealed) << 1 | is_last) + sealed)


class _Opening:
    """Opens what is read. Raises RefusedBackup for what this key does not open."""

    def __init__(self, path: Path, file: IO[bytes], key: FleetKey) -> None:
        self._path = path
        self._file = file
        self._chunks = _Chunks(key, file.read(SALT_BYTES))
        self._buffer = b""
        self._is_over = False

    def read(self, size: int = -1, /) -> bytes:
        while not self._is_over and (size < 0 or len(self._buffer) < size):
            self._buffer += self._next()
        size = len(self._buffer) if size < 0 else size
        part, self._buffer = self._buffer[:size], self._buffer[size:]
        return part

    def _next(self) -> bytes:
        head = self._file.read(LENGTH.size)
        length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else 0
        sealed = self._file.read(min(length >> 1, CHUNK + TAG))
        self._is_over = bool(length & 1)
        with suppress(InvalidTag):
            return self._chunks.open(sealed, is_last=self._is_over)
        raise RefusedBackup(
            f"{self._path}: does not open with this fleet key: it was sealed with another one, or it is damaged"
        )
