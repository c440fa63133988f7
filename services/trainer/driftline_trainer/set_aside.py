"""What of a stream's files can't be used, and why: marks in the store, so that nothing is tried again and again.

aside/<stream>/<digest of the file's key and size>.json says it of one file, which stays where it is. Who removes the
mark, or puts a file of another size in its place, has it tried again.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import Literal

import msgspec

from driftline.errors import Conflict
from driftline.metrics import Metrics, from_zero
from driftline.store import Listed, Store

log = logging.getLogger(__name__)

Kind = Literal["windows", "history"]
KINDS: tuple[Kind, ...] = ("windows", "history")
REASON_SHOWN = 1000


class Mark(msgspec.Struct, frozen=True):
    """Why a file is set aside, and when that was found: seconds since the epoch."""

    key: str
    size: int
    reason: str
    since: float


class SetAside:
    """The files of one stream that are set aside, as they were listed."""

    def __init__(self, store: Store, stream: str, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._store = store
        self._stream = stream
        self._metrics = metrics
        self._clock = clock
        self._marks: set[str] = set()
        from_zero(metrics.files_set_aside, (stream,), KINDS)

    def __contains__(self, file: Listed) -> bool:
        return _mark_key(self._stream, file) in self._marks

    async def refresh(self) -> None:
        """Raises StoreUnavailable."""
        self._marks = {listed.key async for listed in self._store.list(f"aside/{self._stream}/")}

    async def add(self, file: Listed, reason: str) -> None:
        """Raises StoreUnavailable."""
        key = _mark_key(self._stream, file)
        mark = Mark(file.key, file.size, reason[:REASON_SHOWN], self._clock())
        try:
            await self._store.put(key, msgspec.json.format(msgspec.json.encode(mark), indent=1), if_absent=True)
        except Conflict:
            # Another trainer was first to find out.
            log.info("set aside by another trainer", extra={"key": file.key})
        else:
            self._metrics.files_set_aside.labels(self._stream, file.key.partition("/")[0]).inc()
            log.error("set aside: %s", reason, extra={"stream": self._stream, "key": file.key, "mark": key})
        self._marks.add(key)


def _mark_key(stream: str, file: Listed) -> str:
    digest = hashlib.sha256(f"{file.size} {file.key}".encode(errors="surrogatepass")).hexdigest()
    return f"aside/{stream}/{digest[:32]}.json"
