"""Removes old versions from the store: all but the newest, those that are in use or pinned somewhere, and parents."""

import logging
from collections import defaultdict
from collections.abc import Sequence

from driftline.errors import RefusedModel
from driftline.models import manifest as manifests
from driftline.models.manifest import Usage
from driftline.store.port import Store
from driftline.versions.files import find
from driftline.versions.releases import Current

log = logging.getLogger(__name__)


async def prune(store: Store, stream: str, member: str, current: Current, *, keep: int) -> list[str]:
    """Removes what is not among the `keep` newest versions, and returns it. Raises StoreUnavailable.

    What any edge notes that it runs, would go back to or has pinned stays, as does what `current` was made from, what
    is on trial, and what served all before.
    """
    objects: dict[str, list[str]] = defaultdict(list)
    async for listed in store.list(f"{manifests.folder(stream, member)}/v"):
        version = listed.key.split("/")[3]
        if manifests.is_version(version):
            objects[version].append(listed.key)
    needed = current.kept | await _in_use(store, stream, member)
    old = [version for version in sorted(objects)[:-keep] if version not in needed]
    for version in old:
        for key in objects[version]:
            await store.delete(key)
    if old:
        log.info("old versions removed", extra={"stream": stream, "member": member, "versions": old})
    return old


async def _in_use(store: Store, stream: str, member: str) -> set[str]:
    notes: list[Usage] = []
    async for listed in store.list(manifests.usage_prefix(stream, member)):
        try:
            notes.append(await find(store, listed.key, Usage, "usage"))
        except RefusedModel as error:
            log.warning("an edge's note is not readable: %s", error, extra={"key": listed.key})
    return set().union(*(note.versions for note in notes if not _superseded(note, notes)))


def _superseded(note: Usage, notes: Sequence[Usage]) -> bool:
    """Whether an edge that had no id yet, and wrote under its name, has written under its id since."""
    return not note.name and any(note.edge == other.name and note.since <= other.since for other in notes)
