"""What of a stream's files can't be used, and why: marks in the store, so that nothing is tried again and again.

aside/<stream>/<digest>.json says it of one file, which stays where it is. The digest is of its key and size and of the
columns that are expected: who removes the mark, puts a file of another size in its place or changes the stream's
columns has it tried again.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import Literal

import msgspec

from driftline.errors import Conflict, StoreUnavailable
from driftline.metrics import Metrics, from_zero
from driftline.store.port import Listed, Store
from driftline.streams.definition import StreamDefinition

log = logging.getLogger(__name__)

Kind = Literal["windows", "history", "futures"]
KINDS: tuple[Kind, ...] = ("windows", "history", "futures")
REASON_SHOWN = 1000


class Mark(msgspec.Struct, frozen=True):
    """Why a file is set aside, and when that was found: seconds since the epoch."""

    key: str
    size: int
    reason: str
    since: float


class SetAside:
    """The files of one stream that are set aside, as they were listed."""

    def __init__(self, store: Store, stream: StreamDefinition, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._store = store
        self._stream = stream.name
        # Of another definition's columns other files can be used.
        self._shape: list[object] = [stream.time.column, stream.time.zone, stream.key, stream.columns]
        self._shape += [*stream.group_columns, *([list(stream.futures)] if stream.futures else [])]
        self._metrics = metrics
        self._clock = clock
        self._marks: set[str] = set()
        self._unwritten: dict[str, Mark] = {}
        from_zero(metrics.files_set_aside, (stream.name,), KINDS)

    def __contains__(self, file: Listed) -> bool:
        return bool(self._marks) and self._mark_key(file) in self._marks

    async def refresh(self) -> None:
        """Raises StoreUnavailable."""
        for key, mark in list(self._unwritten.items()):
            await self._write(key, mark)
        listed = {listed.key async for listed in self._store.list(f"aside/{self._stream}/")}
        self._marks = listed | self._unwritten.keys()

    async def add(self, file: Listed, reason: str) -> None:
        """A mark that can't be written now is written later: no file that can't be used stops the others."""
        key = self._mark_key(file)
        if key in self._marks:
            return
        mark = Mark(_text(file.key), file.size, _text(reason)[:REASON_SHOWN], self._clock())
        self._marks.add(key)
        self._metrics.files_set_aside.labels(self._stream, file.key.partition("/")[0]).inc()
        log.error("set aside: %s", mark.reason, extra={"stream": self._stream, "key": mark.key, "mark": key})
        await self._write(key, mark)

    async def _write(self, key: str, mark: Mark) -> None:
        self._unwritten[key] = mark
        try:
            await self._store.put(key, msgspec.json.format(msgspec.json.encode(mark), indent=1), if_absent=True)
        except Conflict:
            log.info("set aside by another trainer, too", extra={"key": mark.key})
        except StoreUnavailable as error:
            log.warning("mark not written: %s", error, extra={"key": mark.key})
            return
        self._unwritten.pop(key, None)

    def _mark_key(self, file: Listed) -> str:
        named = repr([self._shape, file.size, file.key])
        return f"aside/{self._stream}/{hashlib.sha256(named.encode()).hexdigest()[:32]}.json"


def _text(name: str) -> str:
    """A file's name need not be text; what is written and logged must be."""
    return name.encode(errors="replace").decode()
