"""Puts heartbeats into the store, each in the place of the one before, and sees who else writes there."""

from collections.abc import Callable

from driftline.errors import Conflict, NotFound, RefusedNote, StoreUnavailable, TooLarge
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.names import heartbeat_key
from driftline.fleet.notes import NOTE_LIMIT, opened
from driftline.store.port import Store

TRIES = 3
"""Times that a heartbeat is put while others write in between."""


class HeartbeatWriter:
    """meet: called with each heartbeat of others that lay where ours was."""

    def __init__(self, store: Store, meet: Callable[[Heartbeat], None]) -> None:
        self._store = store
        self._meet = meet
        self._etag: str | None = None
        self._has_looked = False
        self._overwrites = False
        """Whether what lies there is too large to be looked at."""

    async def predecessor(self, edge: str) -> Heartbeat | None:
        """Whose heartbeat lies there before our first one: this edge's, from before its start. Asked for once; None
        afterwards. Raises StoreUnavailable."""
        if self._has_looked:
            return None
        before = await self._look(heartbeat_key(edge))
        self._has_looked = True
        return before

    async def write(self, edge: str, compose: Callable[[], bytes]) -> None:
        """compose: gives the file; it is asked again when somebody else was met. Raises StoreUnavailable."""
        key = heartbeat_key(edge)
        for _ in range(TRIES):
            try:
                await self._put(key, compose())
            except Conflict:
                other = await self._look(key)
                if other is not None:
                    self._meet(other)
            else:
                return
        raise StoreUnavailable(f"{key}: others have written it {TRIES} times meanwhile")

    def release(self) -> None:
        """Another replica writes from now on: what it puts there is nothing that was done to us."""
        self._etag, self._has_looked = None, False

    async def _put(self, key: str, body: bytes) -> None:
        if self._overwrites:
            self._etag = await self._store.put(key, body)
            self._overwrites = False
        elif self._etag is None:
            self._etag = await self._store.put(key, body, if_absent=True)
        else:
            self._etag = await self._store.put(key, body, if_match=self._etag)

    async def _look(self, key: str) -> Heartbeat | None:
        """What lies there, if it is a heartbeat. The next one takes its place."""
        try:
            stored = await self._store.get(key, limit=NOTE_LIMIT)
        except NotFound:
            self._etag = None
            return None
        except TooLarge:
            self._overwrites = True
            return None
        assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
        self._etag = stored.etag
        try:
            return opened(stored.body, Heartbeat, None)
        except RefusedNote:
            return None
