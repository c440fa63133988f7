"""Notes of this edge: what it went back from, for its own disk alone, and what it runs, for who prunes the store."""

import logging
from collections.abc import Callable

from msgspec.structs import replace

from driftline.errors import Conflict, NotFound, RefusedModel, StoreUnavailable, Unstorable
from driftline.fleet.quarantine import quarantine_of
from driftline.models import manifest as manifests
from driftline.models.manifest import Quarantine, Usage
from driftline.models.signing import Trust
from driftline.store.port import Store
from driftline.versions.files import find

log = logging.getLogger(__name__)


class StoreOutbox:
    """Marks and usage notes that wait to be written.

    cache: this edge's own disk, which outlives a restart; what it went back from is kept there, and nowhere else.
    edge_id: gives this edge's id, once it is known. trust: whose word keeps a version from serving here.
    """

    def __init__(self, store: Store, cache: Store | None, edge_id: Callable[[], str | None], trust: Trust) -> None:
        self._store = store
        self._cache = cache
        self.edge_id = edge_id
        self._trust = trust
        self._marks: dict[str, Quarantine] = {}
        self._unwritten: dict[str, Usage] = {}
        self._unnamed: dict[tuple[str, str], Usage] = {}

    async def catch_up(self) -> None:
        """Writes what was not written yet; what fails is tried again with the next call."""
        for key, mark in list(self._marks.items()):
            await self._mark(key, mark)
        if (edge := self.edge_id()) is not None:
            for name, usage in self._unnamed.items():
                self._unwritten[manifests.usage_key(*name, edge)] = replace(usage, edge=edge)
            self._unnamed.clear()
        for key, usage in list(self._unwritten.items()):
            if await _write(self._store, key, usage):
                self._unwritten.pop(key, None)

    async def quarantine(self, stream: str, member: str, mark: Quarantine) -> None:
        """Keeps a version from this edge for good. Others hear of it by the heartbeat, and decide for themselves."""
        await self._mark(manifests.quarantine_key(stream, member, mark.version), mark)

    async def _mark(self, key: str, mark: Quarantine) -> None:
        if self._cache is None or await _write(self._cache, key, mark):
            self._marks.pop(key, None)
        else:
            self._marks[key] = mark

    def use(self, stream: str, member: str, usage: Usage) -> None:
        """Tells who prunes what must stay, as soon as this edge has an id; the cache keeps this for itself."""
        self._unnamed[stream, member] = usage

    async def rolled_back(self, stream: str, member: str) -> list[Quarantine]:
        """What this edge went back from, as its disk remembers, the oldest first. Raises StoreUnavailable."""
        if self._cache is None:
            return []
        keys = [listed.key async for listed in self._cache.list(manifests.quarantine_prefix(stream, member))]
        marks = [mark for key in keys if (mark := await self._own(key)) is not None]
        return sorted(marks, key=lambda mark: mark.since)

    async def check(self, stream: str, member: str, version: str, *, store: bool = True) -> None:
        """Raises RefusedModel ("quarantine") for a version that this edge went back from, or that the trainer keeps
        from all; StoreUnavailable.

        store: whether the store is asked, too.
        """
        mark = await self._own(manifests.quarantine_key(stream, member, version))
        if mark is None and store:
            mark = await quarantine_of(self._store, stream, member, version, self._trust)
        if mark is not None:
            raise RefusedModel("quarantine", mark.reason)

    async def _own(self, key: str) -> Quarantine | None:
        if key in self._marks:
            return self._marks[key]
        if self._cache is None:
            return None
        try:
            return await find(self._cache, key, Quarantine, "quarantine")
        except NotFound:
            return None
        except RefusedModel as error:
            # It has rotted, but it was one: its name says of which version.
            version = key.rpartition("/")[2].removesuffix(".json")
            return Quarantine(version, f"this edge went back from it; its mark can't be read: {error.detail}", 0.0)


async def _write(store: Store, key: str, note: Quarantine | Usage) -> bool:
    try:
        await store.put(key, manifests.encode(note), if_absent=isinstance(note, Quarantine))
    except Conflict:
        # It is marked already.
        return True
    except (StoreUnavailable, Unstorable) as error:
        log.warning("note not written: %s", error, extra={"key": key})
        return False
    return True
