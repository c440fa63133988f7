"""A store whose calls are timed."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from driftline.errors import Conflict, NotFound, StoreUnavailable, TooLarge, Unstorable
from driftline.metrics import Metrics
from driftline.store.hints import Keys
from driftline.store.port import Listed, Store, Stored, clock_offset


class TimedStore:
    """See `driftline.store.port.Store`; every call goes to another one and is counted with its time and outcome.

    on_put: called with the key of every object that was written."""

    def __init__(self, store: Store, metrics: Metrics, on_put: Callable[[str], None] = lambda _: None) -> None:
        self._store = store
        self._metrics = metrics
        self._on_put = on_put
        self._trouble: StoreUnavailable | None = None

    @property
    def clock_offset(self) -> float | None:
        """See `driftline.store.port.TellsTime`."""
        return clock_offset(self._store)

    async def answered(self) -> None:
        """Raises the StoreUnavailable that the last call ended with, if it did: asks the store for nothing itself."""
        if self._trouble is not None:
            raise StoreUnavailable(str(self._trouble))

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        began, outcome = time.perf_counter(), "ok"
        try:
            yield
        except StoreUnavailable as error:
            outcome, self._trouble = "unavailable", error
            raise
        except (NotFound, Conflict, TooLarge, Unstorable):
            self._trouble = None
            raise
        else:
            self._trouble = None
        finally:
            self._metrics.store_seconds.labels(operation, outcome).observe(time.perf_counter() - began)

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        with self._timed("get"):
            return await self._store.get(key, unless=unless, limit=limit)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        with self._timed("put"):
            etag = await self._store.put(key, body, if_absent=if_absent, if_match=if_match)
        self._on_put(key)
        return etag

    async def delete(self, key: str) -> None:
        with self._timed("delete"):
            await self._store.delete(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        # How long the reader takes between two objects is not the store's time; the first answer is.
        began = time.perf_counter()
        first = True
        async for listed in self._store.list(prefix, after=after):
            if first:
                self._metrics.store_seconds.labels("list", "ok").observe(time.perf_counter() - began)
                first = False
            yield listed

    def watch(self, prefix: str, *, suffix: str = "", poll: float) -> AsyncGenerator[Keys]:
        return self._store.watch(prefix, suffix=suffix, poll=poll)

    async def check(self) -> None:
        with self._timed("check"):
            await self._store.check()

    async def close(self) -> None:
        await self._store.close()
