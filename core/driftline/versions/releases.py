"""Puts a version into the store and moves the pointer to it, so that of two trainers one wins and the other sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from driftline.errors import NotFound, RefusedModel, TooLarge
from driftline.models import manifest as manifests
from driftline.models.manifest import Manifest, Pointer, Trial
from driftline.models.signing import Signer, seal, unseal
from driftline.store.port import Store
from driftline.versions.files import MANIFEST_LIMIT, POINTER_LIMIT, file_of


@dataclass(frozen=True)
class Current:
    """What a pointer says, the manifest of the version for all, and the pointer's etag for the next move."""

    manifest: Manifest
    etag: str
    pointer: Pointer

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def since(self) -> float:
        """Seconds since the epoch when it became the version for all."""
        return self.pointer.since or datetime.fromisoformat(self.manifest.created).timestamp()

    @property
    def kept(self) -> set[str]:
        """Versions that the pointer needs."""
        on_trial = self.pointer.trial.version if self.pointer.trial else None
        return set(filter(None, (self.version, self.manifest.parent, self.pointer.former, on_trial)))


async def current(store: Store, stream: str, member: str) -> Current | None:
    """The version that all edges should run that try no other, or None before the first. Raises RefusedModel for a
    broken one."""
    try:
        stored = await store.get(manifests.pointer_key(stream, member), limit=POINTER_LIMIT)
    except NotFound:
        return None
    except TooLarge as error:
        raise RefusedModel("pointer", str(error)) from error
    assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
    pointer = manifests.decode(stored.body, Pointer, "pointer")
    return Current(await manifest_of(store, stream, member, pointer.version), stored.etag, pointer)


async def manifest_of(store: Store, stream: str, member: str, version: str) -> Manifest:
    """Raises RefusedModel, NotFound."""
    manifests.version_number(version)
    described = await file_of(store, manifests.manifest_key(stream, member, version), MANIFEST_LIMIT, "manifest")
    return unseal(described)


async def release(
    store: Store,
    stream: str,
    member: str,
    model: bytes,
    describe: Callable[[str], Manifest],
    *,
    signer: Signer | None,
    before: Current | None,
    now: float,
    weights: bytes | None = None,
    trial: Callable[[str], Trial | None] = lambda _: None,
) -> Manifest:
    """Writes the next version, which `describe` describes by its name, and points at it.

    trial: by the version's name, which edges try it first; None for all at once. A trial that runs is superseded: its
    version is never pointed at for all. Raises Conflict when another trainer moved the pointer first.
    """
    version = manifests.version_name(await _next_number(store, stream, member), model)
    manifest = describe(version)
    name = (stream, member, version)
    await store.put(manifests.model_key(*name), model, if_absent=True)
    if weights is not None:
        await store.put(manifests.weights_key(*name), weights, if_absent=True)
    await store.put(manifests.manifest_key(*name), seal(manifest, signer), if_absent=True)
    pointer = manifests.encode(_pointer(version, before, trial(version), now))
    key = manifests.pointer_key(stream, member)
    # Last of all: whoever follows the pointer finds the whole version.
    if before is None:
        await store.put(key, pointer, if_absent=True)
    else:
        await store.put(key, pointer, if_match=before.etag)
    return manifest


def _pointer(version: str, before: Current | None, trial: Trial | None, now: float) -> Pointer:
    if before is None:
        return Pointer(version, since=now)
    if trial is None:
        return Pointer(version, former=before.version, since=now)
    return replace(before.pointer, trial=trial)


async def _next_number(store: Store, stream: str, member: str) -> int:
    """One more than any that was ever begun, published or not."""
    prefix = f"{manifests.folder(stream, member)}/v"
    names = [listed.key.split("/")[3] async for listed in store.list(prefix)]
    return 1 + max((manifests.version_number(name) for name in names if manifests.is_version(name)), default=0)
