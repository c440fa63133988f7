"""Reads the file of named tokens again whenever it changes, and changes it whole."""

import asyncio
import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driftline.errors import InvalidInput
from driftline.files import replace_file
from driftline.service.access.named_tokens import NamedToken, TokenList, digest_of, mark_of, parse, text_of
from driftline.service.access.roles import Caller

log = logging.getLogger(__name__)

BYTES_LIMIT: Final = 256 * 1024
"""Some 1,500 tokens."""

State = tuple[int, int, int] | None
"""Of a file: who it is, its time and its size; None where there is none."""


def read(path: Path) -> TokenList:
    """Raises InvalidInput."""
    try:
        # A pipe would be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidInput(f"{path}: found no regular file, expected one of tokens")
        with path.open("rb") as file:
            body = file.read(BYTES_LIMIT + 1)
        if len(body) > BYTES_LIMIT:
            raise InvalidInput(f"{path}: found more than {BYTES_LIMIT} bytes, expected at most as many")
        return parse(body.decode(), str(path))
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: found no text in UTF-8") from None
    except OSError as error:
        raise InvalidInput(f"{path}: found no tokens that can be read: {error.strerror}") from None


def change(path: Path, how: Callable[[TokenList], TokenList]) -> None:
    """Two at once do not undo each other's change; whoever owns and reads the file stays, and so does a link to it.

    Raises InvalidInput and what `how` raises."""
    path = path.resolve()
    with _alone(path.parent):
        known = path.stat() if path.exists() else None
        changed = how(read(path) if known else TokenList())
        replace_file(path, text_of(changed).encode(), mode=known.st_mode & 0o777 if known else 0o600)
        if known is not None and (known.st_uid, known.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(path, known.st_uid, known.st_gid)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class TokenFile:
    """See `driftline.service.access.gate.Authority`. A file that breaks later changes nothing until it is mended."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises InvalidInput."""
        self._path = path
        self._clock = clock
        self._reading = asyncio.Lock()
        self._state = _state(path)
        self._tokens = _LookedUp.of(read(path))

    async def caller(self, shown: str) -> Caller | None:
        await self._look()
        return self._good(self._tokens.by_digest.get(digest_of(shown)))

    async def known(self, name: str, mark: str) -> Caller | None:
        """Who has that token, if it is still good."""
        await self._look()
        caller = self._good(self._tokens.by_mark.get(mark))
        return caller if caller is not None and caller.name == name else None

    def _good(self, token: NamedToken | None) -> Caller | None:
        return token.caller() if token is not None and not token.is_over(self._clock()) else None

    async def _look(self) -> None:
        """Whoever asks while the file is read waits for what it says."""
        if _state(self._path) == self._state:
            return
        async with self._reading:
            if (state := _state(self._path)) != self._state:
                await self._read()
                self._state = state

    async def _read(self) -> None:
        """In a thread: a long file keeps nobody else waiting."""
        try:
            self._tokens = _LookedUp.of(await asyncio.to_thread(read, self._path))
            log.info("the file of tokens was read again", extra={"tokens": len(self._tokens.by_digest)})
        except InvalidInput as error:
            log.error("the tokens stay as they were, since their file can't be used: %s", error)  # noqa: TRY400


@dataclass(frozen=True)
class _LookedUp:
    """Tokens by digest, whose look-up takes no longer for what is nearly right, and by mark. A mark is too short to let
    anybody in who has no session."""

    by_digest: Mapping[str, NamedToken]
    by_mark: Mapping[str, NamedToken]

    @classmethod
    def of(cls, listed: TokenList) -> "_LookedUp":
        by_digest = {token.sha256: token for token in listed.tokens}
        return cls(by_digest, {mark_of(token.sha256): token for token in listed.tokens})


def _state(path: Path) -> State:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)
