"""Notes of this edge for the others: written to its own disk at once, and to the store as soon as that answers."""

import logging
from collections.abc import Callable

from msgspec.structs import replace

from driftline.errors import Conflict, NotFound, RefusedModel, StoreUnavailable
from driftline.models import manifest as manifests
from driftline.models.manifest import Quarantine, Usage
from driftline.store.port import Store
from driftline.versions.files import find

log = logging.getLogger(__name__)


class StoreOutbox:
    """Quarantines and usage notes that wait to be written. `cache` outlives a restart while the store is away. edge_id:
    gives this edge's id, once it is known."""

    def __init__(self, store: Store, cache: Store | None, edge_id: Callable[[], str | None]) -> None:
        self._store = store
        self._cache = cache
        self.edge_id = edge_id
        self._unwritten: dict[str, Quarantine | Usage] = {}
        self._unnamed: dict[tuple[str, str], Usage] = {}

    async def catch_up(self) -> None:
        """Writes to the store what it has not yet; what fails is tried again with the next call."""
        if (edge := self.edge_id()) is not None:
            for name, usage in self._unnamed.items():
                self._unwritten[manifests.usage_key(*name, edge)] = replace(usage, edge=edge)
            self._unnamed.clear()
        for key, mark in list(self._unwritten.items()):
            if await _write(self._store, key, mark):
                self._unwritten.pop(key, None)

    async def quarantine(self, stream: str, member: str, mark: Quarantine) -> None:
        key = manifests.quarantine_key(stream, member, mark.version)
        if self._cache is not None:
            await _write(self._cache, key, mark)
        self._unwritten[key] = mark

    async def rolled_back(self, stream: str, member: str) -> dict[str, str]:
        """By version why this edge went back from it, as its disk has it."""
        reasons: dict[str, str] = {}
        if self._cache is None:
            return reasons
        async for listed in self._cache.list(manifests.quarantine_prefix(stream, member)):
            try:
                mark = await find(self._cache, listed.key, Quarantine, "quarantine")
            except (NotFound, RefusedModel):
                continue
            reasons[mark.version] = mark.reason
        return reasons

    def use(self, stream: str, member: str, usage: Usage) -> None:
        """Tells who prunes what must stay, as soon as this edge has an id; the cache keeps this for itself."""
        self._unnamed[stream, member] = usage

    async def check(self, stream: str, member: str, version: str, *, store: bool = True) -> None:
        """Raises RefusedModel ("quarantine") for a version that an edge rolled back, StoreUnavailable.

        store: whether the store is asked, too.
        """
        key = manifests.quarantine_key(stream, member, version)
        for source in filter(None, (self._cache, self._store if store else None)):
            try:
                mark = await find(source, key, Quarantine, "quarantine")
            except NotFound:
                continue
            if source is self._cache:
                self._unwritten.setdefault(key, mark)
            raise RefusedModel("quarantine", mark.reason)


async def _write(store: Store, key: str, mark: Quarantine | Usage) -> bool:
    try:
        await store.put(key, manifests.encode(mark), if_absent=isinstance(mark, Quarantine))
    except Conflict:
        # Another edge was first to find out.
        return True
    except StoreUnavailable as error:
        log.warning("mark not written: %s", error, extra={"key": key})
        return False
    return True
