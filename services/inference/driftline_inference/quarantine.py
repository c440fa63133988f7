"""Versions that were rolled back: marked on this edge's disk at once, and in the store as soon as it answers."""

import logging

from driftline import manifest as manifests
from driftline.errors import Conflict, NotFound, RefusedModel, StoreUnavailable
from driftline.manifest import Quarantine
from driftline.store import Store

log = logging.getLogger(__name__)


class Quarantines:
    """Marks in the store, for all edges, and in `cache`, which outlives a restart while the store is away."""

    def __init__(self, store: Store, cache: Store | None) -> None:
        self._store = store
        self._cache = cache
        self._unwritten: dict[str, Quarantine] = {}

    async def add(self, stream: str, member: str, mark: Quarantine) -> None:
        key = manifests.quarantine_key(stream, member, mark.version)
        if self._cache is not None:
            await _write(self._cache, key, mark)
        self._unwritten[key] = mark
        await self.catch_up()

    async def catch_up(self) -> None:
        """Writes to the store what it has not yet; what fails is tried again with the next call."""
        for key, mark in list(self._unwritten.items()):
            if await _write(self._store, key, mark):
                del self._unwritten[key]

    async def check(self, stream: str, member: str, version: str) -> None:
        """Raises RefusedModel ("quarantine") for a version that an edge rolled back, StoreUnavailable."""
        key = manifests.quarantine_key(stream, member, version)
        for store in filter(None, (self._cache, self._store)):
            try:
                found = await store.get(key)
            except NotFound:
                continue
            assert found is not None, "only a conditional get may answer with nothing"  # noqa: S101
            mark = manifests.decode(found.body, Quarantine, "quarantine")
            if store is self._cache:
                self._unwritten.setdefault(key, mark)
            raise RefusedModel("quarantine", mark.reason)


async def _write(store: Store, key: str, mark: Quarantine) -> bool:
    try:
        await store.put(key, manifests.encode(mark), if_absent=True)
    except Conflict:
        return True
    except StoreUnavailable as error:
        log.warning("quarantine not written: %s", error, extra={"version": mark.version})
        return False
    return True
