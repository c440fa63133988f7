"""The object store in a folder: atomic, conditional across processes, watched by the file system's own events."""

import asyncio
import errno
import fcntl
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from pathlib import Path

import watchfiles

from driftline.errors import Conflict, NotFound, StoreUnavailable, TooLarge, Unstorable
from driftline.files import PART_PREFIX, PART_SUFFIX, make_folder, replace_file
from driftline.store import object_names
from driftline.store.hints import Hints, Keys, between, hinted
from driftline.store.port import Listed, Stored

HIDDEN = "."
"""Names that begin so are ours: the lock, and files that are still being written."""
PAGE = 500
NEVER = {errno.ENAMETOOLONG, errno.EILSEQ}
"""What a file system answers to a name that it will never take."""


def etag_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


class FolderStore:
    """See `driftline.store.port.Store`. Keys are paths below `root`; the folder is made when it is not there."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._is_tidy = False

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        body = await asyncio.to_thread(self._read, self._path(key), limit)
        etag = etag_of(body)
        return None if etag == unless else Stored(body, etag)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if (reason := _refusal(key)) is not None:
            raise Unstorable(reason)
        await asyncio.to_thread(self._write, self._path(key), body, if_absent, if_match)
        return etag_of(body)

    async def delete(self, key: str) -> None:
        with _answering(self.root):
            await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        with _answering(self.root):
            keys = await asyncio.to_thread(self._keys, prefix)
        wanted = [key for key in keys if key > after]
        for start in range(0, len(wanted), PAGE):
            for listed in await asyncio.to_thread(self._describe, wanted[start : start + PAGE]):
                yield listed

    async def watch(self, prefix: str, *, suffix: str = "", poll: float) -> AsyncGenerator[Keys]:
        async with aclosing(hinted(partial(self._hint, prefix, suffix), poll=poll)) as waking:
            async for keys in waking:
                yield keys

    async def check(self) -> None:
        with _answering(self.root):
            await asyncio.to_thread(make_folder, self.root)
        if not os.access(self.root, os.R_OK | os.W_OK):
            raise StoreUnavailable(f"{self.root}: found no permission to read and write, expected both")

    async def close(self) -> None:
        """It holds nothing that must be given back."""

    def _path(self, key: str) -> Path:
        if (reason := _refusal(key)) is not None:
            raise NotFound(reason)
        return self.root / key

    def _read(self, path: Path, limit: int | None) -> bytes:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if limit is not None and size > limit:
                    raise TooLarge(path.relative_to(self.root).as_posix(), size, limit)
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFound(f"no object {path.relative_to(self.root).as_posix()}") from error
        except OSError as error:
            if error.errno in NEVER:
                raise NotFound(f"no object {path.relative_to(self.root).as_posix()}") from error
            raise StoreUnavailable(f"{path}: {error.strerror}") from error

    def _write(self, path: Path, body: bytes, if_absent: bool, if_match: str | None) -> None:  # noqa: FBT001
        with _answering(self.root):
            make_folder(path.parent)
            with self._locked():
                self._check(path, if_absent=if_absent, if_match=if_match)
                self._remove_parts()
                replace_file(path, body)

    def _remove_parts(self) -> None:
        """Of files that were being written when a process ended, or the power: whoever writes now holds the lock."""
        if not self._is_tidy:
            for part in self.root.rglob(f"{PART_PREFIX}*{PART_SUFFIX}"):
                part.unlink(missing_ok=True)
            self._is_tidy = True

    def _check(self, path: Path, *, if_absent: bool, if_match: str | None) -> None:
        key = path.relative_to(self.root).as_posix()
        if if_absent and path.exists():
            raise Conflict(f"{key}: found an object, expected none")
        if if_match is not None:
            etag = etag_of(path.read_bytes()) if path.exists() else "nothing"
            if etag != if_match:
                raise Conflict(f"{key}: found etag {etag}, expected {if_match}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, across processes."""
        with (self.root / f"{HIDDEN}lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _keys(self, prefix: str) -> Sequence[str]:
        # Only the folder that the prefix lies in is walked.
        base = self.root / prefix.rpartition("/")[0]
        files = (Path(folder) / name for folder, _, names in os.walk(base) for name in names if name[0] != HIDDEN)
        keys = (path.relative_to(self.root).as_posix() for path in files)
        return sorted(key for key in keys if key.startswith(prefix))

    def _describe(self, keys: Sequence[str]) -> Sequence[Listed]:
        listed = []
        for key in keys:
            with suppress(FileNotFoundError):
                listed.append(Listed(key, (self.root / key).stat().st_size))
        return listed

    async def _hint(self, prefix: str, suffix: str, hints: Hints) -> None:
        await self.check()
        async for changes in watchfiles.awatch(self.root, step=20, debounce=100, recursive=True, rust_timeout=500):
            paths = (Path(path) for _, path in changes)
            keys = (path.relative_to(self.root).as_posix() for path in paths if path.name[:1] != HIDDEN)
            hints.add(between(keys, prefix, suffix))


def _refusal(key: str) -> str | None:
    """Why no object can lie under `key` here, or None."""
    if any(part.startswith(HIDDEN) for part in key.split("/")):
        return f"found key {key!r}, expected a path such as models/stream/member/current.json, without hidden names"
    return object_names.refusal(key)


@contextmanager
def _answering(root: Path) -> Iterator[None]:
    """A disk that is full, read-only or gone is a store that is away; a name that no disk takes is none."""
    try:
        yield
    except OSError as error:
        if error.errno in NEVER:
            raise Unstorable(
                f"{error.filename or root}: {error.strerror}, expected a name that the disk takes"
            ) from error
        raise StoreUnavailable(f"{error.filename or root}: {error.strerror}") from error
