"""The last good versions on the edge's own disk, so that a restart without network serves them.

A folder store with the keys of the real one, read through the same verification: what is half-written or has rotted is
refused like anything else that can't be trusted.
"""

import logging

from driftline import manifest as manifests
from driftline.errors import StoreUnavailable
from driftline.folder import FolderStore
from driftline.manifest import Pointer

log = logging.getLogger(__name__)


class Cache:
    """Keeps every model's serving version and the one before; with the limit on a model's size that bounds it."""

    def __init__(self, folder: FolderStore) -> None:
        self.folder = folder

    async def keep(self, stream: str, member: str, version: str, *, manifest: bytes, model: bytes, former: str) -> None:
        """Writes a version, then points at it. A disk that is full costs the cache, never the swap."""
        try:
            await self.folder.put(manifests.model_key(stream, member, version), model)
            await self.folder.put(manifests.manifest_key(stream, member, version), manifest)
            await self.point(stream, member, version)
            await self._prune(stream, member, {version, former})
        except StoreUnavailable as error:
            log.warning("model not cached: %s", error, extra={"stream": stream, "member": member, "version": version})

    async def point(self, stream: str, member: str, version: str) -> None:
        """Says which version a restart serves. Raises StoreUnavailable."""
        await self.folder.put(manifests.pointer_key(stream, member), manifests.encode(Pointer(version)))

    async def versions(self, stream: str, member: str) -> list[str]:
        """What is cached of a model, the oldest first."""
        prefix = f"{manifests.folder(stream, member)}/v"
        return sorted({listed.key.split("/")[3] async for listed in self.folder.list(prefix)})

    async def drop(self, stream: str, member: str) -> None:
        """Forgets what is cached of a model."""
        await self.folder.delete(manifests.pointer_key(stream, member))
        await self._prune(stream, member, set())

    async def _prune(self, stream: str, member: str, kept: set[str]) -> None:
        for version in set(await self.versions(stream, member)) - kept:
            await self.folder.delete(manifests.model_key(stream, member, version))
            await self.folder.delete(manifests.manifest_key(stream, member, version))
