"""The last good versions on the edge's own disk, so that a restart without network serves them.

A folder store with the keys of the real one, read through the same verification: what is half-written or has rotted is
refused like anything else that can't be trusted.
"""

import logging
from collections.abc import Awaitable, Callable

from driftline.errors import NotFound, RefusedModel, StoreUnavailable, Unstorable
from driftline.models import manifest as manifests
from driftline.models.manifest import Usage
from driftline.store.folder import FolderStore
from driftline.versions.files import find
from driftline_inference.registry.versions import Fetched

log = logging.getLogger(__name__)

Write = Callable[[], Awaitable[None]]


class Cache:
    """Keeps every model's serving version and the one before; with the limit on a model's size that bounds it."""

    def __init__(self, folder: FolderStore) -> None:
        self.folder = folder
        self._undone: dict[tuple[str, str, str], Write] = {}
        self._trouble = ""

    async def check(self) -> None:
        """Raises a StoreUnavailable while the folder can't be written, or what should be in it is not."""
        if self._undone:
            raise StoreUnavailable(self._trouble)
        await self.folder.check()

    async def catch_up(self) -> None:
        """Writes what could not be written when it should have been, the newest of each."""
        for what, write in list(self._undone.items()):
            await self._try(what, write)

    async def keep(self, stream: str, member: str, fetched: Fetched) -> None:
        """Writes a version. A disk that is full costs the cache, never the swap."""

        async def write() -> None:
            version = fetched.model.version
            await self.folder.put(manifests.model_key(stream, member, version), fetched.model_file)
            await self.folder.put(manifests.manifest_key(stream, member, version), fetched.manifest_file)

        await self._try((stream, member, "model"), write)

    async def use(self, stream: str, member: str, usage: Usage) -> None:
        """Says what a restart serves, and drops what that needs no more."""

        async def write() -> None:
            await self.folder.put(manifests.pointer_key(stream, member), manifests.encode(usage))
            await self._prune(stream, member, usage.versions)

        await self._try((stream, member, "usage"), write)

    async def _try(self, what: tuple[str, str, str], write: Write) -> None:
        """Writes; what fails waits for `catch_up`, and is logged once."""
        stream, member, kind = what
        try:
            await write()
        except (StoreUnavailable, Unstorable) as error:
            if what not in self._undone:
                log.warning("%s not cached: %s", kind, error, extra={"stream": stream, "member": member})
            self._undone[what] = write
            self._trouble = str(error)
        else:
            self._undone.pop(what, None)

    async def usage(self, stream: str, member: str) -> Usage | None:
        """What served when this edge was last up; None when it can't be said."""
        try:
            return await find(self.folder, manifests.pointer_key(stream, member), Usage, "pointer")
        except NotFound:
            return None
        except RefusedModel as error:
            log.warning("cached usage dropped: %s", error, extra={"stream": stream, "member": member})
            return None

    async def versions(self, stream: str, member: str) -> list[str]:
        """What is cached of a model, the newest first."""
        prefix = f"{manifests.folder(stream, member)}/v"
        return sorted({listed.key.split("/")[3] async for listed in self.folder.list(prefix)}, reverse=True)

    async def drop(self, stream: str, member: str) -> None:
        """Forgets what is cached of a model."""
        await self.folder.delete(manifests.pointer_key(stream, member))
        await self._prune(stream, member, set())

    async def _prune(self, stream: str, member: str, kept: set[str]) -> None:
        for version in set(await self.versions(stream, member)) - kept:
            await self.folder.delete(manifests.model_key(stream, member, version))
            await self.folder.delete(manifests.manifest_key(stream, member, version))
