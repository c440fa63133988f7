"""Reads the file of named tokens again whenever it changes, and changes it whole."""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from driftline.errors import InvalidInput
from driftline.files import replace_file
from driftline.service.access.named_tokens import NamedToken, TokenList, digest_of, parse, text_of
from driftline.service.access.roles import Caller

log = logging.getLogger(__name__)

BYTES_LIMIT: Final = 4 * 1024 * 1024

State = tuple[int, int, int] | None
"""Of a file: who it is, its time and its size; None where there is none."""


def read(path: Path) -> TokenList:
    """Raises InvalidInput."""
    try:
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
    """Two at once do not undo each other's change; whoever owns and reads the file stays. Raises InvalidInput and what
    `how` raises."""
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
        self._state = _state(path)
        self._tokens = _by_digest(read(path))

    async def caller(self, shown: str) -> Caller | None:
        self._look()
        token = self._tokens.get(digest_of(shown))
        return token.caller() if token is not None and not token.is_over(self._clock()) else None

    def known(self, name: str, mark: str) -> Caller | None:
        """Who has that token, if it is still good."""
        self._look()
        callers = (token.caller() for token in self._tokens.values() if not token.is_over(self._clock()))
        return next((caller for caller in callers if (caller.name, caller.mark) == (name, mark)), None)

    def _look(self) -> None:
        state = _state(self._path)
        if state == self._state:
            return
        self._state = state
        try:
            self._tokens = _by_digest(read(self._path))
            log.info("the file of tokens was read again", extra={"tokens": len(self._tokens)})
        except InvalidInput as error:
            log.error("the tokens stay as they were, since their file can't be used: %s", error)  # noqa: TRY400


def _by_digest(listed: TokenList) -> dict[str, NamedToken]:
    """Looked up by digest: how long that takes says nothing of a token."""
    return {token.sha256: token for token in listed.tokens}


def _state(path: Path) -> State:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)
