"""The versions of models in the store: looked at, checked as an edge would, and added to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.table import Table

from driftline.errors import NotFound
from driftline.fleet.quarantine import quarantine_of
from driftline.models import manifest as manifests
from driftline.models.manifest import Manifest, Pointer, Usage
from driftline.models.signing import Sealed, unseal
from driftline.service.ports import open_store
from driftline.service.settings import Settings, read_settings
from driftline.store.port import Store
from driftline.versions.files import MANIFEST_LIMIT, file_of, find
from driftline_cli.screen import keep_whole, table_of

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class StoredVersion:
    """A version in the store. key: who signed it."""

    manifest: Manifest
    key: str | None
    notes: list[str]


def as_table(model: str, versions: list[StoredVersion]) -> Table:
    """For people."""
    table = table_of(model, "version", "made", "rows", "skill", "signed by", "notes")
    for version in versions:
        skill = version.manifest.metrics.get("skill")
        cells = (version.manifest.created, f"{version.manifest.rows:,}", "" if skill is None else f"{skill:+.3f}")
        table.add_row(version.manifest.version, *cells, version.key or "nobody", "; ".join(version.notes))
    return keep_whole(table, "version")


def settings_of(kind: type[S], store: str | None) -> S:
    """The environment's settings, with another store where one is given."""
    return read_settings(kind, **({"store": store} if store else {}))


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Store]:
    store = open_store(settings)
    try:
        yield store
    finally:
        await store.close()


async def current(store: Store, stream: str, member: str) -> str | None:
    """The version that the pointer names for all edges."""
    pointer = await pointer_of(store, stream, member)
    return pointer.version if pointer else None


async def pointer_of(store: Store, stream: str, member: str) -> Pointer | None:
    try:
        return await find(store, manifests.pointer_key(stream, member), Pointer, "pointer")
    except NotFound:
        return None


async def look(url: str | None, stream: str, member: str, version: str | None) -> Any:
    """All versions, the newest first, or the one that is named. Raises NotFound where there is none."""
    settings = settings_of(Settings, url)
    async with opened(settings) as store:
        if version is not None:
            return await _stored(store, stream, member, version, {})
        notes = await _notes(store, stream, member)
        prefix = f"{manifests.folder(stream, member)}/v"
        names = sorted({listed.key.split("/")[3] async for listed in store.list(prefix)}, reverse=True)
        versions = [await _stored(store, stream, member, name, notes) for name in names]
        if not versions:
            raise NotFound(f"found no version of {stream}.{member} in {settings.store}")
        return versions


async def _stored(store: Store, stream: str, member: str, version: str, notes: dict[str, list[str]]) -> StoredVersion:
    described = await file_of(store, manifests.manifest_key(stream, member, version), MANIFEST_LIMIT, "manifest")
    return StoredVersion(unseal(described), manifests.decode(described, Sealed, "manifest").key, notes.get(version, []))


async def _notes(store: Store, stream: str, member: str) -> dict[str, list[str]]:
    """By version what there is to say of it: current, quarantined, used by whom."""
    notes: dict[str, list[str]] = {}
    pointer = await pointer_of(store, stream, member)
    if pointer is not None:
        notes.setdefault(pointer.version, []).append("current")
    if pointer is not None and pointer.trial is not None:
        notes.setdefault(pointer.trial.version, []).append("on trial")
    async for listed in store.list(manifests.quarantine_prefix(stream, member)):
        version = listed.key.rpartition("/")[2].removesuffix(".json")
        mark = await quarantine_of(store, stream, member, version, None)
        if mark is not None:
            notes.setdefault(mark.version, []).append(f"quarantined: {mark.reason}")
    async for listed in store.list(manifests.usage_prefix(stream, member)):
        usage = await find(store, listed.key, Usage, "usage")
        notes.setdefault(usage.version, []).append(f"{'pinned on' if usage.pinned else 'serves on'} {_edge(usage)}")
    return notes


def _edge(usage: Usage) -> str:
    """Its name, which may be another edge's, too, and its id."""
    return f"{usage.name} ({usage.edge})" if usage.name else usage.edge
